package netboot

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/bootlun/bootlun/ibft"
)

// resolveTime is how long the servers of a machine's root paths may take to be looked up.
const resolveTime = 10 * time.Second

// openTable makes a machine's table, bare or as an early initial RAM disk.
func (s *Server) openTable(ctx context.Context, mac ibft.MAC, client netip.Addr, cpio bool) (*file, error) {
	ip, ok := s.addressOf(mac, client)
	m := s.machines.find(mac, ip)
	if err := s.mayHaveSecrets(m, client); err != nil {
		return nil, err
	}
	if len(m.RootPaths) == 0 || m.InitiatorName == "" {
		return nil, fmt.Errorf("%w: a table needs rootPaths and an initiatorName, which %s does not have", errNotFound, m.label())
	}
	if !ok {
		return nil, s.noAddress(m)
	}
	b, err := s.buildTable(ctx, m, ip)
	if err == nil && cpio {
		b, err = ibft.EarlyCPIO(b)
	}
	if err != nil {
		return nil, fmt.Errorf("table of %s: %w", m.label(), err)
	}
	return bytesFile(b), nil
}

func (s *Server) buildTable(ctx context.Context, m Machine, ip netip.Addr) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, resolveTime)
	defer cancel()
	table, err := m.settings(s.nic(m, ip)).Table(ctx, s.cfg.resolver())
	if err != nil {
		return nil, err
	}
	return table.Build(ibft.BuildOptions{})
}

// settings are what the configuration says of the machine's disk.
func (m Machine) settings(nic ibft.NIC) ibft.Settings {
	return ibft.Settings{
		RootPaths: m.RootPaths, InitiatorName: m.InitiatorName, Hostname: m.Name, NIC: nic,
		CHAPName: m.CHAPName, CHAPSecret: m.CHAPSecret,
		ReverseCHAPName: m.ReverseCHAPName, ReverseCHAPSecret: m.ReverseCHAPSecret,
	}
}

// nic is the machine's interface as its lease here says. The machine alone knows where it sits on the PCI bus.
func (s *Server) nic(m Machine, ip netip.Addr) ibft.NIC {
	d := s.cfg.DHCP
	nic := ibft.NIC{
		IP: ip, PrefixLen: uint8(d.Subnet.Bits()), Gateway: d.Router,
		Origin: ibft.OriginDHCP, DHCP: s.cfg.Addr.Addr(), MAC: m.MAC, Hostname: m.Name,
	}
	if !d.leases() {
		nic.DHCP = netip.Addr{} // Another server's, unknown here.
	}
	if len(d.DNS) > 0 {
		nic.PrimaryDNS = d.DNS[0]
	}
	if len(d.DNS) > 1 {
		nic.SecondaryDNS = d.DNS[1]
	}
	return nic
}
