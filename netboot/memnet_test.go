package netboot

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"testing"
	"time"
)

// memNet is a network in memory: hosts that exchange datagrams and streams, without loss and in order. It works in a
// synctest bubble.
type memNet struct {
	mu        sync.Mutex
	nextPort  uint16
	packets   map[netip.AddrPort]*memPacketConn
	listeners map[netip.AddrPort]*memListener
	drop      func(packet []byte) bool // nil: none; called with mu held
}

func newMemNet() *memNet {
	return &memNet{
		nextPort:  40000,
		packets:   make(map[netip.AddrPort]*memPacketConn),
		listeners: make(map[netip.AddrPort]*memListener),
	}
}

// host returns the Network of a host with an address.
func (n *memNet) host(addr string) memHost { return memHost{n, netip.MustParseAddr(addr)} }

type memHost struct {
	net  *memNet
	addr netip.Addr
}

var (
	_ Network = memHost{}
	_ Network = (*net.ListenConfig)(nil)
)

// local is the address that the host has for "host:port" to listen at.
func (h memHost) local(address string) (netip.AddrPort, error) {
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return ap, err
	}
	if !ap.Addr().IsUnspecified() && ap.Addr() != h.addr {
		return ap, fmt.Errorf("%s is not an address of %s", address, h.addr)
	}
	if ap.Port() == 0 {
		h.net.nextPort++
		return netip.AddrPortFrom(h.addr, h.net.nextPort), nil
	}
	return netip.AddrPortFrom(h.addr, ap.Port()), nil
}

func (h memHost) ListenPacket(_ context.Context, _, address string) (net.PacketConn, error) {
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	local, err := h.local(address)
	if err != nil {
		return nil, err
	}
	if h.net.packets[local] != nil {
		return nil, fmt.Errorf("%s is in use", local)
	}
	c := &memPacketConn{net: h.net, local: local, queue: make(chan memPacket, 4096), closed: make(chan struct{})}
	h.net.packets[local] = c
	return c, nil
}

func (h memHost) Listen(_ context.Context, _, address string) (net.Listener, error) {
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	local, err := h.local(address)
	if err != nil {
		return nil, err
	}
	l := &memListener{net: h.net, local: local, queue: make(chan net.Conn), closed: make(chan struct{})}
	h.net.listeners[local] = l
	return l, nil
}

func (h memHost) DialContext(ctx context.Context, _, address string) (net.Conn, error) {
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return nil, err
	}
	h.net.mu.Lock()
	l := h.net.listeners[to]
	h.net.nextPort++
	from := netip.AddrPortFrom(h.addr, h.net.nextPort)
	h.net.mu.Unlock()
	if l == nil {
		return nil, fmt.Errorf("nobody listens at %s", to)
	}
	here, there := net.Pipe()
	select {
	case l.queue <- memConn{there, to, from}:
		return memConn{here, from, to}, nil
	case <-l.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

type memConn struct {
	net.Conn
	local, remote netip.AddrPort
}

func (c memConn) LocalAddr() net.Addr  { return net.TCPAddrFromAddrPort(c.local) }
func (c memConn) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(c.remote) }

type memListener struct {
	net    *memNet
	local  netip.AddrPort
	queue  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (l *memListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.queue:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *memListener) Close() error {
	l.once.Do(func() {
		close(l.closed)
		l.net.mu.Lock()
		defer l.net.mu.Unlock()
		delete(l.net.listeners, l.local)
	})
	return nil
}

func (l *memListener) Addr() net.Addr { return net.TCPAddrFromAddrPort(l.local) }

type memPacket struct {
	bytes []byte
	from  netip.AddrPort
}

type memPacketConn struct {
	net    *memNet
	local  netip.AddrPort
	queue  chan memPacket
	closed chan struct{}
	once   sync.Once

	mu       sync.Mutex
	deadline time.Time
}

func (c *memPacketConn) ReadFrom(b []byte) (int, net.Addr, error) {
	c.mu.Lock()
	deadline := c.deadline
	c.mu.Unlock()
	var expired <-chan time.Time
	if !deadline.IsZero() {
		timer := time.NewTimer(time.Until(deadline))
		defer timer.Stop()
		expired = timer.C
	}
	select {
	case p := <-c.queue:
		return copy(b, p.bytes), net.UDPAddrFromAddrPort(p.from), nil
	case <-c.closed:
		return 0, nil, net.ErrClosed
	case <-expired:
		return 0, nil, os.ErrDeadlineExceeded
	}
}

func (c *memPacketConn) WriteTo(b []byte, to net.Addr) (int, error) {
	select {
	case <-c.closed:
		return 0, net.ErrClosed
	default:
	}
	dst := addrPort(to)
	c.net.mu.Lock()
	defer c.net.mu.Unlock()
	if c.net.drop != nil && c.net.drop(b) {
		return len(b), nil
	}
	broadcast := dst.Addr() == netip.AddrFrom4([4]byte{255, 255, 255, 255})
	for local, other := range c.net.packets {
		if local == dst || broadcast && local.Port() == dst.Port() && other != c {
			select {
			case other.queue <- memPacket{append([]byte(nil), b...), c.local}:
			default: // Its buffer is full.
			}
		}
	}
	return len(b), nil
}

func (c *memPacketConn) Close() error {
	err := errors.New("closed twice")
	c.once.Do(func() {
		close(c.closed)
		c.net.mu.Lock()
		defer c.net.mu.Unlock()
		delete(c.net.packets, c.local)
		err = nil
	})
	return err
}

func (c *memPacketConn) LocalAddr() net.Addr { return net.UDPAddrFromAddrPort(c.local) }

func (c *memPacketConn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.deadline = t
	return nil
}

func (c *memPacketConn) SetDeadline(t time.Time) error      { return c.SetReadDeadline(t) }
func (c *memPacketConn) SetWriteDeadline(t time.Time) error { return nil }

// run serves until the test ends, and checks that the server ends well. It returns once the server is ready.
func run(t testing.TB, s *Server, network Network) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx, network) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	select {
	case <-s.Ready():
	case err := <-done:
		done <- nil
		t.Fatalf("Run: %v", err)
	}
}
