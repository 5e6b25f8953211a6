// Package int13h runs a disk's own boot sector and catches the kernel that it
// loads: for LUNs whose only way in is a BIOS boot loader, on machines without a
// BIOS, or with one that knows no iSCSI.
//
// [Boot] makes a PC in memory: the processor of package x86, the BIOS services
// that boot loaders call, the ports that they touch. Int 13h reads and writes a
// [Disk], such as an initiator's LUN. The loader finds its files, shows its menu,
// takes keys. When it jumps to a kernel, Boot takes kernel, initramfs and command
// line out of the machine's memory and returns them as a [Handoff].
//
// Start reading at machine.go. firmware.go is what lies in memory, disk.go and
// edd.go are int 13h, eltorito.go how CD-ROMs boot, video.go, keyboard.go and
// system.go the other services, ports.go, serial.go and timer.go the devices,
// handoff.go and multiboot.go how a kernel is recognised.
//
// Interrupt vectors point into read-only memory, where an instruction that no
// processor has calls Go; the service reads and changes the caller's registers,
// and the flags where the interrupt has pushed them. Services run in no time.
// Time is counted in instructions, and waiting moves it forward, so that a run is
// the same everywhere; [Config.Interactive] gives it the clock on the wall.
//
// # Limits
//
// There is no graphics and no PCI BIOS; a CD-ROM's boot image must not pretend to
// be a floppy or a hard disk. What is no Linux is caught if it starts by multiboot,
// and else named when it has failed. What the processor lacks is said in package
// x86.
//
// A kernel caught at its 32-bit entry has in its setup the header alone, since
// that is all the loader keeps; in the header, the fields that a loader fills in
// are as in an unloaded kernel (root device and heap end zero or as left). A
// signature behind the kernel's code is not part of it; [Handoff.LoadedFrom] knows
// the file that has it.
package int13h
