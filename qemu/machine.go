package qemu

import (
	"bytes"
	"net"
	"os"

	"github.com/bootlun/bootlun/qemu/qmp"
)

// Accelerators that Machine.Accel takes.
const (
	KVM = "kvm" // Hardware virtualisation.
	TCG = "tcg" // Emulation.
)

// Machine describes a PC. It is a plain value: copy it and change a field to have another. Paths are given to QEMU as they
// are, so relative ones are relative to this process's directory.
type Machine struct {
	Name   string // What errors, logs and the process list call it; empty means "machine".
	Memory int    // In MiB; 0 means 1024.
	CPUs   int    // 0 means 1.

	// Accel is KVM or TCG; empty means what DetectAccel finds.
	Accel string
	// CPU is QEMU's CPU model, with its options; empty means all that the accelerator has ("max").
	CPU string
	// Type is QEMU's machine type; empty means "pc".
	Type string
	// Firmware is the file of a firmware for -bios, such as OVMF's; empty means QEMU's SeaBIOS.
	Firmware string
	// FirmwareVars, unless empty, is a flash memory in which Firmware, a flash memory then too, has its variables: the
	// other file of OVMF's two. The machine writes to it.
	FirmwareVars string
	// KeepPrompt leaves iPXE's "Press Ctrl-B" prompt its two seconds, for a user who wants iPXE's shell. Otherwise the
	// console answers it at once with a space, as an impatient user does.
	KeepPrompt bool
	// NoReboot has QEMU end where the machine would reset.
	NoReboot bool

	NICs  []NIC
	Disks []Disk

	// ACPITables are files with complete ACPI tables that the firmware hands on, such as an iBFT.
	ACPITables []string

	// Kernel, Initrd and Append boot a Linux kernel directly, with no boot loader and no network.
	Kernel, Initrd, Append string

	// ExtraArgs come last on QEMU's command line.
	ExtraArgs []string
	// Binary is the QEMU to run; empty means qemu-system-x86_64 from the PATH.
	Binary string

	// OnEvent, unless nil, gets each QMP event, from one goroutine. It must not wait for the VM.
	OnEvent func(qmp.Event)
}

// NIC is a network card. Unless Machine.Kernel is set, the firmware boots from the cards in their order, then from the
// disks in theirs, as BootIndex does not say otherwise.
type NIC struct {
	// MAC is its Ethernet address; empty means 52:54:00:12:34:56 for the machine's first card, :57 for its second, and so
	// on. Machines that share a LAN need addresses of their own.
	MAC net.HardwareAddr
	// LAN is the Unix socket of the LAN it is plugged into (lan.LAN.Socket). Empty means that no cable is plugged in.
	LAN string
	// Model is QEMU's device model; empty means virtio-net-pci.
	Model string
	// BootIndex is its place in the boot order, from 1; 0 means in order, and less than 0 that it is not booted from.
	BootIndex int
	// ROM is the file of its boot ROM; empty means the iPXE that QEMU brings. RomNone means none, which is also what a
	// machine with a Kernel has.
	ROM string
	// MTU, unless 0, is told to a virtio-net guest as the largest packet (host_mtu). The LAN's hosts should have the same.
	MTU int
}

// RomNone as a NIC's ROM leaves out the boot ROM.
const RomNone = "none"

// Disk is a disk of the machine, with a file of the host behind it.
type Disk struct {
	Path      string
	Format    string // As QEMU names it; empty means raw.
	Snapshot  bool   // The machine's writes go to a temporary file and are lost with it.
	ReadOnly  bool
	Model     string // QEMU's device model, such as ide-hd; empty means virtio-blk-pci.
	BootIndex int    // As NIC.BootIndex.
}

// DetectAccel is the best accelerator that works here: KVM where the processor has it and /dev/kvm opens, else TCG. The
// device alone proves nothing: inside a container or a virtual machine it may open and yet run no guest.
func DetectAccel() string {
	info, err := os.ReadFile("/proc/cpuinfo")
	if err != nil || !hasVirtualisation(info) {
		return TCG
	}
	f, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0)
	if err != nil {
		return TCG
	}
	f.Close()
	return KVM
}

// hasVirtualisation looks for the processor's flag: vmx with Intel, svm with AMD.
func hasVirtualisation(cpuinfo []byte) bool {
	for line := range bytes.Lines(cpuinfo) {
		if !bytes.HasPrefix(line, []byte("flags")) {
			continue
		}
		for flag := range bytes.FieldsSeq(line) {
			if string(flag) == "vmx" || string(flag) == "svm" {
				return true
			}
		}
		return false // Every processor has the same.
	}
	return false
}
