package initiator

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/bootlun/bootlun/ibft"
	"github.com/bootlun/bootlun/internal/peers"
	"github.com/bootlun/bootlun/iscsi"
	"github.com/bootlun/bootlun/iscsi/isns"
	"github.com/bootlun/bootlun/iscsi/slp"
)

func address(t *testing.T, s string) iscsi.TargetAddress {
	t.Helper()
	a, err := iscsi.ParseTargetAddress(s)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// Several sources are asked, and a target that several know has the addresses of all.
func TestFind(t *testing.T) {
	g := startTGT(t)
	g.target(t, tgtTarget, diskFile(t, g.dir, "disk"))
	other := iscsi.TargetRecord{Name: "iqn.2026-01.org.bootlun:other", Addresses: []iscsi.TargetAddress{address(t, "192.0.2.1")}}
	known := iscsi.TargetRecord{Name: tgtTarget, Addresses: []iscsi.TargetAddress{address(t, "192.0.2.2")}}
	list, err := Find(t.Context(),
		SendTargets{Initiator: testInitiator, Portal: g.Portal},
		Static{other, known, known},
		SendTargets{Initiator: testInitiator, Portal: "127.0.0.1:1"},
	)
	if err == nil {
		t.Error("no word of the source that does not answer")
	}
	if len(list) != 2 || len(list[0].Addresses) != 2 || list[0].Addresses[0].HostPort() != g.Portal {
		t.Fatalf("%+v", list)
	}
	openLUN(t, dial(t, Config{Initiator: testInitiator}.At(list[0])), 1)
	if c := (Config{Portal: "x", Portals: []string{"y"}}).At(list[0]); c.Target != tgtTarget || c.Portal != g.Portal || !slices.Equal(c.Portals, []string{"192.0.2.2:3260"}) {
		t.Errorf("%+v", c)
	}
}

func TestFirmwarePaths(t *testing.T) {
	table := &ibft.Table{
		Initiator: &ibft.Initiator{Flags: ibft.Valid, Name: testInitiator},
		NICs:      []ibft.NIC{{Flags: ibft.Valid | ibft.BootSelected}},
	}
	for i, at := range []string{"192.0.2.1", "2001:db8::1"} {
		table.Targets = append(table.Targets, ibft.Target{
			Index: uint8(i), Flags: ibft.Valid | ibft.BootSelected, IP: netip.MustParseAddr(at), Port: 3261, LUN: ibft.NewLUN(5), Name: tgtTarget,
			CHAP: ibft.CHAPMutual, CHAPName: "alice", CHAPSecret: "secret of alice", ReverseCHAPName: "bob", ReverseCHAPSecret: "secret of bob",
		})
	}
	paths := FirmwarePaths(table)
	if len(paths) != 2 {
		t.Fatalf("%d paths", len(paths))
	}
	c := paths[1].Config
	if c.Initiator != testInitiator || c.Target != tgtTarget || c.Portal != "[2001:db8::1]:3261" || paths[1].LUN.String() != "5" {
		t.Errorf("%+v", paths[1])
	}
	if c.CHAP == nil || c.CHAP.User.Name != "alice" || c.CHAP.Target.Secret.Reveal() != "secret of bob" {
		t.Errorf("CHAP %+v", c.CHAP)
	}
	list, err := Find(t.Context(), Firmware{table})
	if err != nil || len(list) != 1 || fmt.Sprint(list[0].Addresses) != "[192.0.2.1:3261 [2001:db8::1]:3261]" {
		t.Errorf("%v, %v", list, err)
	}
}

// An agent of ours on loopback answers; slp's own tests ask others.
func TestFindSLP(t *testing.T) {
	stream, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	datagrams, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	agent := &slp.Agent{}
	agent.Set([]slp.Service{slp.Target(tgtTarget, "", address(t, "192.0.2.1:3261"))})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- agent.Serve(ctx, slp.Sockets{Unicast: datagrams, Stream: stream}) }()
	list, err := Find(t.Context(), SLP{Agent: stream.Addr().String()})
	if err != nil || len(list) != 1 || list[0].Name != tgtTarget || list[0].Addresses[0].HostPort() != "192.0.2.1:3261" {
		t.Errorf("%+v, %v", list, err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// Changes in an iSNS server's database are heard of.
func TestISNSWatch(t *testing.T) {
	server := peers.ISNSFor(t)
	source := ISNS{Server: server.Server, Initiator: testInitiator}
	ctx, cancel := context.WithCancel(t.Context())
	seen, done := make(chan []iscsi.TargetRecord, 100), make(chan error, 1)
	go func() {
		done <- source.Watch(ctx, func(list []iscsi.TargetRecord) { seen <- list })
	}()
	await := func(n int) {
		t.Helper()
		for {
			select {
			case list := <-seen:
				if len(list) == n {
					return
				}
			case err := <-done:
				t.Fatal(err)
			case <-soon(t).Done():
				t.Fatalf("no word of %d targets", n)
			}
		}
	}
	await(0)
	storage, err := isns.Dial(t.Context(), server.Server, tgtTarget)
	if err != nil {
		t.Fatal(err)
	}
	defer storage.Close()
	entity := &isns.Entity{
		ID: "storage.example", Nodes: []isns.Node{{Name: tgtTarget, Type: isns.TargetNode}},
		Portals: []isns.Portal{{Addr: netip.MustParseAddrPort("192.0.2.9:3260")}},
	}
	if _, err := storage.Register(t.Context(), entity, true); err != nil {
		t.Fatal(err)
	}
	await(1)
	if list, err := Find(t.Context(), source); err != nil || len(list) != 1 || list[0].Name != tgtTarget {
		t.Errorf("%+v, %v", list, err)
	}
	if err := storage.Deregister(t.Context(), entity.ID); err != nil {
		t.Fatal(err)
	}
	await(0)
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	out, err := server.Admin("--query", "iscsi-name="+testInitiator)
	if strings.Contains(out, "Entity identifier") {
		t.Errorf("after the end the server says (%v): %s", err, out)
	}
}
