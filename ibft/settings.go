package ibft

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
)

// Settings are what a DHCP lease, a kernel command line or a server's configuration says about a machine's disk.
type Settings struct {
	// RootPaths are the paths to the disk, each as ParseRootPath reads it, the preferred one first.
	RootPaths []string
	// InitiatorName is the machine's iSCSI name.
	InitiatorName string
	// Hostname is used when NIC has none.
	Hostname string
	// NIC is the interface that reaches the targets. Flags of 0 stand for valid, boot-selected and, unless its
	// address is link-local, global.
	NIC NIC
	// CHAPName and CHAPSecret let the machine prove itself; empty for no authentication.
	CHAPName   string
	CHAPSecret Secret
	// ReverseCHAPName and ReverseCHAPSecret let the target prove itself too.
	ReverseCHAPName   string
	ReverseCHAPSecret Secret
}

// Resolver returns the addresses of a host, the preferred one first.
type Resolver func(ctx context.Context, host string) ([]netip.Addr, error)

// Table makes the table that says the same: one NIC, and one target for each root path in their order, all of
// them boot-selected. A server that is an address is taken as it is; for a name, resolve is asked and its first
// address used. resolve may be nil when no server is a name.
func (s Settings) Table(ctx context.Context, resolve Resolver) (*Table, error) {
	if s.InitiatorName == "" {
		return nil, errors.New("settings: no initiator name (DHCP option 203 or the server's configuration gives it)")
	}
	if len(s.RootPaths) == 0 {
		return nil, errors.New("settings: no root path (DHCP option 17 or the server's configuration gives it)")
	}
	chap, err := s.chapType()
	if err != nil {
		return nil, err
	}
	t := &Table{
		OEMID:      "BOOTLN",
		OEMTableID: "bootlun",
		Initiator:  &Initiator{Flags: Valid | BootSelected, Name: s.InitiatorName},
		NICs:       []NIC{s.nic()},
	}
	for i, root := range s.RootPaths {
		if i > 0xff {
			return nil, fmt.Errorf("settings: %d root paths, a table holds at most 256", len(s.RootPaths))
		}
		target, err := targetOf(ctx, root, resolve)
		if err != nil {
			return nil, err
		}
		target.Index, target.NIC = uint8(i), s.NIC.Index
		target.CHAP = chap
		target.CHAPName, target.CHAPSecret = s.CHAPName, s.CHAPSecret
		target.ReverseCHAPName, target.ReverseCHAPSecret = s.ReverseCHAPName, s.ReverseCHAPSecret
		t.Targets = append(t.Targets, target)
	}
	return t, nil
}

func (s Settings) nic() NIC {
	nic := s.NIC
	if nic.Hostname == "" {
		nic.Hostname = s.Hostname
	}
	if nic.Flags == 0 {
		nic.Flags = Valid | BootSelected
		if nic.IP.IsValid() && !nic.IP.IsLinkLocalUnicast() {
			nic.Flags |= Global
		}
	}
	return nic
}

// chapType says which authentication the names and secrets amount to.
func (s Settings) chapType() (CHAPType, error) {
	oneWay, mutual := s.CHAPName != "", s.ReverseCHAPName != ""
	switch {
	case oneWay != (s.CHAPSecret != ""):
		return 0, errors.New("settings: CHAP wants both a name and a secret, only one is given")
	case mutual != (s.ReverseCHAPSecret != ""):
		return 0, errors.New("settings: reverse CHAP wants both a name and a secret, only one is given")
	case mutual && !oneWay:
		return 0, errors.New("settings: reverse CHAP wants the machine's own CHAP name and secret as well")
	case mutual:
		return CHAPMutual, nil
	case oneWay:
		return CHAPOneWay, nil
	}
	return CHAPNone, nil
}

func targetOf(ctx context.Context, root string, resolve Resolver) (Target, error) {
	path, err := ParseRootPath(root)
	if err != nil {
		return Target{}, err
	}
	addr, err := serverAddr(ctx, path.Server, resolve)
	if err != nil {
		return Target{}, fmt.Errorf("root path %q: %w", root, err)
	}
	return Target{Flags: Valid | BootSelected, IP: addr, Port: path.Port, LUN: path.LUN, Name: path.Target}, nil
}

func serverAddr(ctx context.Context, server string, resolve Resolver) (netip.Addr, error) {
	if server == "" {
		return netip.Addr{}, errors.New("no server: give the target's address, discovery services are not asked")
	}
	if addr, err := netip.ParseAddr(server); err == nil {
		return addr, nil
	}
	if resolve == nil {
		return netip.Addr{}, fmt.Errorf("server %q is a name and no resolver is at hand: use an address", server)
	}
	addrs, err := resolve(ctx, server)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("server %q: %w", server, err)
	}
	if len(addrs) == 0 {
		return netip.Addr{}, fmt.Errorf("server %q: the resolver knows no address", server)
	}
	return addrs[0], nil
}
