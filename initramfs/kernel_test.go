package initramfs

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// fakeImage writes a kernel image that has nothing but a version.
func fakeImage(t *testing.T, name, version string) string {
	t.Helper()
	data := make([]byte, 0x400)
	copy(data[bzMagic:], "HdrS")
	binary.LittleEndian.PutUint16(data[bzKernelVersion:], 0x100)
	copy(data[0x300:], version+" (debian-kernel@lists.debian.org) #1 SMP")
	return writeTestFile(t, name, string(data))
}

func TestLocalKernel(t *testing.T) {
	dir := t.TempDir()
	image := fakeImage(t, filepath.Join(dir, "vmlinuz"), "6.1.0-test")
	other := writeTestFile(t, filepath.Join(dir, "Image"), strings.Repeat("ARM64 ", 200))
	short := writeTestFile(t, filepath.Join(dir, "short"), "no kernel")
	for _, name := range []string{"one/lib/modules/6.1.0-test/kernel/a.ko", "two/lib/modules/6.1/kernel/a", "two/lib/modules/6.2/kernel/a", "old/6.0.0/kernel/a"} {
		writeTestFile(t, filepath.Join(dir, name), "")
	}
	folder := filepath.Join(dir, "one/lib/modules/6.1.0-test")
	tests := []struct {
		name, image, modules string
		want                 Kernel
		err                  string
	}{
		{"no modules", image, "", Kernel{image, "", "6.1.0-test"}, ""},
		{"folder", image, folder, Kernel{image, folder, "6.1.0-test"}, ""},
		{"tree", image, filepath.Join(dir, "one"), Kernel{image, folder, "6.1.0-test"}, ""},
		{"image that does not tell", other, folder, Kernel{other, folder, "6.1.0-test"}, ""},
		{"neither tells", other, "", Kernel{other, "", ""}, ""},
		{"other version", image, filepath.Join(dir, "old/6.0.0"), Kernel{}, "are of 6.0.0"},
		{"two kernels", image, filepath.Join(dir, "two"), Kernel{}, "found 2"},
		{"nothing there", image, filepath.Join(dir, "none"), Kernel{}, "found 0"},
		{"short", short, "", Kernel{}, "too short"},
		{"missing", filepath.Join(dir, "missing"), "", Kernel{}, "no such file"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := LocalKernel(tt.image, tt.modules)
			if got != tt.want {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
			if (tt.err == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), tt.err) {
				t.Errorf("error %v, want %q", err, tt.err)
			}
		})
	}
}

func FuzzImageVersion(f *testing.F) {
	f.Add([]byte("HdrS"), uint16(0x100))
	f.Add(bytes.Repeat([]byte{0xff}, 600), uint16(0xffff))
	f.Fuzz(func(t *testing.T, tail []byte, at uint16) {
		data := make([]byte, bzHeaderSize)
		copy(data[bzMagic:], "HdrS")
		binary.LittleEndian.PutUint16(data[bzKernelVersion:], at)
		name := writeTestFile(t, filepath.Join(t.TempDir(), "image"), string(data)+string(tail))
		if v, err := imageVersion(name); err != nil || len(v) > maxVersion {
			t.Errorf("version %q, error %v", v, err)
		}
	})
}

func TestDebianKernel(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIP: may download a kernel")
	}
	k := testKernel(t)
	if _, err := os.Stat(filepath.Join(k.Modules, "modules.builtin")); err != nil {
		t.Error(err)
	}
	if !strings.HasSuffix(k.Version, "-cloud-amd64") || filepath.Base(k.Modules) != k.Version {
		t.Errorf("unexpected kernel %+v", k)
	}
	if again := testKernel(t); again != k {
		t.Errorf("the second time it is %+v, not %+v", again, k)
	}
}

