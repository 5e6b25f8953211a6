package slp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
)

// Multicast addresses of all agents (RFC 2608, 6; RFC 3111, 2).
var (
	groupIPv4 = netip.MustParseAddr("239.255.255.253")
	groupIPv6 = netip.MustParseAddr("ff02::116")
)

// group is the multicast address and port for a local address, the zero one for
// IPv4 by the system's choice.
func group(local netip.Addr, port uint16) netip.AddrPort {
	if local.Is6() {
		return netip.AddrPortFrom(groupIPv6.WithZone(local.Zone()), port)
	}
	return netip.AddrPortFrom(groupIPv4, port)
}

// host writes an address as URLs and dialled addresses have it.
func host(a netip.Addr) string {
	if a.Is6() {
		return "[" + a.String() + "]"
	}
	return a.String()
}

// Sockets are what an [Agent] listens on.
type Sockets struct {
	Unicast   net.PacketConn // UDP; multicasts are sent by it, too
	Multicast net.PacketConn // UDP, a member of the group; nil: none
	Stream    net.Listener   // TCP
}

// Close closes the sockets that there are.
func (s Sockets) Close() error {
	var errs []error
	if s.Unicast != nil {
		errs = append(errs, s.Unicast.Close())
	}
	if s.Multicast != nil {
		errs = append(errs, s.Multicast.Close())
	}
	if s.Stream != nil {
		errs = append(errs, s.Stream.Close())
	}
	return errors.Join(errs...)
}

// Listen opens an agent's sockets at an address of this machine, and joins the
// group of all agents on the interface that has it. Port 0 means [Port], which only
// root may use, and one agent on a machine.
func Listen(ctx context.Context, addr netip.Addr, port uint16) (s Sockets, err error) {
	if port == 0 {
		port = Port
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("SLP at %s port %d: %w", addr, port, err), s.Close())
		}
	}()
	lc := net.ListenConfig{Control: reuse}
	at := netip.AddrPortFrom(addr, port).String()
	if s.Unicast, err = lc.ListenPacket(ctx, "udp", at); err != nil {
		return s, err
	}
	if s.Stream, err = lc.Listen(ctx, "tcp", at); err != nil {
		return s, err
	}
	ifi, err := interfaceOf(addr)
	if err != nil {
		return s, err
	}
	m, err := net.ListenMulticastUDP("udp", ifi, net.UDPAddrFromAddrPort(group(addr, port)))
	if err != nil {
		return s, err
	}
	s.Multicast = m
	return s, nil
}

// interfaceOf finds the interface that has an address.
func interfaceOf(addr netip.Addr) (*net.Interface, error) {
	all, err := net.Interfaces()
	if err != nil {
		return nil, err
	}
	for _, ifi := range all {
		addrs, _ := ifi.Addrs() // it may be gone
		for _, a := range addrs {
			if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr() == addr.WithZone("") && (addr.Zone() == "" || addr.Zone() == ifi.Name) {
				return &ifi, nil
			}
		}
	}
	return nil, fmt.Errorf("no interface has the address %s: it must be one that machines connect to", addr)
}

// withPort adds a port to an agent's address that has none.
func withPort(agent string, port uint16) string {
	if _, _, err := net.SplitHostPort(agent); err == nil {
		return agent
	}
	if a, err := netip.ParseAddr(agent); err == nil {
		return netip.AddrPortFrom(a, port).String()
	}
	return agent + ":" + strconv.Itoa(int(port))
}
