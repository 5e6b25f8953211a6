package boot

import (
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/bootlun/bootlun/ibft"
	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/vishvananda/netlink"
)

func device(name string, mac byte) netlink.Link {
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.EncapType, attrs.HardwareAddr = name, "ether", net.HardwareAddr{2, 0, 0, 0, 0, mac}
	return &netlink.Device{LinkAttrs: attrs}
}

func TestChooseLink(t *testing.T) {
	loopback := device("lo", 0)
	loopback.Attrs().EncapType = "loopback"
	one, two := device("eth0", 1), device("eth1", 2)
	pci := func(name string) string {
		return map[string]string{"eth0": "0000:00:03.0", "eth1": "0000:00:04.0"}[name]
	}
	const slot3, slot4 = ibft.PCIAddr(3 << 3), ibft.PCIAddr(4 << 3)
	tests := []struct {
		name  string
		links []netlink.Link
		nic   ibft.NIC
		want  netlink.Link
	}{
		{"by MAC", []netlink.Link{loopback, one, two}, ibft.NIC{MAC: ibft.MAC{2, 0, 0, 0, 0, 2}}, two},
		{"by PCI address", []netlink.Link{one, two}, ibft.NIC{PCI: slot4}, two},
		{"PCI address before MAC", []netlink.Link{one, two}, ibft.NIC{PCI: slot4, MAC: ibft.MAC{2, 0, 0, 0, 0, 1}}, two},
		{"MAC where the PCI address is another's", []netlink.Link{two}, ibft.NIC{PCI: slot3, MAC: ibft.MAC{2, 0, 0, 0, 0, 2}}, two},
		{"neither, only one", []netlink.Link{loopback, one}, ibft.NIC{}, one},
		{"neither, several", []netlink.Link{one, two}, ibft.NIC{}, nil},
		{"not there", []netlink.Link{loopback, one}, ibft.NIC{MAC: ibft.MAC{2, 0, 0, 0, 0, 9}}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := chooseLink(tt.links, &tt.nic, pci); got != tt.want {
				t.Errorf("chose %v, want %v", got, tt.want)
			}
		})
	}
}

func TestLeaseSettings(t *testing.T) {
	encapsulated := dhcpv4.Options{}
	encapsulated.Update(dhcpv4.OptGeneric(encapUsername, []byte("user")))
	encapsulated.Update(dhcpv4.OptGeneric(encapPassword, []byte("secret-of-12")))
	ack, err := dhcpv4.New(
		dhcpv4.WithYourIP(net.IPv4(10, 0, 0, 20)),
		dhcpv4.WithNetmask(net.CIDRMask(20, 32)),
		dhcpv4.WithRouter(net.IPv4(10, 0, 0, 1)),
		dhcpv4.WithDNS(net.IPv4(10, 0, 0, 2), net.IPv4(10, 0, 0, 3)),
		dhcpv4.WithServerIP(net.IPv4(10, 0, 0, 9)),
		dhcpv4.WithOption(dhcpv4.OptServerIdentifier(net.IPv4(10, 0, 0, 9))),
		dhcpv4.WithOption(dhcpv4.OptHostName("node1")),
		dhcpv4.WithOption(dhcpv4.OptRootPath("iscsi:a::::iqn.2026-11.example:a iscsi:b::::iqn.2026-11.example:b")),
		dhcpv4.WithGeneric(optionInitiatorName, []byte("iqn.2026-11.example:me\x00")),
		dhcpv4.WithGeneric(optionEncapsulated, encapsulated.ToBytes()),
	)
	if err != nil {
		t.Fatal(err)
	}
	got, err := leaseSettings(ack, device("eth0", 7).Attrs())
	if err != nil {
		t.Fatal(err)
	}
	want := ibft.Settings{
		RootPaths:     []string{"iscsi:a::::iqn.2026-11.example:a", "iscsi:b::::iqn.2026-11.example:b"},
		InitiatorName: "iqn.2026-11.example:me", Hostname: "node1",
		CHAPName: "user", CHAPSecret: "secret-of-12",
		NIC: ibft.NIC{
			IP: netip.MustParseAddr("10.0.0.20"), PrefixLen: 20, Origin: ibft.OriginDHCP,
			Gateway: netip.MustParseAddr("10.0.0.1"), DHCP: netip.MustParseAddr("10.0.0.9"),
			PrimaryDNS: netip.MustParseAddr("10.0.0.2"), SecondaryDNS: netip.MustParseAddr("10.0.0.3"),
			MAC: ibft.MAC{2, 0, 0, 0, 0, 7}, Hostname: "node1",
		},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if _, err := leaseSettings(&dhcpv4.DHCPv4{Options: dhcpv4.Options{}}, device("eth0", 7).Attrs()); err == nil {
		t.Error("a lease without an address was taken")
	}
}

func TestWriteResolvConf(t *testing.T) {
	path := filepath.Join(t.TempDir(), "resolv.conf")
	if err := writeResolvConf(path, netip.Addr{}); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("a file without name servers was written")
	}
	if err := writeResolvConf(path, netip.MustParseAddr("10.0.0.2"), netip.Addr{}, netip.MustParseAddr("fd00::2")); err != nil {
		t.Fatal(err)
	}
	got, _ := os.ReadFile(path)
	if want := "nameserver 10.0.0.2\nnameserver fd00::2\n"; string(got) != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
