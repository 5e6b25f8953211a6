package scenario_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
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
		Initiator: &ibft.Initiator{Flags: valid, Name: "iqn.2026-11.org.bootlun:machine", ISNS: addr("10.99.0.9"), SLP: addr("10.99.0.10"), PrimaryRADIUS: addr("10.99.0.11"), SecondaryRADIUS: addr("fd00::9")},
		NICs: []ibft.NIC{
			{
				Index: 0, Flags: valid, IP: addr("10.99.0.2"), PrefixLen: 22, Origin: ibft.OriginDHCP, Gateway: addr("10.99.0.1"),
				PrimaryDNS: addr("10.99.0.3"), SecondaryDNS: addr("10.99.0.4"), DHCP: addr("10.99.0.5"),
				MAC: ibft.MAC{2, 0, 0, 0, 0, 1}, Hostname: "crowded",
			},
			{
				Index: 1, Flags: valid | ibft.Global, IP: addr("fd00::2"), PrefixLen: 64, Origin: ibft.OriginManual, Gateway: addr("fd00::1"),
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

// writeCrowdedTable writes the crowded table's bytes to a file.
func writeCrowdedTable(t *testing.T) (file string, raw []byte) {
	t.Helper()
	raw, err := crowdedTable().Build(ibft.BuildOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return writeFile(t, "ibft.bin", raw), raw
}

func writeFile(t *testing.T, name string, content ...[]byte) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, slices.Concat(content...), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// A boot that cannot succeed ends in a shell, and there the kernel's view of a
// crowded table agrees, attribute by attribute, with what "ibft show" says of
// the bytes; however the kernel came by them.
func TestRescueShellAndTheKernelsViewOfATable(t *testing.T) {
	need(t, "qemu-system-x86_64", "apt-get")
	kernel, image, err := images(t).Netboot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	file, raw := writeCrowdedTable(t)
	machine := qemu.Machine{
		Name: "crowded", Kernel: kernel.Image, Initrd: image,
		Append: "console=ttyS0 quiet bootlun.source=table bootlun.timeout=5s",
	}
	t.Run("-acpitable", func(t *testing.T) {
		m := machine
		m.ACPITables = []string{file}
		compareKernelsView(t, m, ibft.SignatureIBFT)
	})
	t.Run("early cpio", func(t *testing.T) {
		early, err := ibft.EarlyCPIO(raw)
		if err != nil {
			t.Fatal(err)
		}
		rest, err := os.ReadFile(image)
		if err != nil {
			t.Fatal(err)
		}
		m := machine
		m.Initrd = writeFile(t, "initrd", early, rest)
		compareKernelsView(t, m, ibft.SignatureACPI)
	})
}

// compareKernelsView boots a machine that has the crowded table.
func compareKernelsView(t *testing.T, m qemu.Machine, signature ibft.Signature) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), timeout)
	defer cancel()
	vm, err := m.Start(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer vm.Stop()
	g := &guest{t: t, ctx: ctx, console: vm.Console, prompt: `^\$ `}
	g.expect(`bootlun: failed: network: .*02:00:00:00:00:01.*ibft show`)
	g.expect(g.prompt)
	if find := g.run("ibft find"); !slices.ContainsFunc(find, func(s string) bool { return strings.TrimSpace(s) == "agrees with the bytes" }) {
		t.Errorf("ibft find says:\n%s", strings.Join(find, "\n"))
	}
	shown := strings.Join(g.run("ibft show --json --reveal-secrets"), "\n")
	var says tableJSON
	if err := json.Unmarshal([]byte(shown), &says); err != nil {
		t.Fatalf("ibft show --json: %v:\n%s", err, shown)
	}
	if says.Signature != string(signature) {
		t.Errorf("the table's signature is %q, want %q", says.Signature, signature)
	}
	compareAttributes(t, attributes(g.run("grep -r . /sys/firmware/ibft")), says.attributes(t))
	g.send("poweroff")
	if err := vm.Wait(); err != nil {
		t.Errorf("poweroff in the rescue shell: %v", err)
	}
}

// attributes reads grep's lines of the files under /sys/firmware/ibft.
func attributes(lines []string) map[string]string {
	found := make(map[string]string)
	for _, line := range lines {
		if path, ok := strings.CutPrefix(line, "/sys/firmware/ibft/"); ok {
			name, value, _ := strings.Cut(path, ":")
			found[name] = strings.TrimRight(value, " \x00")
		}
	}
	return found
}

func compareAttributes(t *testing.T, got, want map[string]string) {
	t.Helper()
	for _, name := range slices.Sorted(maps.Keys(got)) {
		if _, ok := want[name]; !ok {
			t.Errorf("%s: the kernel says %q, the table nothing", name, got[name])
		}
	}
	for _, name := range slices.Sorted(maps.Keys(want)) {
		if value, ok := got[name]; !ok {
			t.Errorf("%s: the table says %q, the kernel nothing", name, want[name])
		} else if value != want[name] && want[name] != anyValue {
			t.Errorf("%s: the kernel says %q, the table %q", name, value, want[name])
		}
	}
	t.Logf("%d attributes compared", len(want))
}

// compareISCSIStart has Debian's iscsistart print what it makes of the crowded
// table, which must be the records that "ibft convert" makes of it.
func compareISCSIStart(g *guest) {
	g.t.Helper()
	// It wants the table's network cards to be there.
	g.run("modprobe iscsi_ibft && ip link add near address 02:00:00:00:00:01 type veth peer name far address 02:00:00:00:00:02")
	got := records(g.run("iscsistart -f"))
	export, err := crowdedTable().Export(ibft.FormatOpenISCSI, ibft.ExportOptions{RevealSecrets: true})
	if err != nil {
		g.t.Fatal(err)
	}
	want := records(strings.Split(string(export.Bytes), "\n"))
	if !slices.Equal(got, want) {
		g.t.Errorf("iscsistart -f prints:\n%s\nibft convert --to open-iscsi:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// records are open-iscsi's records in a text, sorted, as iscsistart's order is
// that of the kernel's directories. Left out is what is not the table's: the
// interface's name; and the mask that Linux computes from an IPv6 prefix.
// Linux spells IPv6 addresses with all their zeroes.
func records(lines []string) []string {
	var all []string
	var record strings.Builder
	v6 := false
	for _, line := range lines {
		key, value, _ := strings.Cut(line, " = ")
		if addr, err := netip.ParseAddr(value); err == nil {
			value = addr.String()
			v6 = v6 || key == "iface.ipaddress" && addr.Is6()
		}
		switch {
		case strings.HasPrefix(line, "# BEGIN"):
			record.Reset()
			v6 = false
		case strings.HasPrefix(line, "# END"):
			all = append(all, record.String())
		case strings.HasPrefix(line, "#"), key == "iface.net_ifacename", key == "iface.subnet_mask" && v6:
		default:
			fmt.Fprintf(&record, "%s = %s\n", key, value)
		}
	}
	slices.Sort(all)
	return all
}
