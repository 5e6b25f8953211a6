package foreign_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bootlun/bootlun/internal/golden"

	"github.com/goccy/go-yaml"

	"github.com/bootlun/bootlun/internal/peers"
	"github.com/bootlun/bootlun/target/control"
	"github.com/bootlun/bootlun/target/foreign"
)

// TestRead compares what is made of a file with testdata/*/want.
func TestRead(t *testing.T) {
	for _, file := range []string{"iet/ietd.conf", "tgt/targets.conf", "lio/saveconfig.json", "ctl/ctl.conf"} {
		t.Run(filepath.Dir(file), func(t *testing.T) {
			path := filepath.Join("testdata", file)
			r, err := foreign.Read(path, foreign.Auto, "/etc/bootlun/secrets")
			if err != nil {
				t.Fatal(err)
			}
			text, err := yaml.Marshal(struct {
				Targets       []control.Target
				Disks         map[string]control.Medium `yaml:",omitempty"`
				DiscoveryCHAP *control.CHAP             `yaml:",omitempty"`
				ISNS          *control.ISNS             `yaml:",omitempty"`
			}{r.Targets, r.Disks, r.DiscoveryCHAP, r.ISNS})
			if err != nil {
				t.Fatal(err)
			}
			got := string(text) + "\n"
			for _, s := range r.Secrets {
				got += "secret in " + s.Path + ": " + s.Secret.Reveal() + "\n"
			}
			for _, n := range r.Notes {
				got += n.String() + "\n"
			}
			golden.Compare(t, filepath.Join(filepath.Dir(path), "want"), got)
			if strings.Contains(string(text), "secret-of") {
				t.Error("a secret is in the configuration")
			}
		})
	}
}

func TestReadSaysWhatIsWrong(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"unknown", "hello\n", "cannot tell"},
		{"open block", "<target iqn.2026-11.com.example:a>\n  backing-store /a\n", "1: the block of \"target\" has no end"},
		{"end of nothing", "<target iqn.2026-11.com.example:a>\n</target>\n</target>\n", "3: the end of a block"},
		{"open quote", "<target iqn.2026-11.com.example:a>\nincominguser a \"b\n", "2: a quote"},
		{"JSON", "{\"targets\": 1}", "targets"},
		{"itself", "", "too deeply"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "conf")
			if tt.name == "itself" {
				tt.text = "<target iqn.2026-11.com.example:a>\n</target>\ninclude " + path + "\n"
			}
			if err := os.WriteFile(path, []byte(tt.text), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := foreign.Read(path, foreign.Auto, ""); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error = %v, want %q in it", err, tt.want)
			}
		})
	}
	if _, err := foreign.Read(filepath.Join(t.TempDir(), "none"), foreign.Auto, ""); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error = %v, want ErrNotExist", err)
	}
}

func FuzzRead(f *testing.F) {
	for _, file := range []string{"iet/ietd.conf", "tgt/targets.conf", "lio/saveconfig.json", "ctl/ctl.conf"} {
		text, err := os.ReadFile(filepath.Join("testdata", file))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	path := filepath.Join(f.TempDir(), "conf")
	f.Fuzz(func(t *testing.T, text []byte) {
		if strings.Contains(string(text), "include") {
			t.Skip() // would read this machine's files
		}
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		for _, format := range []foreign.Format{foreign.IET, foreign.TGT, foreign.LIO, foreign.CTL} {
			r, err := foreign.Read(path, format, "/secrets")
			if err != nil {
				continue
			}
			for _, target := range r.Targets {
				secrets := string(target.CHAPSecret + target.ReverseCHAPSecret)
				for _, i := range target.InitiatorCHAP {
					secrets += string(i.CHAPSecret + i.ReverseCHAPSecret)
				}
				if secrets != "" {
					t.Errorf("a secret in %+v", target)
				}
			}
		}
	})
}

// TestReadWhatTgtAdminDumps reads what tgt-admin makes of a running tgtd.
func TestReadWhatTgtAdminDumps(t *testing.T) {
	image := filepath.Join(t.TempDir(), "disk.img")
	if err := os.WriteFile(image, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	const name = "iqn.2026-11.com.example:dumped"
	g := peers.TGTFor(t, "127.0.0.1")
	tid, err := g.Target(name, []string{image})
	if err == nil {
		err = g.Account(tid, "node1", "secret-of-node1", false)
	}
	if err != nil {
		t.Fatal(err)
	}
	dump, err := g.Dump()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "targets.conf")
	if err := os.WriteFile(path, dump, 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := foreign.Read(path, foreign.Auto, "/secrets")
	if err != nil {
		t.Fatalf("%v in\n%s", err, dump)
	}
	if len(r.Targets) != 1 || r.Targets[0].Name != name || len(r.Targets[0].LUNs) != 1 || r.Targets[0].LUNs[0].Path != image || r.Targets[0].CHAPName != "node1" {
		t.Errorf("targets %+v of\n%s", r.Targets, dump)
	}
}
