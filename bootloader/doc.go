// Package bootloader starts what is on a boot LUN.
//
// It begins where the disk is in hand and ends when another program has the machine:
//
//	disk → Scan (partitions, file systems) → FindRoot (which of them is the root) → Mount → Handoff
//
// [Scan] and [FindRoot] read through an [io.ReaderAt], so they work on a block device of Linux and on a LUN that only a
// userspace initiator has open. [LogicalVolumes] adds those of LVM. They write nothing. A damaged or hostile disk costs an error, never a panic, and never more
// memory than a few partition tables.
//
// [FindRoot] follows the root= of a kernel command line ([ParseCommandLine]) or, without one, this rule: of the file systems
// that can hold a Linux root, the one that does hold an init; if several do, the one whose GPT type says "root for this
// architecture"; if that does not decide, an error that lists them all.
//
// A [Handoff] gives the machine away. [SwitchRoot] is the one for a Linux root: it checks first all that could make it fail,
// and only then moves the mounts, frees the memory of the initramfs and becomes the new system's init. For
// the LUN's own kernel there are packages below this one: files (reads file systems without a mount), entries (what boot loaders
// are configured to start), menu (lets a person choose) and kexec (a further Handoff).
//
// The partition tables and superblocks are read here and not by a library: what is needed is some hundred lines that run in
// every boot, it must number partitions exactly as Linux does (logical partitions included), and it must take any bytes.
package bootloader
