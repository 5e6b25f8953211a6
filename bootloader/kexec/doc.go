// Package kexec starts another Linux kernel, or Xen with one, in place of the running one, with an iBFT handed on.
//
//	CheckKernel, Inspect (whole? who made the initramfs?) → Complete (its command line) → Load (kexec_file_load, else kexec_load) → Loaded.Start
//
// The table travels as an early cpio before the initramfs: the next kernel installs it among its ACPI tables
// (CONFIG_ACPI_TABLE_UPGRADE), and the installed system's initramfs finds its root by it, if it is told to. [Complete] adds to the
// command line what it takes for that, and only that. For a kernel that is built without (TakesTables) the table can go into low
// memory, where a BIOS leaves it; that takes kexec_load, with segments that this package lays out (classic_linux.go).
//
// Xen, and whatever else starts a Linux kernel and is itself started by the Multiboot Specification, goes the same way ([Hypervisor]):
// multiboot.go reads its file, multibootinfo.go writes what it is told, multiboot_linux.go lays it out, and acpi.go makes the root of
// ACPI by which its first domain finds the table.
//
// # Limits
//
// A kernel that is locked down refuses tables from an initramfs, and kernels without a signature that it knows. kexec_load hands on
// no EFI services. A hypervisor gets nothing of EFI and no framebuffer. An initramfs packed by lz4, lzma, lzo or bzip2 is not looked into.
package kexec
