package int13h_test

import (
	"bytes"
	"compress/gzip"
	"debug/elf"
	"io"
	"os/exec"
	"strings"
	"testing"

	"github.com/bootlun/bootlun/bootloader/int13h"
	"github.com/bootlun/bootlun/initramfs/rootfs"
	"github.com/bootlun/bootlun/qemu/scenario"
)

// TestXen runs the GRUB of a Xen host, which starts Xen by multiboot 2.
func TestXen(t *testing.T) {
	slow(t)
	w := newWorkshop(t, "mmdebstrap", "mke2fs", "debugfs", "grub-mkimage")
	image, err := scenario.Images{Dir: "../../build"}.XenHost(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	h, err := int13h.Boot(t.Context(), int13h.Config{Disk: openDisk(t, image), Memory: 1 << 30})
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
	kernel, initramfs, err := rootfs.BootFiles(image, w.dir)
	if err != nil {
		t.Fatal(err)
	}
	for i, file := range []string{kernel, initramfs} {
		if !bytes.Equal(h.Multiboot.Modules[i].Data, w.read(file)) {
			t.Errorf("module %d is not %s", i, file)
		}
	}
	if line := h.Multiboot.Modules[0].Cmdline; !strings.HasSuffix(line, "console=hvc0 quiet init=/bin/sh") {
		t.Errorf("Linux's command line %q", line)
	}
	if want := w.xen(image); !bytes.HasPrefix(h.Kernel, want) {
		t.Errorf("%d bytes of Xen, and not the %d in the file", len(h.Kernel), len(want))
	}
}

// xen is what of the Xen on a disk is to be loaded.
func (w workshop) xen(image string) []byte {
	w.Helper()
	out, err := exec.CommandContext(w.Context(), "debugfs", "-R", "ls -p /boot", image+"?offset=1048576").Output()
	if err != nil {
		w.Fatal(err)
	}
	for _, line := range strings.Split(string(out), "\n") {
		fields := strings.Split(line, "/")
		if len(fields) < 6 || !strings.HasPrefix(fields[5], "xen-") || !strings.HasSuffix(fields[5], ".gz") {
			continue
		}
		packed, err := exec.CommandContext(w.Context(), "debugfs", "-R", "cat /boot/"+fields[5], image+"?offset=1048576").Output()
		if err != nil {
			w.Fatal(err)
		}
		z, err := gzip.NewReader(bytes.NewReader(packed))
		if err != nil {
			w.Fatal(err)
		}
		file, err := io.ReadAll(z)
		if err != nil {
			w.Fatal(err)
		}
		f, err := elf.NewFile(bytes.NewReader(file))
		if err != nil {
			w.Fatal(err)
		}
		for _, p := range f.Progs {
			if p.Type == elf.PT_LOAD {
				return file[p.Off:][:p.Filesz]
			}
		}
	}
	w.Fatalf("no Xen in /boot: %s", out)
	return nil
}
