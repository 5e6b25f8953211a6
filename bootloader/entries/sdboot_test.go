package entries

import (
	"encoding/binary"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"
)

// sdVolume is an EFI system partition with three entries, of which one has failed.
func sdVolume(conf string) *Volume {
	entry := func(version string) *fstest.MapFile {
		return &fstest.MapFile{Data: []byte("title Linux\nsort-key linux\nversion " + version + "\nlinux /k\noptions v=" + version + "\n")}
	}
	return volume(1, typeESP, "AAAA-BBBB", "vfat", fstest.MapFS{
		"loader/loader.conf": {Data: []byte(conf)}, "loader/entries/new+3.conf": entry("3"), "loader/entries/old.conf": entry("2"),
		"loader/entries/bad+0-3.conf": entry("4"), "EFI/Linux/Unified+1-2.efi": {},
	})
}

// What a system and systemd-boot tell each other by the firmware's variables.
func TestSDBootVariables(t *testing.T) {
	tests := []struct {
		name, conf string
		vars       map[string]string
		first      string
		timeout    time.Duration
		menu       []EnvChange // what showing the menu changes
		entry      []EnvChange // what starting the entry changes
	}{
		{name: "none", first: "new", entry: []EnvChange{{Name: varCounted, Value: `\loader\entries\new+2-1.conf`}}},
		{name: "loader.conf", conf: "default old*\ntimeout 3\n", first: "old", timeout: 3 * time.Second},
		{
			name: "default goes before loader.conf", conf: "default new*\ntimeout 3\n",
			vars: map[string]string{varDefault: "old.conf", varTimeout: "7"}, first: "old", timeout: 7 * time.Second,
		},
		{
			name: "once", conf: "timeout 3\n", vars: map[string]string{varDefault: "old.conf", varOneShot: "unified.efi", varTimeoutOneShot: "menu-force"},
			first: "Unified", timeout: -1,
			menu:  []EnvChange{{Name: varOneShot, Unset: true}, {Name: varTimeoutOneShot, Unset: true}},
			entry: []EnvChange{{Name: varCounted, Value: `\EFI\Linux\Unified+0-3.efi`}},
		},
		{name: "once, of what is not there", vars: map[string]string{varDefault: "old.conf", varOneShot: "gone.conf"}, first: "old", menu: []EnvChange{{Name: varOneShot, Unset: true}}},
		{
			name: "saved", conf: "default @saved\n", vars: map[string]string{varLast: "bad.conf"}, first: "bad",
			entry: []EnvChange{{Name: varCounted, Value: `\loader\entries\bad+0-4.conf`}},
		},
		{name: "saved, another", vars: map[string]string{varDefault: "@saved", varOneShot: "old.conf", varLast: "new.conf"}, first: "old", menu: []EnvChange{{Name: varOneShot, Unset: true}}, entry: []EnvChange{{Name: varLast, Value: "old.conf"}}},
		{name: "a counter of the last boot", vars: map[string]string{varDefault: "old.conf", varCounted: `\loader\entries\new+2-1.conf`}, first: "old", entry: []EnvChange{{Name: varCounted, Unset: true}}},
		{name: "hidden", conf: "timeout 3\n", vars: map[string]string{varTimeout: "menu-hidden"}, first: "new", entry: []EnvChange{{Name: varCounted, Value: `\loader\entries\new+2-1.conf`}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			menu, err := Find([]*Volume{sdVolume(tt.conf)}, FindOptions{EFI: true, Variables: tt.vars})
			if err != nil {
				t.Fatal(err)
			}
			e := menu.Entries[menu.Default]
			if tt.vars != nil {
				tt.menu = append(tt.menu, EnvChange{Name: varInfo, Value: "bootlun"})
			}
			if e.ID != tt.first || menu.Timeout != tt.timeout {
				t.Errorf("%q starts after %v, want %q after %v", e.ID, menu.Timeout, tt.first, tt.timeout)
			}
			if !reflect.DeepEqual(menu.Env, tt.menu) || !reflect.DeepEqual(e.Env, tt.entry) {
				t.Errorf("the menu changes %v, the entry %v; want %v and %v", menu.Env, e.Env, tt.menu, tt.entry)
			}
		})
	}
}

