package rootfs

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestKey(t *testing.T) {
	keys := map[string]string{
		"tiny":           TinyConfig{}.Key(),
		"tiny, label":    TinyConfig{Label: "x"}.Key(),
		"tiny, commands": TinyConfig{Commands: TinyCommands()[:3]}.Key(),
		"tiny, size":     TinyConfig{Size: 128 << 20}.Key(),
		"tiny, host":     TinyConfig{Hostname: "x"}.Key(),
		"debian":         DebianConfig{}.Key(),
		"debian, login":  DebianConfig{RootPassword: "secret"}.Key(),
		"debian, auto":   DebianConfig{Autologin: true}.Key(),
		"debian, boot":   DebianConfig{SelfBooting: true}.Key(),
		"debian, dracut": DebianConfig{SelfBooting: true, Dracut: true}.Key(),
		"debian, more":   DebianConfig{Packages: []string{"fio"}}.Key(),
	}
	seen := make(map[string]string)
	for name, key := range keys {
		if other, ok := seen[key]; ok {
			t.Errorf("%s and %s have the same key", name, other)
		}
		seen[key] = name
		if strings.Contains(key, "secret") {
			t.Errorf("the key of %s shows the password", name)
		}
	}

	same := TinyConfig{Size: 64 << 20, Hostname: "bootlun", Source: "/elsewhere", Log: slog.Default()}
	if same.Key() != keys["tiny"] {
		t.Error("defaults, the source folder or the logger change the key")
	}
}

func TestCheck(t *testing.T) {
	for name, check := range map[string]func() error{
		"negative size":      TinyConfig{Size: -sector}.check,
		"small size":         TinyConfig{Size: minSize - sector}.check,
		"broken sector":      DebianConfig{Size: minSize + 1}.check,
		"long label":         TinyConfig{Label: "seventeen-letters"}.check,
		"host name, slash":   TinyConfig{Hostname: "a/b"}.check,
		"host name, newline": DebianConfig{Hostname: "a\nb"}.check,
		"password, colon":    DebianConfig{RootPassword: "a:b"}.check,
		"password, newline":  DebianConfig{RootPassword: "a\nb"}.check,
	} {
		if check() == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if err := (DebianConfig{Size: minSize, RootPassword: `'"$\%s`, Label: "sixteen--letters"}).check(); err != nil {
		t.Error(err)
	}
}

func TestFresh(t *testing.T) {
	path := filepath.Join(t.TempDir(), "image")
	if Fresh(path, "key") {
		t.Error("an image that is not there is fresh")
	}
	if err := create(path, minSize, "key", func(*os.File) error { return nil }); err != nil {
		t.Fatal(err)
	}
	if !Fresh(path, "key") || Fresh(path, "other") {
		t.Error("the image is not told by its key")
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if Fresh(path, "key") {
		t.Error("a recipe without its image is fresh")
	}
}
