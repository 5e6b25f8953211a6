package rootfs

import "fmt"

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
	}
	if b.Autologin {
		tree = append(tree, text("etc/systemd/system/serial-getty@ttyS0.service.d/autologin.conf", autologin))
	}
	if b.SelfBooting {
		tree = append(tree,
			text("etc/iscsi/iscsi.initramfs", iscsiInitramfs),
			// So that fsck is on board, as on an installed system: where the image
			// is made, its file system's UUID leads to no device.
			text("etc/initramfs-tools/conf.d/root", "FSTYPE=ext4\n"),
			text("boot/grub/grub.cfg", fmt.Sprintf(grubConfig, b.id.filesystem)))
	}
	return tree
}

// Without this, pulling the plug within half a minute leaves the name half
// written, and iscsid refuses to start ever after.
const iscsidSync = `[Service]
ExecStartPre=/bin/sync /etc/iscsi/initiatorname.iscsi
`

const autologin = `[Service]
ExecStart=
ExecStart=-/sbin/agetty --autologin root --keep-baud 115200,57600,38400,9600 - $TERM
`

// Debian's initramfs takes iSCSI settings from this file; by iscsi_auto on the
// kernel's command line it goes by the iBFT instead.
const iscsiInitramfs = "# The kernel's command line says iscsi_auto: the settings are in the iBFT.\n"

// The links /vmlinuz and /initrd.img follow the newest kernel package.
const grubConfig = `serial --unit=0 --speed=115200
terminal_input serial console
terminal_output serial console
set timeout=0
menuentry "Debian" {
	linux /vmlinuz root=UUID=%s ro console=ttyS0,115200 iscsi_auto
	initrd /initrd.img
}
`
