package int13h_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bootlun/bootlun/bootloader/int13h"
	"github.com/bootlun/bootlun/initramfs/rootfs"
)

// slow skips what takes many seconds with the race detector.
func slow(t testing.TB) {
	t.Helper()
	if os.Getenv("BOOTLUN_TEST_INT13H") == "" {
		t.Skip("SKIP: interprets hundreds of millions of instructions: make test-int13h")
	}
}

const grubVolumeConfig = `linux /vmlinuz console=ttyS0 marker=%s
initrd /initrd.img
boot
`

// grubTree is what a disk of GRUB's holds.
func (w workshop) grubTree(kernel []byte, config string) (dir string) {
	w.write("tree/vmlinuz", kernel)
	w.write("tree/initrd.img", someInitrd)
	w.write("tree/boot/grub/grub.cfg", []byte(config))
	return w.path("tree")
}

// grubOn installs GRUB in front of a volume, which lies in a file, and puts both on a disk.
func (w workshop) grubOn(volume, prefix string, modules ...string) string {
	w.Helper()
	content := w.read(volume)
	disk := w.disk(int64(len(content)) + mebibyte)
	w.partitionTable(disk, nil, 0x83, int64(len(content)))
	w.put(disk, content, mebibyte)
	f, err := os.OpenFile(disk, os.O_RDWR, 0)
	if err != nil {
		w.Fatal(err)
	}
	defer f.Close()
	modules = append(modules, "biosdisk", "part_msdos", "normal", "configfile", "linux")
	if err := rootfs.InstallGRUB(w.Context(), f, prefix, modules, nil); err != nil {
		w.Fatal(err)
	}
	return disk
}

// TestGRUBVolumes has GRUB read the file systems that distributions install on.
func TestGRUBVolumes(t *testing.T) {
	slow(t)
	const megabytes = 400
	for name, tt := range map[string]struct {
		programs []string
		modules  []string
		prefix   string
		make     func(w workshop, tree, volume string)
	}{
		"ext4": {[]string{"mke2fs"}, []string{"ext2"}, "(,msdos1)/boot/grub", func(w workshop, tree, volume string) {
			w.run("mke2fs", "-q", "-t", "ext4", "-d", tree, volume)
		}},
		"XFS": {[]string{"mkfs.xfs"}, []string{"xfs"}, "(,msdos1)/boot/grub", func(w workshop, tree, volume string) {
			w.run("mkfs.xfs", "-q", "-p", w.write("proto", []byte(strings.ReplaceAll(xfsTree, "TREE", tree))), volume)
		}},
		"btrfs": {[]string{"mkfs.btrfs"}, []string{"btrfs"}, "(,msdos1)/boot/grub", func(w workshop, tree, volume string) {
			w.run("mkfs.btrfs", "-q", "-r", tree, volume)
		}},
		"LVM": {[]string{"mke2fs", "linux.uml", "pvcreate"}, []string{"lvm", "ext2"}, "(lvm/disk-root)/boot/grub", func(w workshop, tree, volume string) {
			w.inLinux(volume, fmt.Sprintf(lvmVolume, tree))
		}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorkshop(t, append(tt.programs, "grub-mkimage")...)
			kernel := testKernel(t)
			tree := w.grubTree(kernel, fmt.Sprintf(grubVolumeConfig, "by-grub"))
			volume := w.write("volume", nil)
			if err := os.Truncate(volume, megabytes<<20); err != nil {
				t.Fatal(err)
			}
			tt.make(w, tree, volume)
			w.boots(int13h.Config{Disk: openDisk(t, w.grubOn(volume, tt.prefix, tt.modules...))},
				expected{kernel, someInitrd, "BOOT_IMAGE=/vmlinuz console=ttyS0 marker=by-grub"})
		})
	}
}

// xfsTree is a prototype for mkfs.xfs(8).
const xfsTree = `/dev/null
0 0
d--755 0 0
vmlinuz ---644 0 0 TREE/vmlinuz
initrd.img ---644 0 0 TREE/initrd.img
boot d--755 0 0
grub d--755 0 0
grub.cfg ---644 0 0 TREE/boot/grub/grub.cfg
$
$
$
`

// lvmVolume makes a physical volume with one logical one, which has the tree on
// ext4. There is no udev to ask.
const lvmVolume = `settings='devices { scan = ["/dev"] types = ["ubd", 1] obtain_device_list_from_udev = 0 use_devicesfile = 0 }
activation { udev_sync = 0 udev_rules = 0 } backup { backup = 0 archive = 0 }'
insmod /usr/lib/uml/modules/$(uname -r)/kernel/drivers/md/dm-mod.ko
pvcreate --config "$settings" /dev/ubda
vgcreate --config "$settings" disk /dev/ubda
lvcreate --config "$settings" --zero n --extents 100%%FREE --name root disk
mke2fs -q -t ext4 -d %s /dev/disk/root
vgchange --config "$settings" --activate n disk`

// TestChainLoading has GRUB on the first disk start the boot sector of the second.
func TestChainLoading(t *testing.T) {
	slow(t)
	second := newWorkshop(t, "syslinux", "mcopy", "mkfs.vfat", "/usr/lib/syslinux/mbr/mbr.bin")
	kernel := testKernel(t)
	other := second.fatDisk(kernel, mebibyte)
	w := newWorkshop(t, "mke2fs", "grub-mkimage")
	tree := w.grubTree(nil, "set root=(hd1)\nchainloader +1\nboot\n")
	volume := w.write("volume", nil)
	w.run("mke2fs", "-q", "-t", "ext4", "-d", tree, volume, "16M")
	first := w.grubOn(volume, "(,msdos1)/boot/grub", "ext2", "chain")
	w.boots(int13h.Config{Disk: openDisk(t, first), Others: []int13h.Disk{openDisk(t, other)}},
		expected{kernel, someInitrd, "BOOT_IMAGE=/vmlinuz initrd=/initrd.img console=ttyS0 marker=by-syslinux"})
}

// TestSaveEnv: what GRUB writes is on the disk, unless that is refused.
func TestSaveEnv(t *testing.T) {
	slow(t)
	w := newWorkshop(t, "mke2fs", "debugfs", "grub-mkimage", "grub-editenv")
	kernel := testKernel(t)
	tree := w.grubTree(kernel, "load_env\nset word=written-by-grub\nsave_env word\n"+fmt.Sprintf(grubVolumeConfig, "by-grub"))
	w.run("grub-editenv", filepath.Join(tree, "boot/grub/grubenv"), "create")
	volume := w.write("volume", nil)
	w.run("mke2fs", "-q", "-t", "ext4", "-d", tree, volume, "64M")
	disk := w.grubOn(volume, "(,msdos1)/boot/grub", "ext2", "loadenv")
	want := expected{kernel, someInitrd, "BOOT_IMAGE=/vmlinuz console=ttyS0 marker=by-grub"}
	for _, readOnly := range []bool{true, false} {
		w.boots(int13h.Config{Disk: openDisk(t, disk), ReadOnly: readOnly}, want)
		out, err := exec.CommandContext(t.Context(), "debugfs", "-R", "cat /boot/grub/grubenv", disk+"?offset=1048576").Output()
		if err != nil {
			t.Fatal(err)
		}
		if written := strings.Contains(string(out), "word=written-by-grub\n"); written == readOnly {
			t.Errorf("read-only %v: grubenv is %q", readOnly, out)
		}
	}
}
