package int13h_test

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/bootlun/bootlun/bootloader/int13h"
)

// extlinuxInstall is the init of a Linux that runs as a process (user-mode-linux),
// with the folders of this machine. It does what needs a mounted file system.
const extlinuxInstall = `#!/bin/sh
PATH=/usr/sbin:/usr/bin:/sbin:/bin
mount -t proc proc /proc
mount -t tmpfs none /mnt
mknod /mnt/device b 98 %d
mkdir /mnt/root
mount -t ext4 /mnt/device /mnt/root && extlinux --install /mnt/root/boot/extlinux && umount /mnt/root && echo INSTALLED
exec halt -f
`

// extlinuxOn has extlinux install itself on a disk with ext4, or on its first partition.
func (w workshop) extlinuxOn(disk string, partition int) {
	w.Helper()
	script := w.write("install", fmt.Appendf(nil, extlinuxInstall, partition))
	if err := os.Chmod(script, 0o755); err != nil {
		w.Fatal(err)
	}
	cmd := exec.CommandContext(w.Context(), "linux.uml", "mem=128M", "ubda="+disk, "root=/dev/root", "rootfstype=hostfs", "rootflags=/", "ro",
		"uml_dir="+w.dir, "con=null", "con0=null,fd:1", "init="+script)
	cmd.Env = append(os.Environ(), "TMPDIR="+w.dir, "HOME="+w.dir)
	out, err := cmd.CombinedOutput()
	if !strings.Contains(string(out), "INSTALLED") {
		w.Fatalf("extlinux --install in user-mode-linux: %v\n%s", err, out)
	}
}

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
			disk, partition := w.disk(size), 0
			if offset > 0 {
				w.partitionTable(disk, w.read("/usr/lib/syslinux/mbr/mbr.bin"), 0x83, size-offset)
				partition = 1
			}
			// With small blocks mke2fs would leave a hole in the kernel, which extlinux does not read.
			w.run("mke2fs", "-q", "-t", "ext4", "-b", "4096", "-d", tree, "-E", fmt.Sprintf("offset=%d", offset), disk, fmt.Sprint((size-offset)/4096))
			w.extlinuxOn(disk, partition)
			w.boots(int13h.Config{Disk: openDisk(t, disk)},
				expected{kernel, someInitrd, "BOOT_IMAGE=/vmlinuz console=ttyS0 marker=by-extlinux initrd=/initrd.img"})
		})
	}
}