// fakeApt puts programs in the place of apt's and dpkg's. They note how they
// were called, and a file "offline" makes apt-get fail.
func fakeApt(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	image := fakeImage(t, filepath.Join(dir, "vmlinuz"), "6.1.0-9-test")
	script := func(name string, body ...string) {
		text := lines(append([]string{"#!/bin/sh", "echo " + name + " \"$@\" >> " + dir + "/calls"}, body...)...)
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	script("apt-cache",
		`test "$3" = linux-image-test || { echo "E: No packages found" >&2; exit 100; }`,
		`echo "$3"`, `echo "  Depends: linux-base"`, `echo "  Depends: linux-image-6.1.0-9-test"`)
	script("apt-get",
		"test ! -e "+dir+"/offline || { echo 'E: Failed to fetch http://deb' >&2; exit 100; }",
		"touch linux-image-6.1.0-9-test_6.1_amd64.deb")
	script("dpkg-deb",
		`test -e "$2" || { echo "failed to read archive '$2'" >&2; exit 2; }`,
		"mkdir -p $3/boot $3/lib/modules/6.1.0-9-test/kernel",
		"cp "+image+" $3/boot/vmlinuz-6.1.0-9-test")
	t.Setenv("PATH", dir+":/usr/bin:/bin")
	return dir
}

func calls(t *testing.T, dir string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, "calls"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(dir, "calls")); err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestDebianKernelSteps(t *testing.T) {
	apt := fakeApt(t)
	var log bytes.Buffer
	cfg := KernelConfig{Dir: t.TempDir(), Package: "linux-image-test", Logger: slog.New(slog.NewTextHandler(&log, nil))}

	writeTestFile(t, filepath.Join(apt, "offline"), "")
	_, err := DebianKernel(t.Context(), cfg)
	if err == nil || !strings.Contains(err.Error(), "network") || !strings.Contains(err.Error(), "linux-image-test") {
		t.Errorf("offline: %v", err)
	}
	if left, _ := filepath.Glob(filepath.Join(cfg.Dir, "*")); len(left) > 0 {
		t.Errorf("a failure leaves %v", left)
	}
	if err := os.Remove(filepath.Join(apt, "offline")); err != nil {
		t.Fatal(err)
	}

	calls(t, apt)
	k, err := DebianKernel(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(cfg.Dir, "linux-image-6.1.0-9-test")
	if want := (Kernel{dir + "/boot/vmlinuz-6.1.0-9-test", dir + "/lib/modules/6.1.0-9-test", "6.1.0-9-test"}); k != want {
		t.Errorf("got %+v, want %+v", k, want)
	}
	if got := calls(t, apt); !strings.Contains(got, "download -- linux-image-6.1.0-9-test\n") {
		t.Errorf("called:\n%s", got)
	}

	// There already: nothing is downloaded. Named exactly: apt is not asked.
	for _, pkg := range []string{"linux-image-test", "linux-image-6.1.0-9-test"} {
		cfg.Package = pkg
		if again, err := DebianKernel(t.Context(), cfg); err != nil || again != k {
			t.Errorf("%s: %+v, %v", pkg, again, err)
		}
	}
	if got, want := calls(t, apt), "apt-cache depends -- linux-image-test\n"; got != want {
		t.Errorf("called:\n%swant:\n%s", got, want)
	}

	// A failing apt does not matter once there is a kernel.
	cfg.Package = "linux-image-test"
	t.Setenv("PATH", t.TempDir())
	if again, err := DebianKernel(t.Context(), cfg); err != nil || again != k || !strings.Contains(log.String(), "from before") {
		t.Errorf("without apt: %+v, %v, log %s", again, err, log.String())
	}
}

func TestDebianKernelBelowTheWorkingFolder(t *testing.T) {
	fakeApt(t)
	t.Chdir(t.TempDir())
	k, err := DebianKernel(t.Context(), KernelConfig{Dir: "build/kernel", Package: "linux-image-test"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(k.Image); err != nil {
		t.Error(err)
	}
}

func TestDebianKernelErrors(t *testing.T) {
	fakeApt(t)
	cfg := KernelConfig{Dir: t.TempDir(), Package: "linux-image-none"}
	if _, err := DebianKernel(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "apt-get update") {
		t.Errorf("unknown package: %v", err)
	}
	t.Setenv("PATH", t.TempDir())
	if _, err := DebianKernel(t.Context(), cfg); !errors.Is(err, exec.ErrNotFound) || !strings.Contains(err.Error(), "Debian") {
		t.Errorf("no apt: %v", err)
	}
}
