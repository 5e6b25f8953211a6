package qemu

import (
	"net"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/bootlun/bootlun/internal/golden"
)

func TestArgs(t *testing.T) {
	for _, tt := range []struct {
		name string
		m    Machine
	}{
		{"zero", Machine{}},
		{"network", Machine{
			Name: "web,1", Memory: 512, CPUs: 2, Accel: KVM, NoReboot: true,
			NICs: []NIC{
				{LAN: "/tmp/lan.sock"},
				{LAN: "/tmp/a,b.sock", MAC: net.HardwareAddr{2, 0, 0, 0, 0, 1}, Model: "e1000", BootIndex: -1, ROM: RomNone},
				{ROM: "/roms/ipxe.rom", MTU: 9000, BootIndex: 7},
			},
			ACPITables: []string{"/tmp/ibft.bin", "/tmp/other,table.bin"},
			ExtraArgs:  []string{"-s"},
		}},
		{"disks", Machine{
			Accel: TCG, CPU: "max,-smap", Type: "q35", Firmware: "/usr/share/ovmf/OVMF.fd",
			NICs: []NIC{{}},
			Disks: []Disk{
				{Path: "/tmp/root.img", Snapshot: true},
				{Path: "/tmp/data,1.qcow2", Format: "qcow2", Model: "ide-hd", BootIndex: -1, ReadOnly: true},
			},
		}},
		{"uefi", Machine{Firmware: "/usr/share/OVMF/OVMF_CODE_4M.fd", FirmwareVars: "/tmp/vars,1.fd"}},
		{"direct", Machine{Kernel: "/boot/vmlinuz", Initrd: "/tmp/initrd,x", Append: "console=ttyS0 a=b,c", NICs: []NIC{{LAN: "/l"}}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := strings.Join(tt.m.Args(), "\n") + "\n"
			golden.Compare(t, filepath.Join("testdata", "args", tt.name), got)
		})
	}
}

func TestArgsDependOnNothing(t *testing.T) {
	m := Machine{NICs: []NIC{{}}, ExtraArgs: []string{"-s"}}
	if a, b := m.Args(), m.Args(); !slices.Equal(a, b) {
		t.Errorf("two calls differ:\n%q\n%q", a, b)
	}
}

func TestHasVirtualisation(t *testing.T) {
	for _, tt := range []struct {
		cpuinfo string
		want    bool
	}{
		{"processor\t: 0\nflags\t\t: fpu vmx sse\n", true},
		{"processor\t: 0\nflags\t\t: fpu svm\n", true},
		{"processor\t: 0\nflags\t\t: fpu svm_lock\nbugs\t\t: svm\n", false},
		{"", false},
	} {
		if got := hasVirtualisation([]byte(tt.cpuinfo)); got != tt.want {
			t.Errorf("hasVirtualisation(%q) = %t", tt.cpuinfo, got)
		}
	}
}
