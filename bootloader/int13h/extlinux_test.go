package int13h_test

import (
	"fmt"
	"testing"

	"github.com/bootlun/bootlun/bootloader/int13h"
)

const extlinuxConfig = "DEFAULT linux\nPROMPT 0\nTIMEOUT 30\nLABEL linux\n  KERNEL /vmlinuz\n  INITRD /initrd.img\n  APPEND console=ttyS0 marker=by-extlinux\n"

// TestExtlinux: extlinux finds its second stage by sectors that its installation
// has noted, and its files by reading ext4.
func TestExtlinux(t *testing.T) {
	for name, offset := range map[string]int64{"whole disk": 0, "partition": mebibyte} {
		t.Run(name, func(t *testing.T) {
			if offset == 0 {
				slow(t)
			}
			w := newWorkshop(t, "extlinux", "linux.uml", "mke2fs", "/usr/lib/syslinux/mbr/mbr.bin")
			const size = 64 << 20
			kernel := testKernel(t)
			tree := w.grubTree(kernel, "")
			w.write("tree/boot/extlinux/extlinux.conf", []byte(extlinuxConfig))
			disk, device := w.disk(size), "/dev/ubda"
			if offset > 0 {
				w.partitionTable(disk, w.read("/usr/lib/syslinux/mbr/mbr.bin"), 0x83, size-offset)
				device += "1"
			}
			// With small blocks mke2fs would leave a hole in the kernel, which extlinux does not read.
			w.run("mke2fs", "-q", "-t", "ext4", "-b", "4096", "-d", tree, "-E", fmt.Sprintf("offset=%d", offset), disk, fmt.Sprint((size-offset)/4096))
			w.inLinux(disk, "mount "+device+" /mnt\nextlinux --install /mnt/boot/extlinux\numount /mnt")
			w.boots(int13h.Config{Disk: openDisk(t, disk)},
				expected{kernel, someInitrd, "BOOT_IMAGE=/vmlinuz console=ttyS0 marker=by-extlinux initrd=/initrd.img"})
		})
	}
}
