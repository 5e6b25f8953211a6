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
		"LVM": {[]string{"mke2fs"}, []string{"lvm", "ext2"}, "(lvm/disk-root)/boot/grub", func(w workshop, tree, volume string) {
			w.run("mke2fs", "-q", "-t", "ext4", "-d", tree, volume, fmt.Sprint((megabytes-8)<<10))
			inside := w.read(volume)
			w.write(filepath.Base(volume), nil)
			w.put(volume, lvmVolume(megabytes, inside[:(megabytes-8)<<20]), 0)
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

// lvmVolume is a physical volume (LVM's text format) with one logical volume,
// disk/root, from its second extent of 4 MiB on.
func lvmVolume(megabytes int, inside []byte) []byte {
	const metadataAt, metadataSize, extent = 4096, 1<<20 - 4096, 4 << 20
	uuid := "bootlunbootlunbootlunbootlun0001"
	dashed := uuid[:6] + "-" + uuid[6:10] + "-" + uuid[10:14] + "-" + uuid[14:18] + "-" + uuid[18:22] + "-" + uuid[22:26] + "-" + uuid[26:]
	b := make([]byte, megabytes<<20)
	label := b[512:]
	copy(label, "LABELONE")
	label[8] = 1 // its sector
	le.PutUint32(label[20:], 32)
	copy(label[24:], "LVM2 001")
	copy(label[32:], uuid)
	le.PutUint64(label[64:], uint64(len(b)))
	le.PutUint64(label[72:], 1<<20) // data; a list that ends with zeroes
	le.PutUint64(label[104:], metadataAt)
	le.PutUint64(label[112:], metadataSize)
	text := fmt.Sprintf(lvmMetadata, dashed, len(b)/512, megabytes/4-1, len(inside)/extent)
	area := b[metadataAt:]
	copy(area[4:], " LVM2 x[5A%r0N*>")
	le.PutUint32(area[20:], 1)
	le.PutUint64(area[24:], metadataAt)
	le.PutUint64(area[32:], metadataSize)
	le.PutUint64(area[40:], 512)
	le.PutUint64(area[48:], uint64(len(text)+1))
	copy(area[512:], text)
	copy(b[1<<20+extent:], inside)
	return b
}

const lvmMetadata = `disk {
id = "bootlu-nboo-tlun-boot-lunb-ootl-un0000"
seqno = 1
status = ["RESIZEABLE", "READ", "WRITE"]
flags = []
extent_size = 8192
max_lv = 0
max_pv = 0
metadata_copies = 0

physical_volumes {

pv0 {
id = "%s"
device = "/dev/sda1"
status = ["ALLOCATABLE"]
flags = []
dev_size = %d
pe_start = 2048
pe_count = %d
}
}

logical_volumes {

root {
id = "bootlu-nboo-tlun-boot-lunb-ootl-un0002"
status = ["READ", "WRITE", "VISIBLE"]
flags = []
segment_count = 1

segment1 {
start_extent = 0
extent_count = %d

type = "striped"
stripe_count = 1

stripes = [
"pv0", 1
]
}
}
}
}
`

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
