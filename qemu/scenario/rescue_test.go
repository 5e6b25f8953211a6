package scenario_test

import (
	"context"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/bootlun/bootlun/ibft"
	"github.com/bootlun/bootlun/qemu"
)

// crowdedTable has more than boot firmware writes: two NICs, one of them IPv6
// on a VLAN, and four paths, one of them with mutual CHAP.
func crowdedTable() *ibft.Table {
	const valid = ibft.Valid | ibft.BootSelected
	addr := netip.MustParseAddr
	target := func(index, nic uint8, ip string, lun uint16) ibft.Target {
		return ibft.Target{
			Index: index, Flags: valid, IP: addr(ip), Port: 3260 + uint16(index), LUN: ibft.NewLUN(lun), NIC: nic,
			Name: "iqn.2026-11.org.bootlun:crowd",
		}
	}
	t := &ibft.Table{
		OEMID: "BOOTLN", OEMTableID: "crowded",
		Initiator: &ibft.Initiator{Flags: valid, Name: "iqn.2026-11.org.bootlun:machine", ISNS: addr("10.99.0.9")},
		NICs: []ibft.NIC{
			{
				Index: 0, Flags: valid, IP: addr("10.99.0.2"), PrefixLen: 22, Origin: ibft.OriginDHCP, Gateway: addr("10.99.0.1"),
				PrimaryDNS: addr("10.99.0.3"), SecondaryDNS: addr("10.99.0.4"), DHCP: addr("10.99.0.5"),
				MAC: ibft.MAC{2, 0, 0, 0, 0, 1}, Hostname: "crowded",
			},
			{
				Index: 1, Flags: valid, IP: addr("fd00::2"), PrefixLen: 64, Origin: ibft.OriginManual, Gateway: addr("fd00::1"),
				VLAN: 42, MAC: ibft.MAC{2, 0, 0, 0, 0, 2},
			},
		},
		Targets: []ibft.Target{
			target(0, 0, "10.99.1.1", 0), target(1, 0, "10.99.1.2", 1), target(2, 1, "fd00::11", 2), target(3, 1, "fd00::12", 255),
		},
	}
	mutual := &t.Targets[1]
	mutual.CHAP = ibft.CHAPMutual
	mutual.CHAPName, mutual.CHAPSecret = "machine", "secret-of-machine"
	mutual.ReverseCHAPName, mutual.ReverseCHAPSecret = "target", "secret-of-target"
	return t
}

// A boot that cannot succeed ends in a shell, and there the kernel's view of a
// crowded table agrees with the bytes that we built.
func TestRescueShellAndTheKernelsViewOfATable(t *testing.T) {
	need(t, "qemu-system-x86_64", "apt-get")
	kernel, image, err := images(t).Netboot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	raw, err := crowdedTable().Build(ibft.BuildOptions{})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "ibft.bin")
	if err := os.WriteFile(file, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), timeout)
	defer cancel()
	vm, err := qemu.Machine{
		Name: "crowded", Kernel: kernel.Image, Initrd: image, ACPITables: []string{file},
		Append: "console=ttyS0 quiet bootlun.source=table bootlun.timeout=5s",
	}.Start(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer vm.Stop()
	see := func(pattern string) {
		t.Helper()
		if _, err := vm.Console.Expect(ctx, regexp.MustCompile(pattern)); err != nil {
			t.Fatal(err)
		}
	}
	typed := func(line string) {
		t.Helper()
		if err := vm.Console.Send(line + "\r"); err != nil {
			t.Fatal(err)
		}
	}
	see(`bootlun: failed: network: .*02:00:00:00:00:01.*ibft show`)
	see(`^\$ `)
	typed("ibft find && echo find-says-$?")
	see(`^ *agrees with the bytes`)
	see(`^find-says-0`)
	typed("poweroff")
	if err := vm.Wait(); err != nil {
		t.Errorf("poweroff in the rescue shell: %v", err)
	}
}
