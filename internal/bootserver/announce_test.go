package bootserver_test

import (
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
	host, err := isns.Dial(t.Context(), server.Server, watcher)
	if err != nil {
		t.Fatal(err)
	}
	defer host.Close()
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
	r := loopback(t, "isns: {servers: [\""+server.Server+"\"], entity: storage.example, period: 10m, eventPort: "+freePort(t)+"}\n"+twoDisks)
	expect("a 1,2; b 2")
	out, err := server.Admin("--query", "iscsi-name="+diskA)
	if err != nil || !strings.Contains(out, `"storage.example"`) || !strings.Contains(out, `iSCSI alias = "disk a"`) || !strings.Contains(out, "ESI port") {
		t.Errorf("isnsadm (error %v) sees\n%s", err, out)
	}

	if err := r.api.AddTarget(t.Context(), control.Target{Name: added}); err != nil {
		t.Fatal(err)
	}
	expect("a 1,2; added 1,2; b 2")
	if err := r.api.RemoveTarget(t.Context(), added, 0); err != nil {
		t.Fatal(err)
	}
	expect("a 1,2; b 2")
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

// TestISNSServerForgets has an iSNS server lose all that it knows: it is told again when
// the registration is renewed.
func TestISNSServerForgets(t *testing.T) {
	server := peers.ISNSFor(t, "RegistrationPeriod = 4s")
	loopback(t, "isns: {servers: [\""+server.Server+"\"], entity: storage.example, period: 4s}\ntargets: [{name: "+diskA+"}]\n")
	registered := func() bool {
		c, err := isns.Dial(t.Context(), server.Server, watcher)
		if err != nil {
			return false
		}
		defer c.Close()
		records, err := c.Targets(t.Context())
		return err == nil && describe(records) == "a 1"
	}
	await(t, "the target is registered", registered)
	server.Stop()
	server.Forget()
	server.Start()
	await(t, "the target is registered again", registered)
}

// TestISNSServerFails serves all the same when the iSNS server is not there, and says
// so.
func TestISNSServerFails(t *testing.T) {
	r := loopback(t, "isns: {servers: [\"127.0.0.1:"+freePort(t)+"\"]}\n"+twoDisks)
	await(t, "the failure shows", func() bool {
		status, err := r.api.Status(t.Context())
		return err == nil && len(status.Announcements) == 1 && strings.Contains(status.Announcements[0].Error, "refused")
	})
}

// TestFoundBySLP finds what is served by multicast, as it changes.
func TestFoundBySLP(t *testing.T) {
	port := freePort(t)
	r := loopback(t, "slp: {port: "+port+"}\n"+twoDisks)
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
	if records, err := slp.FindTargets(t.Context(), slp.Query{Agent: "[::1]:" + port}); err != nil || len(records) != 3 {
		t.Errorf("the agent at the IPv6 portal knows %v, %v", records, err)
	}
	status, err := r.api.Status(t.Context())
	if err != nil || len(status.Announcements) != 2 || status.Announcements[0].Targets != 3 || status.Announcements[1].Error != "" {
		t.Errorf("status %+v, %v", status.Announcements, err)
	}
	r.edit("slp: {port", "# slp: {port")
	await(t, "nobody answers", func() bool {
		status, err := r.api.Status(t.Context())
		return err == nil && len(status.Announcements) == 0
	})
}
