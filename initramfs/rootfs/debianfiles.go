package rootfs

import (
	"fmt"
	"maps"
	"slices"
)

// tree is what our image has besides its packages.
func (b *debianBuild) tree() []entry {
	tree := []entry{
		text("etc/fstab", fmt.Sprintf("UUID=%s / ext4 rw,relatime,errors=remount-ro 0 1\n", b.id.filesystem)),
		text("etc/hostname", b.Hostname+"\n"),
		text("etc/hosts", hosts(b.Hostname)),
		// The package would give all copies of this image the same name. This way
		// each machine makes one up when iscsid first starts.
		text("etc/iscsi/initiatorname.iscsi", "GenerateName=yes\n"),
		text("etc/systemd/system/iscsid.service.d/sync.conf", iscsidSync),
		text("etc/systemd/system.conf.d/patience.conf", patience),
	}
	for _, path := range slices.Sorted(maps.Keys(b.Files)) {
		tree = append(tree, text(path, b.Files[path]))
	}
	if b.Autologin {
		tree = append(tree, text("etc/systemd/system/serial-getty@ttyS0.service.d/autologin.conf", autologin))
	}
	if !b.SelfBooting && !b.Source {
		return tree
	}
	if b.XenHost {
		return append(tree,
			text("boot/grub/grub.cfg", fmt.Sprintf(grubXenConfig, b.id.filesystem)),
			// With every module of the full kernel it would be five times as large.
			text("etc/initramfs-tools/conf.d/modules", "MODULES=list\n"),
			text("etc/initramfs-tools/modules", "virtio_pci\nvirtio_blk\next4\n"))
	}
	if b.SelfBooting {
		tree = append(tree, text("boot/grub/grub.cfg", fmt.Sprintf(grubConfig, b.id.filesystem, b.byTable())))
	}
	if b.Dracut {
		return append(tree, text("etc/dracut.conf.d/bootlun.conf", dracutConfig))
	}
	tree = append(tree, text("etc/iscsi/iscsi.initramfs", iscsiInitramfs))
	if b.Source {
		return tree
	}
	return append(tree,
		// So that fsck is on board, as on an installed system: where the image
		// is made, its file system's UUID leads to no device.
		text("etc/initramfs-tools/conf.d/root", "FSTYPE=ext4\n"))
}

// byTable is the kernel argument by which the image's initramfs goes by the
// iBFT.
func (b *debianBuild) byTable() string {
	if b.Dracut {
		return "rd.iscsi.firmware=1 ip=ibft"
	}
	return "iscsi_auto"
}

// Without this, pulling the plug within half a minute leaves the name half
// written, and iscsid refuses to start ever after.
const iscsidSync = `[Service]
ExecStartPre=/bin/sync /etc/iscsi/initiatorname.iscsi
`

// On an emulated machine whose host is busy, udev may take longer than systemd's
// 90 s to tell of the console, which then has no login.
const patience = `[Manager]
DefaultDeviceTimeoutSec=10min
DefaultTimeoutStartSec=10min
`

const autologin = `[Service]
ExecStart=
ExecStart=-/sbin/agetty --autologin root --keep-baud 115200,57600,38400,9600 - $TERM
`

// Debian's initramfs takes iSCSI settings from this file; by iscsi_auto on the
// kernel's command line it goes by the iBFT instead.
const iscsiInitramfs = "# The kernel's command line says iscsi_auto: the settings are in the iBFT.\n"

// Where the image is made there is no iSCSI root to be seen, nor the machine
// that will have one. Of dracut's ways to set up a network the image has two,
// and only the one that is not systemd-networkd knows ip=ibft. dracut leaves
// out what Debian's iscsid.service runs first.
const dracutConfig = `hostonly=no
add_dracutmodules+=" network-legacy iscsi "
install_items+=" /lib/open-iscsi/startup-checks.sh /usr/bin/grep /usr/bin/chmod "
`

// The links /vmlinuz and /initrd.img follow the newest kernel package.
const grubConfig = `serial --unit=0 --speed=115200
terminal_input serial console
terminal_output serial console
set timeout=0
menuentry "Debian" {
	linux /vmlinuz root=UUID=%s ro console=ttyS0,115200 %s
	initrd /initrd.img
}
`

// GRUB's wildcard stands for the version in the name of Xen's file: there is one.
const grubXenConfig = `serial --unit=0 --speed=115200
terminal_input serial console
terminal_output serial console
set timeout=0
menuentry "Debian on Xen" {
	for xen in /boot/xen-*.gz; do
		multiboot2 $xen dom0_mem=1024M,max:1024M dom0_max_vcpus=1 com1=115200,8n1 console=com1
	done
	module2 /vmlinuz root=UUID=%s rw console=hvc0 quiet init=/bin/sh
	module2 /initrd.img
}
`
