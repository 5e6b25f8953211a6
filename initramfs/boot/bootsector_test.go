package boot

import (
	"bytes"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/bootlun/bootlun/bootloader"
	"github.com/bootlun/bootlun/bootloader/int13h"
)

// What a boot loader was about to start is started the same way as an entry of its configuration.
func TestCaught(t *testing.T) {
	module := func(data, cmdline string) int13h.Module { return int13h.Module{Data: []byte(data), Cmdline: cmdline} }
	linux := &int13h.Handoff{Kernel: []byte("linux"), Initrd: []byte("initrd"), Cmdline: "root=/dev/sda1"}
	xen := &int13h.Handoff{Kernel: []byte("xen"), Cmdline: "console=com1", Why: "multiboot 2", Multiboot: &int13h.Multiboot{
		Version: 2, Load: 1 << 20, Entry: 1<<20 + 64,
		Modules: []int13h.Module{module("linux", "root=/dev/sda1"), module("initrd", ""), module("policy", "")},
	}}
	for name, h := range map[string]*int13h.Handoff{"Linux": linux, "Xen": xen} {
		n, err := caught(h)
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprintf("%s %s %s", n.kernel, n.initramfs, n.cmdline); got != "linux initrd root=/dev/sda1" {
			t.Errorf("%s: %s", name, got)
		}
		if (n.hypervisor != nil) != (h == xen) {
			t.Errorf("%s: hypervisor %v", name, n.hypervisor)
		}
		if x := n.hypervisor; x != nil {
			got := fmt.Sprintf("%d %s %#x %#x %s %s", x.Version, x.Image, x.Load, x.Entry, x.Cmdline, x.Modules)
			if got != "2 xen 0x100000 0x100040 console=com1 [policy]" {
				t.Errorf("the hypervisor is %s", got)
			}
		}
	}
	xen.Multiboot.Modules = nil
	if _, err := caught(xen); err == nil || !strings.Contains(err.Error(), "without modules") {
		t.Errorf("error = %v", err)
	}
}

// A caught kernel is started as the file on the LUN has it, signature included,
// if the boot loader has named the file and its code is what was caught.
func TestOriginal(t *testing.T) {
	code := soundKernel(1 << 20)
	signed := slices.Concat(code, []byte("a signature"))
	other := slices.Clone(signed)
	other[len(code)-1]++
	disk := bootPartition(t, map[string][]byte{"boot/vmlinuz": signed, "boot/other": other, "boot/short": code[:len(code)/2]})
	m := &machine{log: slog.New(slog.DiscardHandler)}
	m.own.lun = bootloader.Disk{ReaderAt: bytes.NewReader(disk), Size: int64(len(disk)), SectorSize: 512, Name: "lun"}
	for name, c := range map[string]struct{ cmdline, want string }{
		"by syslinux":     {"BOOT_IMAGE=/boot/vmlinuz quiet", "lun1:/boot/vmlinuz"},
		"by GRUB":         {"BOOT_IMAGE=(hd0,msdos1)/boot/vmlinuz root=/dev/sda1", "lun1:/boot/vmlinuz"},
		"other code":      {"BOOT_IMAGE=/boot/other", ""},
		"cut short":       {"BOOT_IMAGE=/boot/short", ""},
		"not there":       {"BOOT_IMAGE=/vmlinuz", ""},
		"a folder":        {"BOOT_IMAGE=/boot", ""},
		"outside":         {"BOOT_IMAGE=../../../etc/passwd", ""},
		"no path":         {"BOOT_IMAGE=(hd0", ""},
		"not named":       {"quiet", ""},
		"nothing is said": {"", ""},
	} {
		t.Run(name, func(t *testing.T) {
			file, kernel := m.original(&int13h.Handoff{Kernel: code, Cmdline: c.cmdline})
			if file != c.want || (c.want != "") != bytes.Equal(kernel, signed) {
				t.Errorf("%q with %d bytes, want %q", file, len(kernel), c.want)
			}
		})
	}
}
