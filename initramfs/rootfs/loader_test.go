package rootfs

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bootlun/bootlun/qemu"
)

// TestLoader starts a kernel from a loader's disk; its own initramfs says that
// it got the command line.
func TestLoader(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIP: boots a virtual machine")
	}
	needs(t, qemuPC, grubImage)
	if err := grubFiles(); err != nil {
		t.Skip("SKIP: ", err)
	}
	kernel, initrd := testKernel(t)
	image := filepath.Join(t.TempDir(), "loader.img")
	config := LoaderConfig{Kernel: kernel.Image, Initrd: initrd, Cmdline: "console=ttyS0 panic=-1 marker=by-grub", Log: testLog(t)}
	if err := Loader(t.Context(), image, config); err != nil {
		t.Fatal(err)
	}
	g := start(t, qemu.Machine{Memory: 512, Disks: []qemu.Disk{{Path: image, Snapshot: true}}, NoReboot: true})
	g.expect(`[Cc]ommand line: .*/vmlinuz console=ttyS0 panic=-1 marker=by-grub`)
	g.expect(`Run /init as init process`)
}

func TestLoaderRefuses(t *testing.T) {
	image := filepath.Join(t.TempDir(), "loader.img")
	for name, c := range map[string]struct {
		config LoaderConfig
		want   string
	}{
		"a command line of GRUB's": {LoaderConfig{Cmdline: "quiet; reboot"}, "quiet; reboot"},
		"no kernel":                {LoaderConfig{Kernel: "/nonexistent/vmlinuz"}, "/nonexistent/vmlinuz"},
	} {
		if err := Loader(t.Context(), image, c.config); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v", name, err)
		}
	}
	if _, err := os.Stat(image); err == nil {
		t.Error("there is an image")
	}
}
