package netboot

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"golang.org/x/net/ipv6"
)

// Network is where a server's sockets come from: the operating system ([Config.HostNetwork], or a *net.ListenConfig)
// or a host on a userspace LAN. Addresses are "host:port" as for package net, networks "tcp4" and "udp4".
//
// A server asks for 0.0.0.0:67 (DHCP; it must receive and be able to send broadcasts), for its own address with the
// TFTP and the HTTP port, and for its own address with port 0 once for every TFTP transfer. A [SolicitationNetwork] lets
// machines with iPXE boot sooner.
type Network interface {
	Listen(ctx context.Context, network, address string) (net.Listener, error)
	ListenPacket(ctx context.Context, network, address string) (net.PacketConn, error)
}

// HostNetwork returns the operating system's network for this configuration. DHCP's socket is bound to Interface, or
// where that is empty to the interface that has Addr: a server on all interfaces would answer on networks that are
// not its own. Binding to an interface needs CAP_NET_RAW and, like the ports below 1024, is root's.
func (c Config) HostNetwork() (Network, error) {
	if c.DHCP.Disabled {
		return &net.ListenConfig{}, nil
	}
	name := c.Interface
	if name == "" {
		var err error
		if name, err = interfaceOf(c.Addr.Addr()); err != nil {
			return nil, err
		}
	}
	return hostNetwork{device: name}, nil
}

// hostNetwork binds DHCP's socket, and no other, to a network device: TFTP and HTTP may be asked through any.
type hostNetwork struct{ device string }

func (hostNetwork) Listen(ctx context.Context, network, address string) (net.Listener, error) {
	return new(net.ListenConfig).Listen(ctx, network, address)
}

func (n hostNetwork) ListenPacket(ctx context.Context, network, address string) (net.PacketConn, error) {
	var lc net.ListenConfig
	if address == dhcpListenAddress {
		lc.Control = bindToDevice(n.device)
	}
	return lc.ListenPacket(ctx, network, address)
}

// ListenSolicitations implements SolicitationNetwork.
func (n hostNetwork) ListenSolicitations(ctx context.Context) (net.PacketConn, error) {
	ifi, err := net.InterfaceByName(n.device)
	if err != nil {
		return nil, err
	}
	lc := net.ListenConfig{Control: bindToDevice(n.device)}
	conn, err := lc.ListenPacket(ctx, "ip6:ipv6-icmp", "::")
	if err != nil {
		return nil, err
	}
	var filter ipv6.ICMPFilter
	filter.SetAll(true)
	filter.Accept(ipv6.ICMPTypeRouterSolicitation)
	p := ipv6.NewPacketConn(conn)
	allRouters := &net.IPAddr{IP: net.IPv6linklocalallrouters}
	err = errors.Join(p.SetICMPFilter(&filter), p.SetHopLimit(255), p.JoinGroup(ifi, allRouters))
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("listen to IPv6 router solicitations on %s: %w", n.device, err)
	}
	return conn, nil
}

// interfaceOf returns the name of the interface that has an address.
func interfaceOf(addr netip.Addr) (string, error) {
	interfaces, err := net.Interfaces()
	if err != nil {
		return "", fmt.Errorf("netboot: list network interfaces: %w", err)
	}
	for _, ifi := range interfaces {
		addrs, err := ifi.Addrs()
		if err != nil {
			continue // It went away since; another may have the address.
		}
		for _, a := range addrs {
			if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr() == addr {
				return ifi.Name, nil
			}
		}
	}
	return "", fmt.Errorf("netboot: no network interface has addr %s: give it to one (ip addr add), or name the interface", addr)
}
