package boot

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/bootlun/bootlun/ibft"
	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/dhcpv4/nclient4"
	"github.com/vishvananda/netlink"
)

// VendorClass is what our DHCP requests say in option 60, so that a server can
// answer firmware (which must not attach the LUN itself) and us differently.
const VendorClass = "bootlun"

// DHCP options beyond RFC 2132 that carry iSCSI settings, as iPXE uses them.
const (
	optionInitiatorName = dhcpv4.GenericOptionCode(203)
	optionEncapsulated  = dhcpv4.GenericOptionCode(175)

	encapUsername        = dhcpv4.GenericOptionCode(190)
	encapPassword        = dhcpv4.GenericOptionCode(191)
	encapReverseUsername = dhcpv4.GenericOptionCode(192)
	encapReversePassword = dhcpv4.GenericOptionCode(193)
)

// requestLease asks for an address and boot settings on one interface. The
// link must be up. It retries until ctx ends.
func (m *machine) requestLease(ctx context.Context, link netlink.Link) (*dhcpv4.DHCPv4, error) {
	ifname := link.Attrs().Name
	client, err := nclient4.New(ifname, nclient4.WithRetry(1<<10))
	if err != nil {
		return nil, fmt.Errorf("DHCP on %s: open a packet socket (needs module af_packet): %w", ifname, err)
	}
	defer client.Close()
	lease, err := client.Request(ctx,
		dhcpv4.WithOption(dhcpv4.OptClassIdentifier(VendorClass)),
		dhcpv4.WithRequestedOptions(
			dhcpv4.OptionSubnetMask, dhcpv4.OptionRouter, dhcpv4.OptionDomainNameServer, dhcpv4.OptionHostName,
			dhcpv4.OptionRootPath, dhcpv4.OptionVendorSpecificInformation, dhcpv4.OptionServerIdentifier,
			optionInitiatorName, optionEncapsulated,
		))
	if err != nil {
		return nil, fmt.Errorf("DHCP on %s: no answer; is a server on this network? %w", ifname, err)
	}
	m.noteLease(keptLease{IfIndex: link.Attrs().Index, ACK: lease.ACK.ToBytes()})
	return lease.ACK, nil
}

// noteLease has the keeper renew a lease, in place of an older one of the same interface.
func (m *machine) noteLease(l keptLease) {
	m.leases = slices.DeleteFunc(m.leases, func(old keptLease) bool { return old.IfIndex == l.IfIndex })
	m.leases = append(m.leases, l)
}

// leaseAddress fills in what the table leaves to DHCP.
func (m *machine) leaseAddress(ctx context.Context, link netlink.Link, nic *ibft.NIC) error {
	ack, err := m.requestLease(ctx, link)
	if err != nil {
		return err
	}
	s, err := leaseSettings(ack, link.Attrs())
	if err != nil {
		return err
	}
	nic.IP, nic.PrefixLen, nic.Gateway = s.NIC.IP, s.NIC.PrefixLen, s.NIC.Gateway
	nic.PrimaryDNS, nic.SecondaryDNS, nic.DHCP = s.NIC.PrimaryDNS, s.NIC.SecondaryDNS, s.NIC.DHCP
	return nil
}

// leaseSettings are a lease's boot settings on the interface with attributes
// attrs (RFC 2132 options, RFC 4173 root path, iPXE's encapsulated options).
func leaseSettings(ack *dhcpv4.DHCPv4, attrs *netlink.LinkAttrs) (ibft.Settings, error) {
	nic := ibft.NIC{Origin: ibft.OriginDHCP, Hostname: ack.HostName()}
	copy(nic.MAC[:], attrs.HardwareAddr)
	nic.IP = addrOf(ack.YourIPAddr)
	if !nic.IP.IsValid() {
		return ibft.Settings{}, errors.New("DHCP: the lease has no address")
	}
	ones, _ := ack.SubnetMask().Size()
	if ones == 0 {
		ones = 32
	}
	nic.PrefixLen = uint8(ones)
	nic.Gateway = firstAddr(ack.Router())
	nic.DHCP = addrOf(ack.ServerIdentifier())
	if dns := ack.DNS(); len(dns) > 0 {
		nic.PrimaryDNS = addrOf(dns[0])
		if len(dns) > 1 {
			nic.SecondaryDNS = addrOf(dns[1])
		}
	}
	s := ibft.Settings{
		RootPaths:     strings.Fields(ack.RootPath()),
		InitiatorName: optionText(ack.Options, optionInitiatorName),
		Hostname:      ack.HostName(),
		NIC:           nic,
	}
	encapsulated := ipxeOptions(ack)
	s.CHAPName = optionText(encapsulated, encapUsername)
	s.CHAPSecret = ibft.Secret(optionText(encapsulated, encapPassword))
	s.ReverseCHAPName = optionText(encapsulated, encapReverseUsername)
	s.ReverseCHAPSecret = ibft.Secret(optionText(encapsulated, encapReversePassword))
	return s, nil
}

// ipxeOptions decodes option 175, which holds options of its own.
func ipxeOptions(ack *dhcpv4.DHCPv4) dhcpv4.Options {
	encapsulated := make(dhcpv4.Options)
	if err := encapsulated.FromBytes(ack.Options.Get(optionEncapsulated)); err != nil {
		return nil
	}
	return encapsulated
}

func optionText(o dhcpv4.Options, code dhcpv4.OptionCode) string {
	return strings.TrimRight(string(o.Get(code)), "\x00")
}

func addrOf(ip net.IP) netip.Addr {
	a, ok := netip.AddrFromSlice(ip.To4())
	if !ok || a == netip.IPv4Unspecified() {
		return netip.Addr{}
	}
	return a
}

func firstAddr(ips []net.IP) netip.Addr {
	if len(ips) == 0 {
		return netip.Addr{}
	}
	return addrOf(ips[0])
}
