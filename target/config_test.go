package target_test

import (
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/bootlun/bootlun/iscsi"
	"github.com/bootlun/bootlun/scsi"
	"github.com/bootlun/bootlun/target"
	"github.com/bootlun/bootlun/target/store"
)

func TestConfigErrors(t *testing.T) {
	memory := store.NewMemory(diskSize)
	one := func(t target.Target) target.Config { return target.Config{Targets: []*target.Target{&t}} }
	lun := func(l target.LUN) target.Config {
		return one(target.Target{Name: testTarget, LUNs: []target.LUN{l}})
	}
	for want, cfg := range map[string]target.Config{
		"malformed name":          one(target.Target{Name: "disk"}),
		"two of this name":        {Targets: []*target.Target{{Name: testTarget}, {Name: strings.ToUpper(testTarget)}}},
		"is nil":                  {Targets: []*target.Target{nil}},
		"no store":                lun(target.LUN{}),
		"LUN -1":                  lun(target.LUN{Number: -1, Store: memory}),
		"two of this number":      one(target.Target{Name: testTarget, LUNs: []target.LUN{{Store: memory}, {Store: memory}}}),
		"block size 1024":         lun(target.LUN{Store: memory, BlockSize: 1024}),
		"physical block size 600": lun(target.LUN{Store: memory, PhysicalBlockSize: 600}),
		"less than one block":     lun(target.LUN{Store: store.NewMemory(511)}),
		"longer than 8":           lun(target.LUN{Store: memory, Vendor: "123456789"}),
		"not printable":           lun(target.LUN{Store: memory, Serial: "a\nb"}),
		"syntax error":            one(target.Target{Name: testTarget, AllowedInitiators: []string{"[a"}}),
		"no user":                 one(target.Target{Name: testTarget, CHAP: &iscsi.CHAPServer{}}),
		"at most 65535 sessions":  {MaxSessions: 70000},
		"must not be negative":    {QueueDepth: -1},
		"at most 4096 can be":     {QueueDepth: 5000},
	} {
		if _, err := target.New(cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want an error with %q", err, want)
		}
	}
}

func TestPortals(t *testing.T) {
	addr, _ := serve(t, target.Config{
		Targets: []*target.Target{disk(store.NewMemory(diskSize))},
		PortalGroups: []target.PortalGroup{{
			Tag:     7,
			Portals: []netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:3260"), netip.MustParseAddrPort("[2001:db8::1]:860")},
		}},
	})
	c := connect(t, addr, discovering)
	var got []string
	for _, a := range c.sendTargets("All", 8192)[0].Addresses {
		got = append(got, a.String())
	}
	if want := []string{"192.0.2.1:3260,7", "[2001:db8::1]:860,7"}; !slices.Equal(got, want) {
		t.Errorf("addresses %q, want %q", got, want)
	}
}

func TestDiscoveryCHAP(t *testing.T) {
	addr, _ := serve(t, target.Config{
		DiscoveryCHAP: &iscsi.CHAPServer{Users: []iscsi.CHAPUser{{Name: "joe", Secret: "a secret of joe"}}},
	})
	if _, err := tryConnect(t, addr, discovering); err == nil {
		t.Error("discovery without a proof")
	}
	connect(t, addr, discovering, func(c *iscsi.InitiatorConfig) {
		c.CHAP = &iscsi.CHAPClient{User: iscsi.CHAPUser{Name: "joe", Secret: "a secret of joe"}}
	}).ping()
}

func TestSessionsAndEvents(t *testing.T) {
	events := make(chan target.Event, 10)
	addr, srv := serve(t, target.Config{
		Targets: []*target.Target{disk(store.NewMemory(diskSize))}, Events: func(e target.Event) { events <- e },
	})
	c := connect(t, addr, withISID(9), func(c *iscsi.InitiatorConfig) { c.InitiatorAlias = "a tester" }).ready()
	if e := <-events; e.Kind != target.LoginEvent || e.Session.Initiator != testInitiator || e.Reason != nil {
		t.Errorf("event %+v", e)
	}
	roundTrip(t, c, pattern(4096, 1), 0)
	all := srv.Sessions()
	if len(all) != 1 {
		t.Fatalf("%d sessions", len(all))
	}
	s := all[0]
	if s.TSIH != c.res.TSIH || s.ISID.Qualifier() != 9 || s.Initiator != testInitiator || s.Alias != "a tester" || s.Target != testTarget {
		t.Errorf("session %+v", s)
	}
	if !moved(s.Counts, target.ReadCommands) || !moved(s.Counts, target.WriteCommands) || s.Local.String() != addr || s.Remote.String() != c.nc.LocalAddr().String() {
		t.Errorf("session %+v", s)
	}
	c.nc.Close()
	if e := <-events; e.Kind != target.LogoutEvent || e.Session.TSIH != s.TSIH || e.Reason == nil {
		t.Errorf("event %+v", e)
	}
	if n := len(srv.Sessions()); n != 0 {
		t.Errorf("%d sessions after the end of the last", n)
	}
}

// TestSeveralListeners serves one session's target on IPv4 and IPv6.
func TestSeveralListeners(t *testing.T) {
	addr, srv := serve(t, target.Config{Targets: []*target.Target{disk(store.NewMemory(diskSize))}})
	l, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Skipf("SKIP: needs IPv6 on loopback: %v", err)
	}
	serveOn(t, srv, l)
	a, b := connect(t, addr, withISID(1)).ready(), connect(t, l.Addr().String(), withISID(2)).ready()
	data := pattern(512, 1)
	a.good(transfer(scsi.OpWrite10, 0, 1), 0, data)
	if r := b.good(transfer(scsi.OpRead10, 0, 1), 512, nil); string(r.data) != string(data) {
		t.Error("what one session wrote the other does not read")
	}
	c := connect(t, l.Addr().String(), discovering)
	if r := c.sendTargets("All", 8192); len(r) != 1 || r[0].Addresses[0].HostPort() != l.Addr().String() {
		t.Errorf("targets %v, want them at %v", r, l.Addr())
	}
}

// moved tells whether the commands of a kind were one that moved 4096 bytes.
func moved(c target.Counts, kind target.CommandKind) bool {
	k := c[kind]
	timed := uint64(0)
	for _, n := range k.Latency {
		timed += n
	}
	return k.Commands == 1 && k.Bytes == 4096 && k.Errors == 0 && k.Time > 0 && timed == 1
}
