package slp

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/bootlun/bootlun/iscsi"
)

const (
	disk   = "iqn.2026-01.org.bootlun:disk"
	second = "iqn.2026-01.org.bootlun:second"
	host1  = "iqn.2026-01.org.bootlun:host"
)

// serve runs an agent at loopback's address for the length of a test, and returns
// its port.
func serve(t *testing.T, a *Agent) uint16 {
	t.Helper()
	a.Addr = netip.MustParseAddr("127.0.0.1")
	s, err := Listen(t.Context(), a.Addr, freePort(t))
	if err != nil {
		t.Fatal(err)
	}
	port := s.Unicast.LocalAddr().(*net.UDPAddr).AddrPort().Port()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- a.Serve(ctx, s) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return port
}

func freePort(t *testing.T) uint16 {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).AddrPort().Port()
}

func at(host string, tag int) iscsi.TargetAddress {
	return iscsi.TargetAddress{Host: host, Port: 3260, Tag: tag}
}

// TestFind finds targets by multicast and by the agent's address.
func TestFind(t *testing.T) {
	a := &Agent{}
	a.Set([]Service{
		Target(disk, "a disk", at("127.0.0.1", 1)), Target(disk, "a disk", at("::1", 1)),
		Target(second, "", at("127.0.0.1", 2), host1),
	})
	port := serve(t, a)
	both := "[" + disk + " 127.0.0.1:3260 [::1]:3260] [" + second + " 127.0.0.1:3260]"
	for _, c := range []struct {
		what string
		q    Query
		want string
	}{
		{"all", Query{}, both},
		{"for its initiator", Query{Predicate: ForInitiator(host1)}, both},
		{"for another", Query{Predicate: ForInitiator("iqn.2026-01.org.bootlun:other")}, "[" + disk + " 127.0.0.1:3260 [::1]:3260]"},
		{"of one portal group", Query{Predicate: "(portal-group>=2)"}, "[" + second + " 127.0.0.1:3260]"},
	} {
		c.q.Port = port
		for _, agent := range []string{"", "127.0.0.1"} {
			c.q.Agent, c.q.Interface = agent, netip.MustParseAddr("127.0.0.1")
			if got := found(t, c.q); got != c.want {
				t.Errorf("%s (agent %q): %s\nwant %s", c.what, agent, got, c.want)
			}
		}
	}
	attributes, err := FindAttributes(t.Context(), fmt.Sprintf("127.0.0.1:%d", port), TargetType+"://127.0.0.1:3260/"+second)
	if names, _ := attributes.values("auth-name"); err != nil || len(names) != 1 || names[0] != host1 {
		t.Errorf("attributes %v, %v", attributes, err)
	}
}

func found(t *testing.T, q Query) string {
	t.Helper()
	records, err := FindTargets(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	var s string
	for i, r := range records {
		if i > 0 {
			s += " "
		}
		s += "[" + r.Name
		for _, a := range r.Addresses {
			s += " " + a.String()
		}
		s += "]"
	}
	return s
}

// TestMany has more targets than a datagram takes.
func TestMany(t *testing.T) {
	a := &Agent{}
	var services []Service
	for i := range 500 {
		services = append(services, Target(fmt.Sprintf("%s%d", disk, i), "", at("127.0.0.1", 1)))
	}
	a.Set(services)
	q := Query{Port: serve(t, a), Interface: netip.MustParseAddr("127.0.0.1"), Wait: time.Second}
	if records, err := FindTargets(t.Context(), q); err != nil || len(records) != 500 {
		t.Errorf("%d targets, %v; want 500", len(records), err)
	}
}
