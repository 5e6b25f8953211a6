package target_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"testing"

	"github.com/bootlun/bootlun/iscsi"
	"github.com/bootlun/bootlun/scsi"
	"github.com/bootlun/bootlun/target"
	"github.com/bootlun/bootlun/target/store"
)

// discover lists the targets that a discovery session is told of.
func discover(t *testing.T, addr string, opts ...loginOption) []iscsi.TargetRecord {
	t.Helper()
	c := connect(t, addr, append([]loginOption{discovering}, opts...)...)
	c.send(&iscsi.TextRequest{Final: true, ITT: 1, TTT: iscsi.ReservedTag, CmdSN: c.cmdSN}, iscsi.Text{{Key: "SendTargets", Value: "All"}}.Append(nil))
	records, err := iscsi.ParseTargets(c.expect(new(iscsi.TextResponse)))
	if err != nil {
		t.Fatal(err)
	}
	return records
}

// asUser has an initiator prove a name.
func asUser(name string, algorithms ...iscsi.CHAPAlgorithm) loginOption {
	return func(c *iscsi.InitiatorConfig) {
		c.CHAP = &iscsi.CHAPClient{User: iscsi.CHAPUser{Name: name, Secret: iscsi.Secret("secret of " + name)}, Algorithms: algorithms}
	}
}

func named(name string) loginOption {
	return func(c *iscsi.InitiatorConfig) { c.InitiatorName = name }
}

func unproven(c *iscsi.InitiatorConfig) { c.CHAP = nil }

func users(names ...string) *iscsi.CHAPServer {
	s := new(iscsi.CHAPServer)
	for _, n := range names {
		s.Users = append(s.Users, iscsi.CHAPUser{Name: n, Secret: iscsi.Secret("secret of " + n)})
	}
	return s
}

const (
	alice = "iqn.2001-04.com.example:alice"
	bob   = "iqn.2001-04.com.example:bob"
)

// TestAccess logs in to targets that are not for everybody: what an initiator may
// not use is not there for it.
func TestAccess(t *testing.T) {
	rules := func(r ...target.Rule) *target.Access { return &target.Access{Rules: r} }
	for name, tc := range map[string]struct {
		access  *target.Access
		chap    *iscsi.CHAPServer
		as      []loginOption
		want    iscsi.LoginStatus
		visible bool
	}{
		"everybody":         {nil, nil, nil, iscsi.StatusSuccess, true},
		"nobody":            {rules(), nil, nil, iscsi.StatusTargetNotFound, false},
		"name":              {rules(target.Rule{Initiator: alice}), nil, []loginOption{named(alice)}, iscsi.StatusSuccess, true},
		"pattern":           {rules(target.Rule{Initiator: "iqn.2001-04.*:a*"}), nil, []loginOption{named(alice)}, iscsi.StatusSuccess, true},
		"another name":      {rules(target.Rule{Initiator: alice}), nil, []loginOption{named(bob)}, iscsi.StatusTargetNotFound, false},
		"one of two":        {rules(target.Rule{Initiator: alice}, target.Rule{Initiator: bob}), nil, []loginOption{named(bob)}, iscsi.StatusSuccess, true},
		"network":           {rules(target.Rule{Network: netip.MustParsePrefix("127.0.0.0/8")}), nil, nil, iscsi.StatusSuccess, true},
		"another network":   {rules(target.Rule{Network: netip.MustParsePrefix("192.0.2.0/24")}), nil, nil, iscsi.StatusTargetNotFound, false},
		"network of IPv6":   {rules(target.Rule{Network: netip.MustParsePrefix("::/0")}), nil, nil, iscsi.StatusTargetNotFound, false},
		"name and network":  {rules(target.Rule{Initiator: bob, Network: netip.MustParsePrefix("127.0.0.1/32")}), nil, []loginOption{named(alice)}, iscsi.StatusTargetNotFound, false},
		"user":              {rules(target.Rule{User: "alice"}), users("alice", "bob"), []loginOption{asUser("alice")}, iscsi.StatusSuccess, true},
		"another user":      {rules(target.Rule{User: "alice"}), users("alice", "bob"), []loginOption{asUser("bob")}, iscsi.StatusAuthorizationFailed, true},
		"user of one name":  {rules(target.Rule{User: "alice", Initiator: alice}), users("alice"), []loginOption{asUser("alice"), named(bob)}, iscsi.StatusTargetNotFound, false},
		"user without CHAP": {rules(target.Rule{User: "alice"}), nil, nil, iscsi.StatusAuthorizationFailed, true},
	} {
		t.Run(name, func(t *testing.T) {
			d := disk(store.NewMemory(diskSize))
			d.Access, d.CHAP = tc.access, tc.chap
			addr, _ := serve(t, target.Config{Targets: []*target.Target{d}})
			_, err := tryConnect(t, addr, tc.as...)
			if tc.want != iscsi.StatusSuccess {
				expectStatus(t, err, tc.want)
			} else if err != nil {
				t.Error(err)
			}
			if got := len(discover(t, addr, append(tc.as, unproven)...)) > 0; got != tc.visible {
				t.Errorf("discovery tells of it: %v, want %v", got, tc.visible)
			}
		})
	}
}

