package boot

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"

	"github.com/bootlun/bootlun/ibft"
	"github.com/vishvananda/netlink"
)

// findTable finds the table of this boot. A root path on the command line goes
// before the firmware's table, and that before a DHCP lease.
func findTable(ctx context.Context, m *machine) (string, error) {
	var noTable error
	if m.cfg.Source == SourceTable || m.cfg.Source == SourceAuto && len(m.cfg.RootPaths) == 0 {
		source, err := m.firmwareTable()
		if err == nil {
			return "read from " + source, nil
		}
		if m.cfg.Source == SourceTable {
			return "", permanentError{err}
		}
		noTable = err
	}
	source, settings, err := m.settings(ctx)
	if err != nil {
		return "", errors.Join(noTable, err)
	}
	if m.table, err = settings.Table(ctx, m.resolver(&settings.NIC)); err != nil {
		err = fmt.Errorf("synthesise a table from %s: %w", source, err)
		if dns := new(net.DNSError); !errors.As(err, &dns) {
			err = permanentError{err}
		}
		return "", err
	}
	return "synthesised from " + source, nil
}

// firmwareTable takes the first table of this machine with a path to a LUN.
func (m *machine) firmwareTable() (source string, err error) {
	// Where one place cannot be searched, another may still have a table.
	found, searchErr := ibft.Find(ibft.FindOptions{})
	errs := []error{errors.New("this machine's firmware left no usable iBFT"), searchErr}
	for _, f := range found {
		switch {
		case f.Err != nil:
			errs = append(errs, fmt.Errorf("%s: %w", f.Source, f.Err))
		case len(f.Table.Paths()) == 0:
			errs = append(errs, fmt.Errorf("%s: no target is marked valid", f.Source))
		default:
			m.table = f.Table
			return f.Source, nil
		}
	}
	return "", errors.Join(errs...)
}

// settings gathers what the command line says, completed by a DHCP lease where
// it leaves the address or the root path open.
func (m *machine) settings(ctx context.Context) (source string, s ibft.Settings, err error) {
	if m.cfg.Source == SourceCmdline && len(m.cfg.RootPaths) == 0 {
		return "", s, permanentError{errors.New("bootlun.source=cmdline needs bootlun.rootpath=")}
	}
	link, err := m.bootLink(ctx)
	if err != nil {
		return "", s, err
	}
	if err := bringUp(ctx, link); err != nil {
		return "", s, err
	}
	source = "the command line"
	if m.cfg.Address.IsValid() {
		s.NIC = ibft.NIC{
			IP: m.cfg.Address.Addr(), PrefixLen: uint8(m.cfg.Address.Bits()),
			Gateway: m.cfg.Gateway, Origin: ibft.OriginManual,
		}
		copy(s.NIC.MAC[:], link.Attrs().HardwareAddr)
	} else {
		lease, err := m.requestLease(ctx, link)
		if err != nil {
			return "", s, err
		}
		if s, err = leaseSettings(lease, link.Attrs()); err != nil {
			return "", s, err
		}
		source = fmt.Sprintf("the lease of %s by %s", s.NIC.IP, s.NIC.DHCP)
	}
	// A NIC on no PCI bus is known by its MAC alone.
	s.NIC.PCI, _ = ibft.ParsePCIAddr(pciAddressOf(link.Attrs().Name))
	if len(m.cfg.RootPaths) > 0 && m.cfg.Source != SourceDHCP {
		s.RootPaths = m.cfg.RootPaths
	}
	if m.cfg.Initiator != "" {
		s.InitiatorName = m.cfg.Initiator
	}
	if s.InitiatorName == "" {
		s.InitiatorName = defaultInitiator(s.NIC.MAC)
	}
	if len(s.RootPaths) == 0 {
		return "", s, fmt.Errorf("%s has no root path (DHCP option 17)", source)
	}
	return source, s, nil
}

// bootLink is the interface that the boot loader used (BOOTIF=), or the first
// Ethernet interface with a carrier.
func (m *machine) bootLink(ctx context.Context) (netlink.Link, error) {
	if m.cfg.BootIF != nil {
		nic := ibft.NIC{}
		copy(nic.MAC[:], m.cfg.BootIF)
		return waitLink(ctx, &nic)
	}
	var chosen netlink.Link
	err := poll(ctx, func() (bool, error) {
		links, err := netlink.LinkList()
		if err != nil {
			return false, fmt.Errorf("list network interfaces: %w", err)
		}
		for _, l := range links {
			if l.Type() != "device" || l.Attrs().EncapType != "ether" {
				continue
			}
			if l.Attrs().Flags&net.FlagUp == 0 {
				if err := netlink.LinkSetUp(l); err != nil {
					m.log.Warn("set interface up", "interface", l.Attrs().Name, "error", err)
				}
			}
			if hasCarrier(l.Attrs()) {
				chosen = l
				return true, nil
			}
		}
		return false, nil
	})
	if err != nil {
		return nil, fmt.Errorf("no Ethernet interface has a carrier: %w", err)
	}
	return chosen, nil
}

// hasCarrier also takes a driver that does not tell its state but runs.
func hasCarrier(a *netlink.LinkAttrs) bool {
	return a.OperState == netlink.OperUp || a.OperState == netlink.OperUnknown && a.Flags&net.FlagRunning != 0
}

// resolver looks names up at the DNS servers that the settings name, once the
// network is up as they say.
func (m *machine) resolver(nic *ibft.NIC) func(context.Context, string) ([]netip.Addr, error) {
	return func(ctx context.Context, host string) ([]netip.Addr, error) {
		if _, err := m.configureNIC(ctx, nic); err != nil {
			return nil, err
		}
		return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	}
}

// defaultInitiator names a machine that nobody has named, the same on every
// boot.
func defaultInitiator(mac ibft.MAC) string {
	return "iqn.2026-11.org.bootlun:" + strings.ReplaceAll(mac.String(), ":", "-")
}
