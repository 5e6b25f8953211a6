package entries

import (
	"bytes"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

func TestUpdateEnvBlock(t *testing.T) {
	block := func(vars string) string {
		return envBlockHead + vars + strings.Repeat("#", 1024-len(envBlockHead)-len(vars))
	}
	tests := []struct {
		name, block, want, wantErr string
		changes                    []EnvChange
	}{
		{name: "emptied", block: block("saved_entry=a>b\nnext_entry=2\n"), changes: []EnvChange{{Name: "next_entry"}}, want: block("saved_entry=a>b\nnext_entry=\n")},
		{name: "taken out", block: block("x=1\ny=2\n"), changes: []EnvChange{{Name: "x", Unset: true}, {Name: "z", Unset: true}}, want: block("y=2\n")},
		{name: "new, escaped", block: block("a=\\\\\n"), changes: []EnvChange{{Name: "b", Value: "1\n\\"}}, want: block("a=\\\\\nb=1\\\n\\\\\n")},
		{name: "full", block: block(""), changes: []EnvChange{{Name: "b", Value: strings.Repeat("x", 1024)}}, wantErr: "too few"},
		{name: "no block", block: "# something", wantErr: "no environment block"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := UpdateEnvBlock([]byte(tt.block), tt.changes)
			if tt.wantErr != "" {
				if err == nil || !strings.Contains(err.Error(), tt.wantErr) {
					t.Errorf("error = %v, want %q", err, tt.wantErr)
				}
				return
			}
			if err != nil || string(got) != tt.want {
				t.Errorf("%q, %v; want %q", strings.TrimRight(string(got), "#"), err, strings.TrimRight(tt.want, "#"))
			}
		})
	}
}

// What grub-editenv wrote stays as it is but for the change.
func TestUpdateEnvBlockOfDebian(t *testing.T) {
	block, err := os.ReadFile("testdata/debian/grubenv")
	if err != nil {
		t.Fatal(err)
	}
	got, err := UpdateEnvBlock(block, []EnvChange{{Name: "one_more", Value: "x"}})
	if err != nil || len(got) != len(block) {
		t.Fatalf("%d bytes of %d, %v", len(got), len(block), err)
	}
	want := append(parseEnvBlock(block), envVariable{"one_more", "x"})
	if vars := parseEnvBlock(got); !reflect.DeepEqual(vars, want) {
		t.Errorf("%v, want %v", vars, want)
	}
}

func TestNextEntry(t *testing.T) {
	files := from(t, "boot/grub/grub.cfg", "debian/grub.cfg", "boot/grub/grubenv", "debian/grubenv")
	files["boot/grub/grubenv"].Data = []byte(envBlockHead + "saved_entry=0\nnext_entry=1>2\n####")
	v := volume(2, "linux", rootUUID, "ext4", files)
	menu, err := Find([]*Volume{v}, FindOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if want := menu.Lookup("1>2"); menu.Default != want || want <= 0 {
		t.Errorf("entry %d starts, want %d, the next entry", menu.Default, want)
	}
	if want := (EnvChange{File: File{v, "/boot/grub/grubenv"}, Name: "next_entry"}); len(menu.Env) != 1 || menu.Env[0] != want {
		t.Errorf("the menu changes %v, want %v", menu.Env, want)
	}
}

// SUSE's GRUB keeps on btrfs, beside the file, a block at a fixed place, which counts more.
func TestEnvironmentInBlocks(t *testing.T) {
	files := from(t, "boot/grub2/grub.cfg", "suse/grub.cfg", ".snapshots/grub-snapshot.cfg", "suse/snapshot.cfg")
	files["boot/grub2/grubenv"] = &fstest.MapFile{Data: []byte(envBlockHead + "env_block=512+1\nsaved_entry=0\n####")}
	v := volume(2, "linux", rootUUID, "btrfs", files)
	raw := make([]byte, 1<<20)
	copy(raw[256<<10:], envBlockHead+"next_entry=1>0\n"+strings.Repeat("#", 512))
	v.Raw = bytes.NewReader(raw)
	menu, err := Find([]*Volume{v}, FindOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if want := menu.Lookup("1>0"); menu.Default != want || want <= 0 {
		t.Errorf("entry %d starts, want %d, the next entry", menu.Default, want)
	}
	block := File{v, "512+1"}
	want := []EnvChange{{File: File{v, "/boot/grub2/grubenv"}, Name: "next_entry"}, {File: block, Name: "next_entry"}}
	if !slices.Equal(menu.Env, want) {
		t.Errorf("the menu changes %v, want %v", menu.Env, want)
	}
	if at, size, ok := block.Blocks(); at != 256<<10 || size != 512 || !ok {
		t.Errorf("%s is %d bytes at %d, %v", block, size, at, ok)
	}
	if got, err := block.Read(512); err != nil || !bytes.Equal(got, raw[256<<10:][:512]) {
		t.Errorf("%s reads as %.40q, %v", block, got, err)
	}
	for _, p := range []string{"/512+1", "512", "512+0", "+1", "-1+1", "512+1,9+1", "999999999999999+1", "512+99999"} {
		if at, size, ok := (File{v, p}).Blocks(); ok {
			t.Errorf("%s is %d bytes at %d", p, size, at)
		}
	}
}
