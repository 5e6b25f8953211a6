package qemu

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
)

// File descriptors that QEMU inherits, after its standard three.
const (
	consoleFD = 3
	qmpFD     = 4
)

// Args is QEMU's command line, without the program's name. It depends on nothing but the machine: an empty Accel is TCG
// here. The serial console and QMP are sockets that QEMU inherits as file descriptors 3 and 4.
func (m Machine) Args() []string {
	args := []string{
		"-name", "guest=" + escape(m.name()),
		"-no-user-config", "-nodefaults", "-display", "none", "-vga", "none",
		// Without graphics SeaBIOS puts its screen, and so iPXE's, on the serial line.
		"-machine", cmp.Or(m.Type, "pc") + ",graphics=off",
	}
	args = append(args, m.accelArgs()...)
	args = append(args,
		"-smp", strconv.Itoa(cmp.Or(m.CPUs, 1)),
		"-m", strconv.Itoa(cmp.Or(m.Memory, 1024)),
		"-boot", "strict=on", // Only what has a boot index: nothing is tried that is not there.
		"-chardev", fmt.Sprintf("socket,id=console,fd=%d", consoleFD), "-serial", "chardev:console",
		"-chardev", fmt.Sprintf("socket,id=qmp,fd=%d", qmpFD), "-mon", "chardev=qmp,mode=control",
		"-device", "virtio-rng-pci", // A guest that waits for entropy would wait long.
	)
	args = append(args, m.firmwareArgs()...)
	if m.NoReboot {
		args = append(args, "-no-reboot")
	}
	for i, n := range m.NICs {
		args = append(args, n.args(i, m)...)
	}
	for i, d := range m.Disks {
		args = append(args, d.args(i, len(m.NICs))...)
	}
	for _, t := range m.ACPITables {
		args = append(args, "-acpitable", "file="+escape(t))
	}
	args = append(args, m.kernelArgs()...)
	return append(args, m.ExtraArgs...)
}

// virtioNet is the card that costs an emulated guest least.
const virtioNet = "virtio-net-pci"

func (m Machine) name() string   { return cmp.Or(m.Name, "machine") }
func (m Machine) binary() string { return cmp.Or(m.Binary, "qemu-system-x86_64") }

func (m Machine) kvm() bool { return m.Accel == KVM }

func (m Machine) accelArgs() []string {
	accel := "tcg,thread=multi"
	if m.kvm() {
		accel = "kvm"
	}
	return []string{"-accel", accel, "-cpu", cmp.Or(m.CPU, "max")}
}

func (m Machine) firmwareArgs() []string {
	switch {
	case m.FirmwareVars != "":
		const flash = "if=pflash,format=raw,file="
		return []string{"-drive", flash + escape(m.Firmware) + ",readonly=on", "-drive", flash + escape(m.FirmwareVars)}
	case m.Firmware != "":
		return []string{"-bios", m.Firmware}
	}
	return nil
}

func (m Machine) kernelArgs() []string {
	var args []string
	for _, o := range []struct{ option, value string }{{"-kernel", m.Kernel}, {"-initrd", m.Initrd}, {"-append", m.Append}} {
		if o.value != "" {
			args = append(args, o.option, o.value)
		}
	}
	return args
}

// args describes the card that is m's i-th, counted from 0.
func (n NIC) args(i int, m Machine) []string {
	id := fmt.Sprint("net", i)
	mac := cmp.Or(n.MAC.String(), fmt.Sprintf("52:54:00:12:34:%02x", 0x56+i))
	device := fmt.Sprintf("%s,id=%s,mac=%s", cmp.Or(n.Model, virtioNet), nicID(i), mac)
	if strings.HasPrefix(device, virtioNet) && !m.kvm() {
		// Handing a guest's notification to another thread pays only where that spares the processor a way out of the
		// guest. Emulated, iPXE downloads at twice the rate without.
		device += ",ioeventfd=off"
	}
	if n.MTU != 0 {
		device += fmt.Sprint(",host_mtu=", n.MTU)
	}
	switch {
	case n.ROM == RomNone || n.ROM == "" && m.Kernel != "":
		device += ",romfile="
	case n.ROM != "":
		device += ",romfile=" + escape(n.ROM)
	}
	device += bootIndex(n.BootIndex, i+1)
	if n.LAN == "" {
		return []string{"-device", device}
	}
	netdev := "stream,id=" + id + ",server=off,addr.type=unix,addr.path=" + escape(n.LAN)
	return []string{"-netdev", netdev, "-device", device + ",netdev=" + id}
}

// args describes the machine's i-th disk, counted from 0, after so many cards in the boot order.
func (d Disk) args(i, cards int) []string {
	id := fmt.Sprint("disk", i)
	drive := fmt.Sprintf("if=none,id=%s,format=%s,file=%s", id, cmp.Or(d.Format, "raw"), escape(d.Path))
	if d.Snapshot {
		drive += ",snapshot=on"
	}
	if d.ReadOnly {
		drive += ",readonly=on"
	}
	device := cmp.Or(d.Model, "virtio-blk-pci") + ",drive=" + id + bootIndex(d.BootIndex, cards+i+1)
	return []string{"-drive", drive, "-device", device}
}

// nicID is what QEMU calls the machine's i-th card.
func nicID(i int) string { return fmt.Sprint("nic", i) }

func bootIndex(wanted, inOrder int) string {
	if wanted < 0 {
		return ""
	}
	return fmt.Sprint(",bootindex=", cmp.Or(wanted, inOrder))
}

// escape makes a value safe inside an option of QEMU's, where a comma ends it.
func escape(s string) string { return strings.ReplaceAll(s, ",", ",,") }
