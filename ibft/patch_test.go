package ibft

import (
	"bytes"
	"strings"
	"testing"
)

// A change that fits in its place leaves all other bytes but the checksum as they were.
func TestSetInPlace(t *testing.T) {
	for name, raw := range foreignTables(t) {
		for _, change := range []struct{ field, value string }{
			{"nic0.vlan", "42"},
			{"nic0.mac", "02:00:00:00:00:01"},
			{"target0.ip", "2001:db8::1"},
			{"nic0.secondary_dns", "2001:db8::53"},
			{"target0.port", "3261"},
			{"target0.flags", "valid"},
			{"target0.name", "iqn.x"},
			{"initiator.name", ""},
			{"oem_id", "X"},
			{"control", "single-login"},
		} {
			table := mustParse(t, raw)
			if err := table.Set(change.field, change.value); err != nil {
				t.Fatal(err)
			}
			got := mustBuild(t, table, BuildOptions{})
			if again := mustParse(t, got); len(Diff(table, again)) > 0 {
				t.Errorf("%s, %s: reads as %v", name, change.field, Diff(table, again))
			}
			if len(got) != len(raw) {
				t.Errorf("%s, %s: %d bytes, were %d", name, change.field, len(got), len(raw))
				continue
			}
			for _, f := range Fields(raw) {
				if !bytes.Equal(raw[f.Offset:][:f.Length], got[f.Offset:][:f.Length]) && !concerns(f, change.field) {
					t.Errorf("%s, %s: changed are %d bytes of %s %s", name, change.field, f.Length, f.Structure, f.Name)
				}
			}
		}
	}
}

// concerns says whether a change may touch the bytes of a field.
func concerns(f Field, path string) bool {
	structure, field, ok := strings.Cut(path, ".")
	if !ok {
		structure, field = "", path
	}
	names := map[string][]string{
		"vlan": {"VLAN"}, "mac": {"MAC"}, "ip": {"IP address"}, "secondary_dns": {"secondary DNS server"}, "port": {"port"},
		"flags": {"flags"}, "name": {"name length", "name offset", "name"}, "oem_id": {"OEM ID"}, "control": {"flags"},
	}[field]
	if f.Name == "checksum" {
		return true
	}
	for _, n := range names {
		kind := strings.TrimRight(structure, "0123456789")
		if strings.HasSuffix(f.Name, n) && (f.Structure == "heap" || strings.HasPrefix(strings.ToLower(f.Structure), kind)) {
			return true
		}
	}
	return false
}

// What does not fit is laid out anew, as its writer does it; and what is taken out is gone.
func TestSetOutOfPlace(t *testing.T) {
	for name, raw := range foreignTables(t) {
		table := mustParse(t, raw)
		if err := table.Set("target0.name", table.Targets[0].Name+":and-more"); err != nil {
			t.Fatal(err)
		}
		got := mustParse(t, mustBuild(t, table, BuildOptions{}))
		if layout := got.ownLayout(); layout != mustParse(t, raw).ownLayout() {
			t.Errorf("%s: layout %s", name, layout)
		}
	}
	for _, name := range []string{"ipxe-chap", "edk2-chap"} {
		table := mustParse(t, foreignTables(t)[name])
		for _, field := range []string{"target0.chap_secret", "target0.reverse_chap_secret"} {
			if err := table.Set(field, ""); err != nil {
				t.Fatal(err)
			}
		}
		if b := mustBuild(t, table, BuildOptions{}); bytes.Contains(b, []byte("-secret\x00")) {
			t.Errorf("%s: the secret is still in the table", name)
		}
	}
}

// One of two names that share their bytes does not change with the other.
func TestSetShared(t *testing.T) {
	table := mustParse(t, foreignTables(t)["ipxe-paths"])
	shared := mustParse(t, mustBuild(t, values(table), BuildOptions{Layout: LayoutAligned}))
	other := shared.Targets[1].Name
	if err := shared.Set("target0.name", "iqn.x"); err != nil {
		t.Fatal(err)
	}
	if got := mustParse(t, mustBuild(t, shared, BuildOptions{})); got.Targets[0].Name != "iqn.x" || got.Targets[1].Name != other {
		t.Errorf("names %q and %q", got.Targets[0].Name, got.Targets[1].Name)
	}
}

// Whatever field is set to whatever value, the table that is built says so.
func FuzzSet(f *testing.F) {
	for _, b := range foreignTables(f) {
		f.Add(b, uint8(9), "iqn.x")
		f.Add(b, uint8(30), "2001:db8::1")
		f.Add(b, uint8(40), "")
	}
	f.Fuzz(func(t *testing.T, b []byte, field uint8, value string) {
		table, err := Parse(mended(b))
		if err != nil {
			return
		}
		paths := table.Fields()
		if table.Set(paths[int(field)%len(paths)], value) != nil {
			return
		}
		raw, err := table.Build(BuildOptions{})
		if err != nil {
			return // the value cannot be represented
		}
		got, err := Parse(raw)
		if err != nil {
			t.Fatalf("what it builds to does not parse: %v", err)
		}
		if d := Diff(table, got); len(d) > 0 && !strings.Contains(value, "\x00") && len(table.Other) == 0 {
			t.Fatalf("reads back with %v", d)
		}
	})
}
