package initramfs

import (
	"slices"

	"github.com/bootlun/bootlun/initramfs/modules"
)

// DefaultInit is PID 1 of the image.
const DefaultInit = "github.com/bootlun/bootlun/cmd/bootlun-init"

// ourCommands go into the image's busybox, beside u-root's.
var ourCommands = [...]string{
	"github.com/bootlun/bootlun/cmd/ibft",
	"github.com/bootlun/bootlun/cmd/iscsi",
}

// rescueCommands are u-root's commands for whoever has to find out, at the
// console, why a machine does not boot.
var rescueCommands = [...]string{
	"gosh",
	"cat", "cp", "echo", "find", "grep", "head", "hexdump", "ln", "ls", "mkdir", "more", "rm", "tail",
	"ip", "netstat", "ping",
	"df", "insmod", "lsmod", "mount", "rmmod", "umount",
	"date", "dmesg", "free", "kill", "poweroff", "ps", "shutdown", "sleep", "uname",
}

// RescueCommands returns the import paths of the commands of the rescue shell.
func RescueCommands() []string {
	paths := make([]string, len(rescueCommands))
	for i, name := range rescueCommands {
		paths[i] = "github.com/u-root/u-root/cmds/core/" + name
	}
	return paths
}

// DefaultCommands returns the import paths of what goes into the image's
// busybox: our ibft and iscsi, and [RescueCommands].
func DefaultCommands() []string {
	return slices.Concat(ourCommands[:], RescueCommands())
}

// DefaultModules returns the modules of a machine that boots from iSCSI: the
// network cards that the kernel knows, iSCSI, disks and the file systems that a
// root is likely to have; and nothing else. Of linux-image-amd64 that is about
// 200 modules, of linux-image-cloud-amd64 about 60.
func DefaultModules() modules.Selection {
	return modules.Selection{
		Required: []string{"iscsi_tcp", "sd_mod"},
		Wanted: slices.Concat(
			[]string{"scsi_transport_iscsi", "libiscsi", "iscsi_ibft", "crc32c", "af_packet", "ipv6"},
			[]string{"virtio_pci", "virtio_mmio", "virtio_net", "virtio_blk", "virtio_scsi", "virtio_console", "virtio_rng"},
			[]string{"vmxnet3", "hv_netvsc", "xen_netfront", "xen_blkfront"},
			[]string{"bonding", "8021q"},
			[]string{"ext4", "xfs", "btrfs", "vfat", "nls_cp437", "nls_iso8859_1", "nls_ascii", "nls_utf8", "efivarfs"},
			[]string{"dm_mod", "dm_multipath", "dm_round_robin", "dm_service_time", "scsi_dh_alua"},
			[]string{"usbhid", "hid_generic", "xhci_pci", "ehci_pci", "uhci_hcd"},
		),
		Classes: []string{"drivers/net/ethernet"},
	}
}
