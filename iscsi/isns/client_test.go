package isns_test

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bootlun/bootlun/internal/peers"
	"github.com/bootlun/bootlun/iscsi/isns"
)

const (
	host   = "iqn.2026-01.org.bootlun:host"
	disk   = "iqn.2026-01.org.bootlun:disk"
	second = "iqn.2026-01.org.bootlun:second"
)

func dial(t *testing.T, server *peers.ISNS, source string) *isns.Client {
	t.Helper()
	c, err := isns.Dial(t.Context(), server.Server, source)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func storage() *isns.Entity {
	four, six := netip.MustParseAddrPort("192.0.2.7:3260"), netip.MustParseAddrPort("[2001:db8::7]:3261")
	return &isns.Entity{
		ID:      "storage.example",
		Portals: []isns.Portal{{Addr: four}, {Addr: six}},
		Nodes: []isns.Node{
			{Name: disk, Type: isns.TargetNode, Alias: "a disk"},
			{Name: second, Type: isns.TargetNode, Groups: []isns.Group{{Addr: six, Tag: 2}}},
		},
	}
}

func targets(t *testing.T, c *isns.Client) string {
	t.Helper()
	records, err := c.Targets(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, r := range records {
		b.WriteString(r.Name)
		for _, a := range r.Addresses {
			b.WriteString(" " + a.String())
		}
		b.WriteString("\n")
	}
	return b.String()
}

func TestRegister(t *testing.T) {
	server := peers.ISNSFor(t)
	c := dial(t, server, disk)
	period, err := c.Register(t.Context(), storage(), true)
	if err != nil {
		t.Fatal(err)
	}
	if period != 10*time.Minute {
		t.Errorf("the registration is kept for %v, the server was told 10 minutes", period)
	}
	out, err := server.Admin("--query", "iscsi-name="+disk)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		`Entity identifier = "storage.example"`, `Entity protocol = iSCSI (2)`, `iSCSI alias = "a disk"`, `iSCSI node type = Target`,
		`Portal IP address = 2001:db8::7`, `Portal TCP/UDP port = 3261/tcp`, `Portal group tag = 1`,
	} {
		if !strings.Contains(out, line) {
			t.Errorf("isnsadm does not see %s:\n%s", line, out)
		}
	}
	asking := dial(t, server, host)
	first := disk + " 192.0.2.7:3260,1 [2001:db8::7]:3261,1\n"
	if got, want := targets(t, asking), first+second+" [2001:db8::7]:3261,2\n"; got != want {
		t.Errorf("targets:\n%swant:\n%s", got, want)
	}
	if err := c.DeregisterNodes(t.Context(), second); err != nil {
		t.Error(err)
	}
	if got := targets(t, asking); got != first {
		t.Errorf("after one is gone:\n%swant:\n%s", got, first)
	}
	if err := c.Deregister(t.Context(), "storage.example"); err != nil {
		t.Error(err)
	}
	if got := targets(t, asking); got != "" {
		t.Errorf("after all are gone:\n%s", got)
	}
}

// TestOtherClient looks for what isnsadm registers.
func TestOtherClient(t *testing.T) {
	server := peers.ISNSFor(t)
	_, err := server.Admin("--register", "entity=theirs.example", "target="+disk+",alias=theirs", "portal=192.0.2.9:3260/tcp")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := targets(t, dial(t, server, host)), disk+" 192.0.2.9:3260,1\n"; got != want {
		t.Errorf("targets:\n%swant:\n%s", got, want)
	}
}

// TestNext walks the database object by object.
func TestNext(t *testing.T) {
	server := peers.ISNSFor(t)
	c := dial(t, server, disk)
	if _, err := c.Register(t.Context(), storage(), true); err != nil {
		t.Fatal(err)
	}
	var names []string
	key := isns.Want(isns.TagNodeName)
	for {
		name, err := c.Next(t.Context(), key)
		if errors.Is(err, isns.StatusNoSuchEntry) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, name.Text())
		key = name
	}
	if want := []string{disk, second}; !slices.Equal(names, want) {
		t.Errorf("nodes are %q, want %q", names, want)
	}
}

func TestErrors(t *testing.T) {
	server := peers.ISNSFor(t)
	c := dial(t, server, host)
	if _, err := c.Next(t.Context(), isns.Want(isns.TagNodeName)); !errors.Is(err, isns.StatusNoSuchEntry) {
		t.Errorf("the next node of none: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Targets(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("a query whose context has ended: %v", err)
	}
	for what, e := range map[string]*isns.Entity{
		"no identifier": {},
		"no portal":     {ID: "x", Nodes: []isns.Node{{Name: disk}}},
		"any address":   {ID: "x", Nodes: []isns.Node{{Name: disk}}, Portals: []isns.Portal{{Addr: netip.MustParseAddrPort("0.0.0.0:3260")}}},
	} {
		if _, err := c.Register(t.Context(), e, false); err == nil {
			t.Errorf("an entity with %s can be registered", what)
		}
	}
}
