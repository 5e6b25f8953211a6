package lan

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"sync/atomic"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"
)

// resolve reads an address as package net writes it. Without a host in it, and without 4 or 6 in the network, the socket
// is one for both families. transport is tcp or udp.
func (h *Host) resolve(ctx context.Context, transport, network, address string) (tcpip.FullAddress, tcpip.NetworkProtocolNumber, error) {
	var none tcpip.FullAddress
	if h.closed.Load() {
		return none, 0, net.ErrClosed
	}
	if err := ctx.Err(); err != nil {
		return none, 0, err
	}
	if network != transport && network != transport+"4" && network != transport+"6" {
		return none, 0, net.UnknownNetworkError(network)
	}
	host, portText, err := net.SplitHostPort(address)
	if err != nil {
		return none, 0, err
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil {
		return none, 0, fmt.Errorf("port %q: want a number up to 65535", portText)
	}
	var ip netip.Addr
	if host != "" {
		if ip, err = netip.ParseAddr(host); err != nil {
			return none, 0, fmt.Errorf("host %q: want a numeric address, names are not looked up", host)
		}
		ip = ip.Unmap()
	}
	return fullAddress(network[len(transport):], ip, uint16(port))
}

// fullAddress is an address for netstack; family is "", "4" or "6".
func fullAddress(family string, ip netip.Addr, port uint16) (tcpip.FullAddress, tcpip.NetworkProtocolNumber, error) {
	if ip.Is4() && family == "6" || ip.Is6() && family == "4" {
		return tcpip.FullAddress{}, 0, fmt.Errorf("address %v is not of IPv%s", ip, family)
	}
	addr := tcpip.FullAddress{Port: port}
	if ip.IsValid() && !ip.IsUnspecified() {
		addr.Addr = tcpip.AddrFromSlice(ip.AsSlice())
	}
	if ip.Zone() != "" || ip.IsLinkLocalUnicast() {
		addr.NIC = cardID
	}
	if ip.Is4() || family == "4" {
		return addr, ipv4.ProtocolNumber, nil
	}
	return addr, ipv6.ProtocolNumber, nil // Takes IPv4 as well, where it is bound to no address.
}

// The types below are gonet's with the errors that package net's callers look for: net.ErrClosed after Close (the
// socket's or the LAN's) and os.ErrDeadlineExceeded after a deadline.

type listener struct {
	*gonet.TCPListener
	host   *Host
	closed atomic.Bool
}

// Accept waits for the next connection.
func (l *listener) Accept() (net.Conn, error) {
	c, err := l.TCPListener.Accept()
	if err != nil {
		return nil, l.host.netError(err, &l.closed)
	}
	return &conn{TCPConn: c.(*gonet.TCPConn), host: l.host}, nil
}

// Close ends the listener and an Accept under way.
func (l *listener) Close() error {
	if l.closed.Swap(true) {
		return net.ErrClosed
	}
	l.Shutdown()
	return l.TCPListener.Close()
}

type conn struct {
	*gonet.TCPConn
	host   *Host
	closed atomic.Bool
}

func (c *conn) Read(b []byte) (int, error) {
	n, err := c.TCPConn.Read(b)
	return n, c.host.netError(err, &c.closed)
}

func (c *conn) Write(b []byte) (int, error) {
	n, err := c.TCPConn.Write(b)
	return n, c.host.netError(err, &c.closed)
}

func (c *conn) Close() error {
	if c.closed.Swap(true) {
		return net.ErrClosed
	}
	return c.TCPConn.Close()
}

type packetConn struct {
	*gonet.UDPConn
	host   *Host
	closed atomic.Bool
}

func (c *packetConn) Read(b []byte) (int, error) {
	n, err := c.UDPConn.Read(b)
	return n, c.host.netError(err, &c.closed)
}

func (c *packetConn) ReadFrom(b []byte) (int, net.Addr, error) {
	n, a, err := c.UDPConn.ReadFrom(b)
	return n, a, c.host.netError(err, &c.closed)
}

// WriteTo sends one packet; addr is a *net.UDPAddr.
func (c *packetConn) WriteTo(b []byte, addr net.Addr) (int, error) {
	if _, ok := addr.(*net.UDPAddr); !ok {
		return 0, &net.AddrError{Err: "want a UDP address", Addr: fmt.Sprint(addr)}
	}
	n, err := c.UDPConn.WriteTo(b, addr)
	return n, c.host.netError(err, &c.closed)
}

func (c *packetConn) Close() error {
	if c.closed.Swap(true) {
		return net.ErrClosed
	}
	return c.UDPConn.Close()
}

// netError gives an error of gonet the identity that package net's would have.
func (h *Host) netError(err error, closed *atomic.Bool) error {
	var timeout interface{ Timeout() bool }
	switch {
	case err == nil:
		return nil
	case closed.Load() || h.closed.Load():
		return net.ErrClosed
	case errors.As(err, &timeout) && timeout.Timeout():
		return os.ErrDeadlineExceeded
	}
	return err
}
