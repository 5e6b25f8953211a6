package slp

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"
)

// Service is something that can be found.
type Service struct {
	URL        string
	Type       string
	Attributes Attributes
}

// is reports whether the service is of a type, or of an abstract type that its
// concrete one belongs to (RFC 2608, 4.1).
func (s *Service) is(kind string) bool {
	kind, own := strings.ToLower(kind), strings.ToLower(s.Type)
	return own == kind || strings.HasPrefix(own, kind+":") && strings.Count(kind, ":") == 1
}

// Agent is a service agent. Its fields are set before Serve; it may then be used
// by several goroutines.
type Agent struct {
	// Addr is the address by which it is known: that of its unicast socket.
	Addr netip.Addr
	// Scopes are those of its services; none means DefaultScope.
	Scopes []string
	// Lifetime is how long registrations with directory agents last unless they are
	// renewed, which happens after half of it; 0 means one hour.
	Lifetime time.Duration
	// DirectoryAgents are addresses, HOST or HOST:PORT, of directory agents, beside
	// those that make themselves known.
	DirectoryAgents []string
	// Logger takes the agent's log; nil means none.
	Logger *slog.Logger

	mu       sync.Mutex
	services []Service
	changed  chan struct{} // closed when services change
}

// Set says which services there are from now on.
func (a *Agent) Set(services []Service) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.services = slices.Clone(services)
	if a.changed != nil {
		close(a.changed)
		a.changed = nil
	}
}

// current returns the services, and what is closed when there are others.
func (a *Agent) current() ([]Service, <-chan struct{}) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.changed == nil {
		a.changed = make(chan struct{})
	}
	return a.services, a.changed
}

func (a *Agent) scopes() []string {
	if len(a.Scopes) == 0 {
		return []string{DefaultScope}
	}
	return a.Scopes
}

func (a *Agent) log() *slog.Logger {
	if a.Logger == nil {
		return slog.New(slog.DiscardHandler)
	}
	return a.Logger
}

// Bounds of what peers may do by TCP.
const (
	maxConns    = 32
	connTimeout = 10 * time.Second
)

// Serve answers requests and keeps directory agents up to date, until ctx ends:
// that is no error, and takes the services away from the directory agents. It
// closes the sockets.
func (a *Agent) Serve(ctx context.Context, s Sockets) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(ctx, func() { s.Close() })()
	adverts := make(chan *DirectoryAgent, 16)
	failed := make(chan error, 3)
	var parts sync.WaitGroup
	part := func(f func() error) {
		parts.Go(func() {
			if err := f(); err != nil && ctx.Err() == nil {
				failed <- err
				cancel(err)
			}
		})
	}
	part(func() error { return a.servePackets(s.Unicast, adverts) })
	if s.Multicast != nil {
		part(func() error { return a.servePackets(s.Multicast, adverts) })
		a.lookForDirectories(s.Unicast)
	}
	part(func() error { return a.serveStreams(ctx, s.Stream) })
	d := &directories{agent: a, known: make(map[string]*directory)}
	parts.Go(func() { d.run(ctx, adverts) })
	parts.Wait()
	select {
	case err := <-failed:
		return err
	default:
		return nil
	}
}

// lookForDirectories asks directory agents to make themselves known; their answers
// come to the same socket (RFC 2608, 12.2.1).
func (a *Agent) lookForDirectories(pc net.PacketConn) {
	request := Message{Flags: FlagMulticast, XID: 1, Body: &ServiceRequest{Type: directoryType, Scopes: a.scopes()}}
	port := uint16(Port)
	if local, ok := pc.LocalAddr().(*net.UDPAddr); ok {
		port = local.AddrPort().Port()
	}
	if _, err := pc.WriteTo(request.Append(nil), net.UDPAddrFromAddrPort(group(a.Addr, port))); err != nil {
		a.log().Warn("SLP directory agents cannot be looked for", "error", err)
	}
}

func (a *Agent) servePackets(pc net.PacketConn, adverts chan<- *DirectoryAgent) error {
	buf := make([]byte, 1<<16)
	for {
		n, from, err := pc.ReadFrom(buf)
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return err
		}
		m, err := Parse(slices.Clone(buf[:n]))
		if err != nil {
			a.log().Debug("SLP datagram is not understood", "from", from, "error", err)
			continue
		}
		if advert, ok := m.Body.(*DirectoryAgent); ok {
			select {
			case adverts <- advert:
			default: // it is told again
			}
			continue
		}
		if answer := a.answer(m); answer != nil {
			if _, err := pc.WriteTo(datagram(answer), from); err != nil {
				a.log().Debug("SLP answer cannot be sent", "to", from, "error", err)
			}
		}
	}
}

// datagram encodes an answer for UDP: one that is too long is cut and says so.
func datagram(m *Message) []byte {
	b := m.Append(nil)
	if len(b) <= maxDatagram {
		return b
	}
	m.Flags |= FlagOverflow
	switch body := m.Body.(type) {
	case *ServiceReply:
		for len(b) > maxDatagram && len(body.URLs) > 0 {
			body.URLs = body.URLs[:len(body.URLs)/2]
			b = m.Append(nil)
		}
	case *AttributeReply:
		body.Attributes = ""
	case *TypeReply:
		body.Types = nil
	}
	return m.Append(nil)
}

func (a *Agent) serveStreams(ctx context.Context, l net.Listener) error {
	var conns sync.WaitGroup
	defer conns.Wait()
	places := make(chan struct{}, maxConns)
	for {
		nc, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return err
		}
		select {
		case places <- struct{}{}:
		default: // they ask again
			nc.Close()
			continue
		}
		conns.Go(func() {
			defer func() { <-places }()
			a.serveStream(ctx, nc)
		})
	}
}

// serveStream answers the requests of a connection.
func (a *Agent) serveStream(ctx context.Context, nc net.Conn) {
	defer nc.Close()
	defer context.AfterFunc(ctx, func() { nc.Close() })()
	for {
		_ = nc.SetDeadline(time.Now().Add(connTimeout)) // fails if it is closed, as what follows then does
		m, err := ReadMessage(nc)
		if err != nil {
			return
		}
		answer := a.answer(m)
		if answer == nil {
			return
		}
		if _, err := nc.Write(answer.Append(nil)); err != nil {
			return
		}
	}
}
