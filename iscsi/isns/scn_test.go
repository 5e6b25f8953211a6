package isns_test

import (
	"context"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/bootlun/bootlun/internal/peers"
	"github.com/bootlun/bootlun/iscsi/isns"
)

// events serves an event port for the length of a test.
func events(t *testing.T) (at netip.AddrPort, seen <-chan isns.Event) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	all := make(chan isns.Event, 64)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- isns.ServeEvents(ctx, l, nil, func(e isns.Event) { all <- e }) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return l.Addr().(*net.TCPAddr).AddrPort(), all
}

// expect waits for a notification of a change.
func expect(t *testing.T, seen <-chan isns.Event, change isns.Change, node string) {
	t.Helper()
	for {
		select {
		case e := <-seen:
			if e.To == host && e.Node == node && e.Change&change != 0 {
				return
			}
		case <-t.Context().Done():
			t.Fatalf("no notification of change %#x of %s", change, node)
		}
	}
}

// TestWatch has Open-iSNS notify a host of a target that comes and goes.
func TestWatch(t *testing.T) {
	server := peers.ISNSFor(t)
	at, seen := events(t)
	c := dial(t, server, host)
	portal := netip.AddrPortFrom(at.Addr(), 3260)
	_, err := c.Register(t.Context(), &isns.Entity{
		ID:      "host.example",
		Portals: []isns.Portal{{Addr: portal, EventPort: at.Port()}},
		Nodes:   []isns.Node{{Name: host, Type: isns.InitiatorNode}},
	}, true)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Watch(t.Context(), isns.ChangesOfTargets|isns.ChangesOfInitiators|isns.Added|isns.Removed|isns.Updated); err != nil {
		t.Fatal(err)
	}
	storageClient := dial(t, server, disk)
	if _, err := storageClient.Register(t.Context(), storage(), true); err != nil {
		t.Fatal(err)
	}
	expect(t, seen, isns.Added|isns.JoinedDomain, disk)
	if err := storageClient.DeregisterNodes(t.Context(), second); err != nil {
		t.Fatal(err)
	}
	expect(t, seen, isns.Removed, second)
	if err := c.Watch(t.Context(), 0); err != nil {
		t.Error(err)
	}
}

// TestInquiry has Open-iSNS ask whether a machine is there, which it forgets when
// nobody answers.
func TestInquiry(t *testing.T) {
	server := peers.ISNSFor(t, "ESIMaxInterval = 1s", "ESIRetries = 2")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	asked := make(chan struct{}, 64)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- isns.ServeEvents(ctx, counted{l, asked}, nil, nil) }()
	at := l.Addr().(*net.TCPAddr).AddrPort()
	e := &isns.Entity{
		ID:      "storage.example",
		Portals: []isns.Portal{{Addr: netip.AddrPortFrom(at.Addr(), 3260), EventPort: at.Port(), ESIInterval: time.Second}},
		Nodes:   []isns.Node{{Name: disk, Type: isns.TargetNode}},
	}
	if _, err := dial(t, server, disk).Register(t.Context(), e, true); err != nil {
		t.Fatal(err)
	}
	asking := dial(t, server, host)
	for range 5 { // more often than it would ask in vain
		select {
		case <-asked:
		case <-t.Context().Done():
			t.Fatal("the server does not inquire")
		}
	}
	if got := targets(t, asking); got == "" {
		t.Error("a machine that answers is forgotten")
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	for targets(t, asking) != "" {
		select {
		case <-time.After(100 * time.Millisecond):
		case <-t.Context().Done():
			t.Fatal("a machine that does not answer is not forgotten")
		}
	}
}

// counted is a listener whose connections tell of each read that brings something.
type counted struct {
	net.Listener
	reads chan<- struct{}
}

func (l counted) Accept() (net.Conn, error) {
	nc, err := l.Listener.Accept()
	return countedConn{nc, l.reads}, err
}

type countedConn struct {
	net.Conn
	reads chan<- struct{}
}

func (c countedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 {
		select {
		case c.reads <- struct{}{}:
		default:
		}
	}
	return n, err
}
