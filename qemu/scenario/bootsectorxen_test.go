package scenario_test

import (
	"bytes"
	"compress/gzip"
	"debug/elf"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/bootlun/bootlun/bootloader/int13h"
	"github.com/bootlun/bootlun/initramfs/rootfs"
)

// TestBootSectorOfXen runs the GRUB of a Xen host on this machine; it starts Xen by multiboot 2.
func TestBootSectorOfXen(t *testing.T) {
	if os.Getenv("BOOTLUN_TEST_INT13H") == "" {
		t.Skip("SKIP: interprets hundreds of millions of instructions: make test-int13h")
	}
	need(t, "mmdebstrap", "mke2fs", "debugfs", "grub-mkimage")
	image, err := images(t).XenHost(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	h, err := int13h.Boot(t.Context(), int13h.Config{Disk: openDiskFile(t, image), ReadOnly: true, Memory: 1 << 30})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%s: %d million steps", h.Why, h.Steps/1e6)
	if h.Multiboot == nil || h.Multiboot.Version != 2 || len(h.Multiboot.Modules) != 2 {
		t.Fatalf("caught %s, %+v", h.Why, h.Multiboot)
	}
	if !strings.HasSuffix(h.Cmdline, "com1=115200,8n1 console=com1") {
		t.Errorf("Xen's command line %q", h.Cmdline)
	}
	kernel, initramfs, err := rootfs.BootFiles(image, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for i, file := range []string{kernel, initramfs} {
		if !bytes.Equal(h.Multiboot.Modules[i].Data, readFile(t, file)) {
			t.Errorf("module %d is not %s", i, file)
		}
	}
	if line := h.Multiboot.Modules[0].Cmdline; !strings.HasSuffix(line, "console=hvc0 quiet init=/bin/sh") {
		t.Errorf("Linux's command line %q", line)
	}
	if want := xenOn(t, image); !bytes.HasPrefix(h.Kernel, want) {
		t.Errorf("%d bytes of Xen, and not the %d in the file", len(h.Kernel), len(want))
	}
}

// xenOn is what of the Xen on a disk is to be loaded.
func xenOn(t *testing.T, image string) []byte {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "debugfs", "-R", "ls -p /boot", image+"?offset=1048576").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range strings.Split(string(out), "\n") {
		fields := strings.Split(line, "/")
		if len(fields) < 6 || !strings.HasPrefix(fields[5], "xen-") || !strings.HasSuffix(fields[5], ".gz") {
			continue
		}
		packed, err := exec.CommandContext(t.Context(), "debugfs", "-R", "cat /boot/"+fields[5], image+"?offset=1048576").Output()
		if err != nil {
			t.Fatal(err)
		}
		z, err := gzip.NewReader(bytes.NewReader(packed))
		if err != nil {
			t.Fatal(err)
		}
		file, err := io.ReadAll(z)
		if err != nil {
			t.Fatal(err)
		}
		f, err := elf.NewFile(bytes.NewReader(file))
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range f.Progs {
			if p.Type == elf.PT_LOAD {
				return file[p.Off:][:p.Filesz]
			}
		}
	}
	t.Fatalf("no Xen in /boot: %s", out)
	return nil
}
