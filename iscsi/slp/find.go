package slp

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"time"
)

// DefaultScope is the scope of services that say nothing of one.
const DefaultScope = "DEFAULT"

// Query is what to look for, and where.
type Query struct {
	Type      string   // such as service:iscsi:target
	Predicate string   // an LDAP filter over attributes; empty matches all
	Scopes    []string // none means DefaultScope

	// Agent is a directory agent, or a service agent, to be asked: HOST or
	// HOST:PORT. Empty means all on the network, by multicast.
	Agent string
	// Interface is an address of this machine, on the network to which multicasts
	// go; of IPv6, a link-local one with its zone. The zero address leaves that to
	// the system, and is IPv4.
	Interface netip.Addr
	// Wait is how long answers to multicasts are awaited at most; 0 means 4 s. It
	// takes less when there are answers and no more come.
	Wait time.Duration
	// Port is the agents' port; 0 means [Port].
	Port uint16
}

const (
	defaultWait    = 4 * time.Second
	firstRound     = 250 * time.Millisecond
	maxDatagram    = 1400 // what is sent by UDP (RFC 2608, 8)
	maxResponders  = 64   // what a datagram has room for
	requestTimeout = 10 * time.Second
)

func (q Query) withDefaults() Query {
	if len(q.Scopes) == 0 {
		q.Scopes = []string{DefaultScope}
	}
	q.Wait, q.Port = cmp.Or(q.Wait, defaultWait), cmp.Or(q.Port, Port)
	return q
}

// Find looks for services. There being none is no error.
func Find(ctx context.Context, q Query) ([]URL, error) {
	q = q.withDefaults()
	request := &ServiceRequest{Type: q.Type, Scopes: q.Scopes, Predicate: q.Predicate}
	if q.Agent != "" {
		return ask(ctx, withPort(q.Agent, q.Port), request)
	}
	urls, err := multicast(ctx, q, request)
	if err != nil {
		return nil, fmt.Errorf("SLP multicast for %s: %w", q.Type, err)
	}
	return urls, nil
}

// ask puts a request to one agent by TCP.
func ask(ctx context.Context, agent string, request *ServiceRequest) ([]URL, error) {
	m, err := exchange(ctx, agent, 0, request)
	if err != nil {
		return nil, err
	}
	reply, ok := m.Body.(*ServiceReply)
	switch {
	case !ok:
		return nil, fmt.Errorf("SLP agent %s: %w: a request for services is answered by %T", agent, ErrBadMessage, m.Body)
	case reply.Code != CodeOK:
		return nil, fmt.Errorf("SLP agent %s: %w", agent, reply.Code)
	}
	return reply.URLs, nil
}

// FindAttributes asks an agent, HOST or HOST:PORT, for the attributes of a service.
func FindAttributes(ctx context.Context, agent, url string, scopes ...string) (Attributes, error) {
	if len(scopes) == 0 {
		scopes = []string{DefaultScope}
	}
	agent = withPort(agent, Port)
	m, err := exchange(ctx, agent, 0, &AttributeRequest{URL: url, Scopes: scopes})
	if err != nil {
		return nil, err
	}
	reply, ok := m.Body.(*AttributeReply)
	switch {
	case !ok:
		return nil, fmt.Errorf("SLP agent %s: %w: a request for attributes is answered by %T", agent, ErrBadMessage, m.Body)
	case reply.Code != CodeOK:
		return nil, fmt.Errorf("SLP agent %s: %w", agent, reply.Code)
	}
	return ParseAttributes(reply.Attributes)
}

// exchange sends an agent a request with flags by TCP and returns its answer.
func exchange(ctx context.Context, agent string, flags uint16, request Body) (answer *Message, err error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	nc, err := new(net.Dialer).DialContext(ctx, "tcp", agent)
	if err != nil {
		return nil, fmt.Errorf("SLP agent %s: %w", agent, err)
	}
	defer nc.Close()
	defer context.AfterFunc(ctx, func() { nc.Close() })()
	_, err = nc.Write((&Message{Flags: flags, XID: 1, Body: request}).Append(nil))
	if err == nil {
		answer, err = ReadMessage(nc)
	}
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	if err != nil {
		return nil, fmt.Errorf("SLP agent %s: %w", agent, err)
	}
	return answer, nil
}

// multicast asks all agents again and again, saying who has answered already,
// until no more do (RFC 2608, 6.3).
func multicast(ctx context.Context, q Query, request *ServiceRequest) ([]URL, error) {
	local := ":0"
	if q.Interface.IsValid() {
		local = netip.AddrPortFrom(q.Interface, 0).String()
	}
	pc, err := new(net.ListenConfig).ListenPacket(ctx, "udp", local)
	if err != nil {
		return nil, err
	}
	defer pc.Close()
	defer context.AfterFunc(ctx, func() { pc.Close() })()
	to := net.UDPAddrFromAddrPort(group(q.Interface, q.Port))
	r := &round{query: q, conn: pc, seen: make(map[string]bool)}
	end := time.Now().Add(q.Wait)
	for wait := firstRound; time.Now().Before(end); wait *= 2 {
		r.xid++
		request.Responders = r.responders
		m := Message{Flags: FlagMulticast, XID: r.xid, Body: request}
		if _, err := pc.WriteTo(m.Append(nil), to); err != nil {
			return nil, cmp.Or(ctx.Err(), err)
		}
		fresh, err := r.collect(ctx, time.Now().Add(wait))
		if err != nil {
			return nil, err
		}
		if !fresh && len(r.urls) > 0 || len(r.responders) >= maxResponders {
			break
		}
	}
	return r.urls, nil
}

// round gathers what answers to multicasts say.
type round struct {
	query      Query
	conn       net.PacketConn
	xid        uint16
	responders []string
	urls       []URL
	seen       map[string]bool // URLs
}

// collect takes answers until a time, and reports whether there was one of an
// agent that had not answered before.
func (r *round) collect(ctx context.Context, until time.Time) (fresh bool, err error) {
	if err := r.conn.SetReadDeadline(until); err != nil {
		return false, cmp.Or(ctx.Err(), err)
	}
	buf := make([]byte, 1<<16)
	for {
		n, from, err := r.conn.ReadFrom(buf)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return fresh, nil
		}
		if err != nil {
			return fresh, cmp.Or(ctx.Err(), err)
		}
		addr, ok := from.(*net.UDPAddr)
		m, err := Parse(slices.Clone(buf[:n]))
		if !ok || err != nil || m.XID == 0 || m.XID > r.xid { // somebody else's
			continue
		}
		responder := addr.AddrPort().Addr().Unmap().String()
		if slices.Contains(r.responders, responder) {
			continue
		}
		r.responders = append(r.responders, responder)
		fresh = true
		r.take(ctx, m, addr)
	}
}

// take keeps what an agent has answered. If it did not fit a datagram the agent is
// asked again by TCP.
func (r *round) take(ctx context.Context, m *Message, from *net.UDPAddr) {
	reply, ok := m.Body.(*ServiceReply)
	if !ok {
		return
	}
	urls := reply.URLs
	if m.Flags&FlagOverflow != 0 {
		request := &ServiceRequest{Type: r.query.Type, Scopes: r.query.Scopes, Predicate: r.query.Predicate}
		urls, _ = ask(ctx, from.String(), request) // an agent that fails is as one that is silent
	}
	for _, u := range urls {
		if !r.seen[u.URL] {
			r.seen[u.URL] = true
			r.urls = append(r.urls, u)
		}
	}
}