func TestBootCounter(t *testing.T) {
	tests := []struct {
		name, id, next string
		failed         bool
	}{
		{"linux+3", "linux", "linux+2-1.conf", false},
		{"linux+3-1", "linux", "linux+2-2.conf", false},
		{"linux+1-2", "linux", "linux+0-3.conf", false},
		{"linux+0-3", "linux", "linux+0-4.conf", true},
		{"linux+0", "linux", "linux+0-1.conf", true},
		{"a+b+12", "a+b", "a+b+11-1.conf", false},
		{"linux", "linux", "", false},
		{"linux+", "linux+", "", false},
		{"linux+1-", "linux", "linux+0-1.conf", false},
		{"6.1+deb12", "6.1+deb12", "", false},
		{"linux+99999999999999999999", "linux+99999999999999999999", "", false},
	}
	for _, tt := range tests {
		id, count := cutCounter(tt.name)
		next := ""
		if count != nil {
			next = count.next(id, ".conf")
		}
		if id != tt.id || next != tt.next || count.failed() != tt.failed {
			t.Errorf("%s: %q, then %q, failed %v; want %q, %q, %v", tt.name, id, next, count.failed(), tt.id, tt.next, tt.failed)
		}
	}
}

// unifiedImage is a PE file with sections: pairs of name and content. No section fills what the file has for it.
func unifiedImage(pairs ...string) []byte {
	const alignment = 512
	n := len(pairs) / 2
	le := binary.LittleEndian
	b := make([]byte, 0x80+24+240+40*n)
	copy(b, "MZ")
	le.PutUint32(b[0x3C:], 0x80)
	copy(b[0x80:], "PE\x00\x00")
	le.PutUint16(b[0x84:], 0x8664)
	le.PutUint16(b[0x86:], uint16(n))
	le.PutUint16(b[0x94:], 240)
	le.PutUint16(b[0x98:], 0x20B)
	le.PutUint32(b[0x98+108:], 16)
	for i := range n {
		b = append(b, make([]byte, -len(b)&(alignment-1))...)
		content := pairs[2*i+1]
		s := b[0x80+24+240+40*i:][:40]
		copy(s, pairs[2*i])
		le.PutUint32(s[8:], uint32(len(content)))
		le.PutUint32(s[16:], uint32(len(content)+alignment-1)&^(alignment-1))
		le.PutUint32(s[20:], uint32(len(b)))
		b = append(b, content...)
	}
	return append(b, make([]byte, -len(b)&(alignment-1))...)
}

// A unified image is taken apart, and tells by its os-release where in the menu it comes.
func TestUnified(t *testing.T) {
	kernel := make([]byte, 0x400)
	kernel[0x1FE], kernel[0x1FF] = 0x55, 0xAA
	copy(kernel[0x202:], "HdrS")
	release := func(version string) string {
		return "# of some system\nNAME=Linux\nPRETTY_NAME=\"Some Linux " + version + "\"\nID=some\nVERSION_ID='" + version + "'\n"
	}
	image := func(more ...string) *fstest.MapFile {
		return &fstest.MapFile{Data: unifiedImage(append(more, ".cmdline", "root=x ro\n\x00", ".linux", string(kernel), ".initrd", "archive", ".ucode", "microcode",
			".profile", "ID=main\n", ".profile", "ID=other\n", ".cmdline", "other")...)}
	}
	v := volume(1, typeESP, "AAAA-BBBB", "vfat", fstest.MapFS{
		"EFI/Linux/a-10.efi": image(".osrel", release("10")), "EFI/Linux/a-9.efi": image(".osrel", release("9")), "EFI/Linux/z.efi": image(),
		"EFI/Linux/far.efi": image(".text", strings.Repeat("x", maxUnifiedHead), ".osrel", release("11")), "EFI/Linux/y.efi": {Data: []byte("MZ")},
		"loader/entries/a-8.conf": {Data: []byte("title Some Linux\nversion 8\nsort-key some\nlinux /k\n")},
	})
	menu, err := Find([]*Volume{v}, FindOptions{EFI: true})
	if err != nil {
		t.Fatal(err)
	}
	var titles []string
	for _, e := range menu.Entries {
		titles = append(titles, e.Title)
	}
	if want := []string{"Some Linux 10 (a-10)", "Some Linux 9 (a-9)", "Some Linux (8)", "z", "y", "far"}; !slices.Equal(titles, want) {
		t.Errorf("%q, want %q", titles, want)
	}
	menu.Entries[0].Cmdline = "more"
	img, err := menu.Entries[0].Load(LoadOptions{})
	if err != nil || string(img.Kernel) != string(kernel) || string(img.Initramfs) != "microcode\x00\x00\x00archive" || img.Cmdline != "root=x ro more" {
		t.Errorf("%d bytes of kernel, initramfs %q, command line %q, %v", len(img.Kernel), img.Initramfs, img.Cmdline, err)
	}
	if _, err := menu.Entries[4].Load(LoadOptions{}); err == nil || !strings.Contains(err.Error(), "no unified kernel image") {
		t.Errorf("what is none: %v", err)
	}
}
