package initramfs

import (
	"bytes"
	"context"
	"crypto/sha256"
	"debug/buildinfo"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/bootlun/bootlun/initramfs/modules"
	"github.com/bootlun/bootlun/initramfs/modules/ko"
)

// contents reads an image packed with zstd back: all its files by name.
func contents(t *testing.T, image string, m Manifest) map[string]File {
	t.Helper()
	data, err := os.ReadFile(image)
	if err != nil {
		t.Fatal(err)
	}
	if int64(len(data)) != m.Size || fmt.Sprintf("%x", sha256.Sum256(data)) != m.SHA256 {
		t.Errorf("the image is not the one of the manifest")
	}
	end := int64(len(data))
	if m.ModulesAt > 0 {
		end = m.ModulesAt
	}
	parts := [][]byte{unpack(t, bytes.TrimRight(data[:end], "\x00")), data[end:]}
	files := make(map[string]File)
	raw := 0
	for _, part := range parts {
		raw += len(part)
		list, err := readArchive(bytes.NewReader(part))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range list {
			files[f.Name] = f
		}
	}
	if int64(raw) != m.RawSize {
		t.Errorf("%d bytes unpacked, the manifest says %d", raw, m.RawSize)
	}
	return files
}

func unpack(t *testing.T, data []byte) []byte {
	t.Helper()
	z, err := zstd.NewReader(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	if data, err = z.DecodeAll(data, nil); err != nil {
		t.Fatal(err)
	}
	return data
}

func TestBuild(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIP: compiles programs")
	}
	image := filepath.Join(t.TempDir(), "new", "image")
	m, err := Build(t.Context(), Config{
		Output: image, Cache: testCache(t), Init: loadInit,
		Commands: []string{"github.com/u-root/u-root/cmds/core/gosh", "github.com/u-root/u-root/cmds/core/ls"},
		Files:    []File{{Name: "etc/extra", Mode: 0o600, Data: []byte("extra\n")}},
	})
	if err != nil {
		t.Fatal(err)
	}
	files := contents(t, image, m)
	for name, want := range map[string]string{
		"init": "bin/loadinit", "bin/sh": "../bbin/gosh", "bbin/gosh": "bb", "bbin/ls": "bb",
		"etc/extra": "extra\n", "etc/initrd-release": release,
	} {
		if got := string(files[name].Data); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	for _, name := range []string{"bin/loadinit", "bbin/bb"} {
		if f := files[name]; f.Mode.Perm() != 0o755 || !bytes.HasPrefix(f.Data, []byte("\x7fELF")) {
			t.Errorf("%s is no program: mode %v, %d bytes", name, f.Mode, len(f.Data))
		}
	}
	info, err := buildinfo.Read(bytes.NewReader(files["bin/loadinit"].Data))
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range info.Settings {
		if strings.HasPrefix(s.Key, "vcs") || s.Key == "CGO_ENABLED" && s.Value != "0" {
			t.Errorf("init is built with %s=%s", s.Key, s.Value)
		}
	}
	for _, f := range m.Files {
		if have, ok := files[f.Name]; !ok || have.Mode != f.Mode || int64(len(have.Data)) != f.Size {
			t.Errorf("the manifest has %+v, the image %v", f, have.Mode)
		}
	}
	if len(m.Files) != len(files) || len(m.Modules) > 0 || m.ModulesAt != 0 {
		t.Errorf("%d files, manifest says %d and %v", len(files), len(m.Files), m.Modules)
	}
}

func TestBuildModules(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIP: compiles programs, may download a kernel")
	}
	kernel := testKernel(t)
	image := filepath.Join(t.TempDir(), "image")
	m, err := Build(t.Context(), Config{Kernel: kernel, Output: image, Cache: testCache(t), Init: loadInit, Commands: []string{}})
	if err != nil {
		t.Fatal(err)
	}
	if m.Kernel != kernel.Version {
		t.Errorf("kernel %q, want %q", m.Kernel, kernel.Version)
	}
	files := contents(t, image, m)
	folder := "lib/modules/" + kernel.Version
	index, err := modules.Decode(files[path.Join(folder, modules.IndexFile)].Data)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"iscsi_tcp", "iscsi_ibft", "virtio_net", "sd_mod", "xfs", "btrfs", "vfat", "ext4", "nls_cp437"} {
		if _, ok := index.Lookup(name); !ok {
			t.Errorf("%s is missing", name)
		}
	}
	for _, name := range []string{"snd", "drm", "sr_mod"} {
		if slices.Contains(m.Modules, name) {
			t.Errorf("%s is not needed", name)
		}
	}
	var loadable []string
	for _, mod := range index.All() {
		if mod.Builtin() {
			continue
		}
		loadable = append(loadable, mod.Name)
		want, err := ko.ReadFile(filepath.Join(kernel.Modules, strings.TrimSuffix(mod.Path, ".zst")))
		if err != nil {
			t.Fatal(err)
		}
		if got := unpack(t, files[path.Join(folder, mod.Path)].Data); !bytes.Equal(got, want) {
			t.Errorf("%s is not the kernel's", mod.Path)
		}
	}
	slices.Sort(loadable)
	if have := slices.Sorted(slices.Values(m.Modules)); !slices.Equal(have, loadable) {
		t.Errorf("manifest and index differ:\n%v\n%v", have, loadable)
	}
	if m.Size > 10<<20 {
		t.Errorf("%d bytes: over 10 MiB", m.Size)
	}
}