// TestDiscoveryUser expects a discovery session that has proven who it is to see
// what is for it.
func TestDiscoveryUser(t *testing.T) {
	d := disk(store.NewMemory(diskSize))
	d.Access = &target.Access{Rules: []target.Rule{{User: "alice"}}}
	addr, _ := serve(t, target.Config{Targets: []*target.Target{d}, DiscoveryCHAP: users("alice", "bob")})
	for user, want := range map[string]int{"alice": 1, "bob": 0} {
		if got := discover(t, addr, asUser(user)); len(got) != want {
			t.Errorf("%s sees %v, want %d", user, got, want)
		}
	}
}

// TestLUNAccess has LUNs that are for one initiator each, and one for both.
func TestLUNAccess(t *testing.T) {
	only := func(name string) *target.Access { return &target.Access{Rules: []target.Rule{{Initiator: name}}} }
	addr, srv := serve(t, target.Config{Targets: []*target.Target{{Name: testTarget, LUNs: []target.LUN{
		{Number: 0, Store: store.NewMemory(diskSize)},
		{Number: 1, Store: store.NewMemory(diskSize), Access: only(alice)},
		{Number: 2, Store: store.NewMemory(diskSize), Access: only(bob)},
	}}}})
	a, b := connect(t, addr, named(alice)).ready(), connect(t, addr, named(bob)).ready()
	if got, want := fmt.Sprint(a.luns(), b.luns()), "[0 1] [0 2]"; got != want {
		t.Errorf("LUNs %s, want %s", got, want)
	}
	a.lun = 2 << 48
	a.bad(scsi.TestUnitReadyCDB(), 0, nil, scsi.KeyIllegalRequest, scsi.ASCLUNNotSupported)
	if r := a.manage(iscsi.LogicalUnitReset, nil); r != iscsi.TaskLUNDoesNotExist {
		t.Errorf("reset: %v", r)
	}
	a.lun = 0
	if err := srv.AddLUN(testTarget, target.LUN{Number: 3, Store: store.NewMemory(diskSize), Access: only(bob)}); err != nil {
		t.Fatal(err)
	}
	a.good(scsi.TestUnitReadyCDB(), 0, nil) // nothing that concerns it
	b.bad(scsi.TestUnitReadyCDB(), 0, nil, scsi.KeyUnitAttention, scsi.ASCReportedLUNsChanged)
	if got, want := fmt.Sprint(a.luns(), b.luns()), "[0 1] [0 2 3]"; got != want {
		t.Errorf("LUNs %s, want %s", got, want)
	}
	if err := srv.RemoveLUN(t.Context(), testTarget, 2); err != nil {
		t.Fatal(err)
	}
	a.good(scsi.TestUnitReadyCDB(), 0, nil)
}

// TestInitiatorCHAP has initiators prove different things.
func TestInitiatorCHAP(t *testing.T) {
	const trusted = "iqn.2001-04.com.example:trusted"
	d := disk(store.NewMemory(diskSize))
	d.CHAP = users("all")
	d.InitiatorCHAP = []target.InitiatorCHAP{{Initiator: "*:trusted"}, {Initiator: "*:alice", CHAP: users("alice")}}
	addr, _ := serve(t, target.Config{Targets: []*target.Target{d}})
	for _, tc := range []struct {
		name string
		as   loginOption
		want iscsi.LoginStatus
	}{
		{trusted, unproven, iscsi.StatusSuccess},
		{alice, asUser("alice"), iscsi.StatusSuccess},
		{alice, asUser("all"), iscsi.StatusAuthenticationFailed},
		{alice, unproven, iscsi.StatusAuthenticationFailed},
		{bob, asUser("all"), iscsi.StatusSuccess},
		{bob, asUser("alice"), iscsi.StatusAuthenticationFailed},
	} {
		_, err := tryConnect(t, addr, named(tc.name), tc.as)
		if tc.want != iscsi.StatusSuccess {
			expectStatus(t, err, tc.want)
		} else if err != nil {
			t.Errorf("%s: %v", tc.name, err)
		}
	}
}

