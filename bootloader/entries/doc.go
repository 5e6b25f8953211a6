// Package entries reads what the boot loaders on a disk would offer to start.
//
//	volumes → Find (GRUB, systemd-boot, syslinux, plain kernels) → Menu → Entry.Load (kernel, initramfs, command line)
//
// [Find] gets the disk's volumes with their files as an fs.FS each, wherever those come from, and writes nothing. It runs
// grub.cfg with an interpreter of GRUB's script language, as far as the configurations that distributions generate go: variables,
// conditions, loops, functions, submenus, search by UUID, label and file, grubenv, and blscfg with its Boot Loader Specification
// entries. It reads systemd-boot's loader.conf, its Type 1 entries and its unified kernel images (Type 2), the configurations of
// syslinux, extlinux and isolinux, and, where there is none of those, kernels at their usual places.
//
// Start reading at find.go; grub.go is where the interpreter begins.
//
// # Limits
//
// An entry that starts something other than a Linux kernel, or Xen with one (chainloader, COM32), keeps its place in the menu, with an
// error that says so. GRUB's wildcards, passwords and commands for screens are passed over. Nothing is written: what GRUB would write
// to grubenv, and systemd-boot to EFI variables, is in Menu.Env and Entry.Env, for the caller to write; how a boot counter is counted down
// is in Entry.CountAs.
package entries