// TestReproducible builds twice, with nothing shared but Go's own cache.
func TestReproducible(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIP: compiles programs")
	}
	var images [2][]byte
	for i := range images {
		name := filepath.Join(t.TempDir(), "image")
		_, err := Build(t.Context(), Config{
			Output: name, Cache: t.TempDir(), Init: loadInit, Commands: []string{"github.com/u-root/u-root/cmds/core/ls"},
		})
		if err != nil {
			t.Fatal(err)
		}
		if images[i], err = os.ReadFile(name); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(images[0], images[1]) {
		t.Errorf("two builds of %d and %d bytes differ", len(images[0]), len(images[1]))
	}
}

func TestKeyChangesWithSource(t *testing.T) {
	dir := t.TempDir()
	writeTestFile(t, filepath.Join(dir, "go.mod"), "module example.com/prog\n\ngo 1.26\n")
	writeTestFile(t, filepath.Join(dir, "main.go"), "package main\n\nfunc main() {}\n")
	p := programs{packages: []string{"example.com/prog"}, source: dir}
	hashOf := func() string {
		t.Helper()
		h := sha256.New()
		if err := p.hashSources(t.Context(), h); err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf("%x", h.Sum(nil))
	}
	first := hashOf()
	if second := hashOf(); second != first {
		t.Error("the key changes with nothing")
	}
	writeTestFile(t, filepath.Join(dir, "main.go"), "package main\n\nfunc main() { println() }\n")
	if second := hashOf(); second == first {
		t.Error("the key does not change with the source")
	}
}

func TestBuildErrors(t *testing.T) {
	out := filepath.Join(t.TempDir(), "image")
	outside := t.TempDir()
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	modulesDir := filepath.Join(t.TempDir(), "6.1.0")
	writeTestFile(t, filepath.Join(modulesDir, "modules.builtin"), "kernel/fs/ext4/ext4.ko\n")
	tests := []struct {
		name string
		ctx  context.Context
		cfg  Config
		want string
	}{
		{"no output", t.Context(), Config{}, "Output"},
		{"compression", t.Context(), Config{Output: out, Compression: "rar"}, "rar"},
		{"outside of the source", t.Context(), Config{Output: out, Source: outside}, "source tree"},
		{"no such program", t.Context(), Config{Output: out, Init: "github.com/bootlun/bootlun/nothing"}, "nothing"},
		{"kernel without iSCSI", t.Context(), Config{Output: out, Kernel: Kernel{Modules: modulesDir}}, "iscsi_tcp"},
		{"cancelled", cancelled, Config{Output: out}, "canceled"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.cfg.Cache = t.TempDir()
			_, err := Build(tt.ctx, tt.cfg)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want one with %q", err, tt.want)
			}
			if _, err := os.Stat(out); !errors.Is(err, os.ErrNotExist) {
				t.Error("a failed build leaves an image")
			}
		})
	}
}

// TestDefaults checks that all that an image carries by default can be found
// with the go.mod that we have.
func TestDefaults(t *testing.T) {
	p := programs{packages: append(DefaultCommands(), DefaultInit), source: "."}
	if err := p.hashSources(t.Context(), sha256.New()); err != nil {
		t.Fatal(err)
	}
}
