package bootserver_test

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/bootlun/bootlun/internal/peers"
	"github.com/bootlun/bootlun/iscsi"
	"github.com/bootlun/bootlun/iscsi/isns"
	"github.com/bootlun/bootlun/iscsi/slp"
	"github.com/bootlun/bootlun/target/control"
)

const (
	diskA    = "iqn.2026-11.com.example:a"
	diskB    = "iqn.2026-11.com.example:b"
	added    = "iqn.2026-11.com.example:added"
	watcher  = "iqn.2026-11.com.example:watcher"
	twoDisks = `
iscsi:
  portals:
    - {tag: 1, listen: ["127.0.0.1:PORT"]}
    - {tag: 2, listen: ["[::1]:PORT2"]}
targets:
  - {name: iqn.2026-11.com.example:a, alias: disk a, luns: [{number: 0, path: DIR/a}]}
  - {name: iqn.2026-11.com.example:b, portalGroups: [2], allowedInitiators: ["iqn.2026-11.com.example:node"], luns: [{number: 0, path: DIR/b}]}
  - {name: iqn.2026-11.com.example:hidden, hidden: true, luns: [{number: 0, path: DIR/c}]}
`
)

// describe lists targets as "NAME TAG,TAG", without the first part of the names.
func describe(records []iscsi.TargetRecord) string {
	var all []string
	for _, r := range records {
		var tags []string
		for _, a := range r.Addresses {
			tag := a.Host
			if a.Tag != iscsi.NoTag {
				tag = strconv.Itoa(a.Tag)
			}
			tags = append(tags, tag)
		}
		slices.Sort(tags)
		all = append(all, strings.TrimPrefix(r.Name, "iqn.2026-11.com.example:")+" "+strings.Join(tags, ","))
	}
	slices.Sort(all)
	return strings.Join(all, "; ")
}

// TestRegistersWithISNS has Open-iSNS know what is served, from the start to the end.
func TestRegistersWithISNS(t *testing.T) {
	server := peers.ISNSFor(t)
	host, seen := watchISNS(t, server)
	registered := func() string {
		records, err := host.Targets(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return describe(records)
	}
	expect := func(want string) {
		t.Helper()
		await(t, "registered are "+want, func() bool { return registered() == want })
	}
	r := loopback(t, "isns: {servers: [\""+server.Server+"\"], entity: storage.example, period: 10m, eventPort: "+peers.FreePort(t)+"}\n"+twoDisks)
	expect("a 1,2; b 2")
	out, err := server.Admin("--query", "iscsi-name="+diskA)
	if err != nil || !strings.Contains(out, `"storage.example"`) || !strings.Contains(out, `iSCSI alias = "disk a"`) || !strings.Contains(out, "ESI port") {
		t.Errorf("isnsadm (error %v) sees\n%s", err, out)
	}

	if err := r.api.AddTarget(t.Context(), control.Target{Name: added}); err != nil {
		t.Fatal(err)
	}
	expect("a 1,2; added 1,2; b 2")
	notified(t, seen, isns.Added, added)
	if err := r.api.RemoveTarget(t.Context(), added, 0); err != nil {
		t.Fatal(err)
	}
	expect("a 1,2; b 2")
	notified(t, seen, isns.Removed, added)
	for len(seen) > 0 {
		if e := <-seen; e.Change&isns.Removed != 0 && e.Node == diskA {
			t.Error("a target was away while another one changed")
		}
	}
	r.edit("alias: disk a, luns", "alias: disk a, hidden: true, luns")
	expect("b 2")
	r.edit("hidden: true, luns: [{number: 0, path: "+r.dir+"/a}]", "luns: [{number: 0, path: "+r.dir+"/a}]")
	expect("a 1,2; b 2")
	r.edit("storage.example", "other.example")
	await(t, "the entity has its other name", func() bool {
		out, err := server.Admin("--query", "iscsi-name="+diskA)
		return err == nil && strings.Contains(out, "other.example")
	})
	expect("a 1,2; b 2")

	status, err := r.api.Status(t.Context())
	if err != nil || len(status.Announcements) != 1 || status.Announcements[0].Error != "" || status.Announcements[0].Targets != 2 {
		t.Errorf("status %+v, %v", status.Announcements, err)
	}
	r.stop()
	expect("")
}

// watchISNS registers a host whom the server notifies of changes.
func watchISNS(t *testing.T, server *peers.ISNS) (*isns.Client, <-chan isns.Event) {
	t.Helper()
	c, err := isns.Dial(t.Context(), server.Server, watcher)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	seen := make(chan isns.Event, 1024)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- isns.ServeEvents(ctx, l, nil, func(e isns.Event) { seen <- e }) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	at := l.Addr().(*net.TCPAddr).AddrPort()
	_, err = c.Register(t.Context(), &isns.Entity{
		ID: "watcher.example", Portals: []isns.Portal{{Addr: netip.AddrPortFrom(at.Addr(), 3260), EventPort: at.Port()}},
		Nodes: []isns.Node{{Name: watcher, Type: isns.InitiatorNode}},
	}, true)
	if err == nil {
		err = c.Watch(t.Context(), isns.ChangesOfTargets|isns.ChangesOfInitiators|isns.Added|isns.Removed)
	}
	if err != nil {
		t.Fatal(err)
	}
	return c, seen
}

// notified waits for a notification.
func notified(t *testing.T, seen <-chan isns.Event, change isns.Change, node string) {
	t.Helper()
	for {
		select {
		case e := <-seen:
			if e.Node == node && e.Change&change != 0 {
				return
			}
		case <-t.Context().Done():
			t.Fatalf("no notification of change %#x of %s", change, node)
		}
	}
}

// TestISNSServerFails serves all the same when the iSNS server is not there, and says
// so.
func TestISNSServerFails(t *testing.T) {
	r := loopback(t, "isns: {servers: [\"127.0.0.1:"+peers.FreePort(t)+"\"]}\n"+twoDisks)
	await(t, "the failure shows", func() bool {
		status, err := r.api.Status(t.Context())
		return err == nil && len(status.Announcements) == 1 && strings.Contains(status.Announcements[0].Error, "refused")
	})
	r.api.Close()
}

// TestFoundBySLP finds what is served by multicast, as it changes.
func TestFoundBySLP(t *testing.T) {
	port := peers.FreePort(t)
	r := loopback(t, "slp: {addresses: [127.0.0.1], port: "+port+"}\n"+twoDisks)
	number, _ := strconv.Atoi(port)
	find := func(initiator string) string {
		q := slp.Query{Port: uint16(number), Interface: netip.MustParseAddr("127.0.0.1")}
		if initiator != "" {
			q.Predicate = slp.ForInitiator(initiator)
		}
		records, err := slp.FindTargets(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		return describe(records)
	}
	expect := func(initiator, want string) {
		t.Helper()
		await(t, initiator+" finds "+want, func() bool { return find(initiator) == want })
	}
	expect("", "a 127.0.0.1,::1; b ::1")
	expect("iqn.2026-11.com.example:node", "a 127.0.0.1,::1; b ::1")
	expect("iqn.2026-11.com.example:other", "a 127.0.0.1,::1")
	if err := r.api.AddTarget(t.Context(), control.Target{Name: added, PortalGroups: []uint16{1}}); err != nil {
		t.Fatal(err)
	}
	expect("", "a 127.0.0.1,::1; added 127.0.0.1; b ::1")
	r.edit("slp: {addresses", "# slp: {addresses")
	await(t, "nobody answers", func() bool {
		status, err := r.api.Status(t.Context())
		return err == nil && len(status.Announcements) == 0
	})
}
