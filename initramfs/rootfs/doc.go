// Package rootfs makes the disk images that a boot LUN serves.
//
// There are two kinds, both raw images with a GPT and one ext4 root file system
// as partition 1:
//
//   - [Tiny] is the project's own: u-root's commands and an init of a few
//     hundred lines (command tinyinit), written through go-diskfs. It needs Go,
//     this source tree and its modules; no privileges, no network, no other
//     program.
//   - [Debian] is a real Debian 12 by mmdebstrap. With [DebianConfig.SelfBooting]
//     it also boots from any BIOS disk, int 13h of iPXE among them: GRUB, the
//     distribution's kernel, its own initramfs with open-iscsi, by
//     initramfs-tools or by dracut. [BootFiles] takes the two out again.
//
// An image appears at its path whole or not at all. Beside it lies PATH.recipe
// with the key of the recipe that made it; [Fresh] tells whether an image at
// hand is the one a configuration would make, so that nobody waits for the same
// image twice.
//
// Start reading at tiny.go or debian.go; disk.go has what the two share.
package rootfs
