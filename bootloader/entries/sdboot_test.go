package entries

import (
	"reflect"
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
