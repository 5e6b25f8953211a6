package foreign_test

import (
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/bootlun/bootlun/target/control"
	"github.com/bootlun/bootlun/target/foreign"
)

// TestAccessNeverWidens reads limits by names and addresses together, and such as
// cannot be carried over.
func TestAccessNeverWidens(t *testing.T) {
	const head, name = "iqn.2026-11.com.example:a", "iqn.2026-11.com.example:n"
	shut := []string{"nobody"}
	tests := []struct {
		what, text string
		allowed    []string
		access     []control.Rule
	}{
		{"tgt, both", "<target " + head + ">\ninitiator-name " + name + "\ninitiator-address 192.0.2.0/24\ninitiator-address 2001:db8::7\n</target>\n", nil, []control.Rule{
			{Initiator: name, Network: "192.0.2.0/24"}, {Initiator: name, Network: "2001:db8::7"},
		}},
		{"tgt, addresses", "<target " + head + ">\ninitiator-address 192.0.2.7\n</target>\n", nil, []control.Rule{{Network: "192.0.2.7"}}},
		{"tgt, name and host", "<target " + head + ">\ninitiator-name " + name + "\ninitiator-address host.example\n</target>\n", shut, nil},
		{"ctl, both", "target " + head + " {\ninitiator-name " + name + "\ninitiator-portal 192.0.2.0/24\n}\n", nil, []control.Rule{{Initiator: name, Network: "192.0.2.0/24"}}},
		{"ctl, denied", "target " + head + " {\nauth-type deny\ninitiator-name " + name + "\n}\n", shut, nil},
	}
	for _, tt := range tests {
		path := filepath.Join(t.TempDir(), "conf")
		if err := os.WriteFile(path, []byte(tt.text), 0o600); err != nil {
			t.Fatal(err)
		}
		r, err := foreign.Read(path, foreign.Auto, "")
		if err != nil || len(r.Targets) != 1 {
			t.Fatalf("%s: %v, %v", tt.what, r, err)
		}
		got := r.Targets[0]
		if !reflect.DeepEqual(got.AllowedInitiators, tt.allowed) || !reflect.DeepEqual(got.Access, tt.access) {
			t.Errorf("%s: allows %q and %v, want %q and %v", tt.what, got.AllowedInitiators, got.Access, tt.allowed, tt.access)
		}
	}
}

// TestIETAccess reads the files beside ietd.conf.
func TestIETAccess(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"ietd.conf": "Target iqn.2026-11.com.example:a\nTarget iqn.2026-11.com.example:b\nTarget iqn.2026-11.com.example:c\n",
		"initiators.allow": "iqn.2026-11.com.example:a 192.0.2.0/24, [2001:db8::]/32, ^iqn\\.2026-11\\.com\\.example:n.*$\n" +
			"iqn.2026-11.com.example:c iqn\\.2026-11\\.com\\.(a|b)\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r, err := foreign.Read(filepath.Join(dir, "ietd.conf"), foreign.Auto, "")
	if err != nil || len(r.Targets) != 3 {
		t.Fatalf("%v, %v", r, err)
	}
	a := r.Targets[0]
	if want := []control.Rule{{Network: "192.0.2.0/24"}, {Network: "2001:db8::/32"}}; !reflect.DeepEqual(a.Access, want) {
		t.Errorf("access %v, want %v", a.Access, want)
	}
	for i, want := range []string{"iqn.2026-11.com.example:n*", "nobody", "nobody"} {
		if got := r.Targets[i].AllowedInitiators; len(got) != 1 || got[0] != want {
			t.Errorf("%s allows %q, want %s", r.Targets[i].Name, got, want)
		}
	}
}