// TestCHAPAlgorithms proves names with every hash, one way and both, for a target
// and for discovery.
func TestCHAPAlgorithms(t *testing.T) {
	d := disk(store.NewMemory(diskSize))
	d.CHAP = users("alice")
	d.CHAP.Target = iscsi.CHAPUser{Name: "target", Secret: "secret of the target"}
	addr, _ := serve(t, target.Config{Targets: []*target.Target{d}, DiscoveryCHAP: d.CHAP})
	for _, algorithm := range iscsi.CHAPAlgorithms() {
		for _, mutual := range []bool{false, true} {
			for _, session := range []loginOption{several, discovering} {
				connect(t, addr, asUser("alice", algorithm), session, func(c *iscsi.InitiatorConfig) {
					if mutual {
						c.CHAP.Target = d.CHAP.Target
					}
				}).ping()
			}
		}
	}
}

// redirection is where a login was sent.
func redirection(err error) string {
	var le *iscsi.LoginError
	if errors.As(err, &le) {
		return le.Redirect.String()
	}
	return ""
}

// TestRedirect sends initiators elsewhere.
func TestRedirect(t *testing.T) {
	for permanent, want := range map[bool]iscsi.LoginStatus{false: iscsi.StatusMovedTemporarily, true: iscsi.StatusMovedPermanently} {
		d := disk(store.NewMemory(diskSize))
		d.Redirect = &target.Redirect{To: iscsi.TargetAddress{Host: "2001:db8::7", Port: 860}, Permanent: permanent}
		addr, srv := serve(t, target.Config{Targets: []*target.Target{d}})
		_, err := tryConnect(t, addr)
		expectStatus(t, err, want)
		if to := redirection(err); to != "[2001:db8::7]:860" {
			t.Errorf("redirected to %s", to)
		}
		d.Redirect = nil
		if err := srv.SetTarget(d); err != nil {
			t.Fatal(err)
		}
		connect(t, addr).ping()
	}
}

// portal is a server by one portal group.
type portal struct {
	*target.Server
	tag uint16
}

func (p portal) Serve(ctx context.Context, l net.Listener) error { return p.ServePortal(ctx, l, p.tag) }

// TestPortalGroups serves targets by two groups of portals.
func TestPortalGroups(t *testing.T) {
	one, two := disk(store.NewMemory(diskSize)), disk(store.NewMemory(diskSize))
	two.Name, two.PortalGroups = testTarget+"2", []uint16{20}
	srv, err := target.New(target.Config{
		Targets: []*target.Target{one, two}, PortalGroups: []target.PortalGroup{{Tag: 10}, {Tag: 20}}, LogoutTimeout: -1,
	})
	if err != nil {
		t.Fatal(err)
	}
	var addrs []string
	for _, p := range []struct {
		tag  uint16
		addr string
	}{{10, "127.0.0.1:0"}, {20, "127.0.0.2:0"}, {20, "[::1]:0"}} {
		l, err := net.Listen("tcp", p.addr)
		if err != nil {
			t.Skipf("SKIP: needs %s: %v", p.addr, err)
		}
		addrs = append(addrs, l.Addr().String())
		serveOn(t, portal{srv, p.tag}, l)
		connect(t, addrs[len(addrs)-1], discovering).ping() // it listens
	}
	sorted := func(tags []string) string {
		slices.Sort(tags)
		return fmt.Sprint(tags)
	}
	for _, addr := range addrs {
		for _, r := range discover(t, addr) {
			var got []string
			for _, a := range r.Addresses {
				got = append(got, a.String())
			}
			want := []string{addrs[1] + ",20", addrs[2] + ",20"}
			if r.Name == testTarget {
				want = append(want, addrs[0]+",10")
			}
			if sorted(got) != sorted(want) {
				t.Errorf("asked at %s: %s at %v, want %v", addr, r.Name, got, want)
			}
		}
	}
	a := connect(t, addrs[1], several)
	if a.res.PortalGroupTag != 20 {
		t.Errorf("portal group %d", a.res.PortalGroupTag)
	}
	connect(t, addrs[2], a.joining(1)).ping() // the same group
	_, err = tryConnect(t, addrs[0], a.joining(2))
	expectStatus(t, err, iscsi.StatusSessionDoesNotExist)
	connect(t, addrs[0], func(c *iscsi.InitiatorConfig) { c.ISID = a.res.ISID }).ping() // another session
	a.ping()
	other := func(c *iscsi.InitiatorConfig) { c.TargetName = two.Name }
	_, err = tryConnect(t, addrs[0], other)
	expectStatus(t, err, iscsi.StatusTargetNotFound)
	connect(t, addrs[1], other).ping()
}
