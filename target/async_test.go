package target_test

import (
	"context"
	"testing"
	"time"

	"github.com/bootlun/bootlun/iscsi"
	"github.com/bootlun/bootlun/scsi"
	"github.com/bootlun/bootlun/target"
	"github.com/bootlun/bootlun/target/store"
)

func TestRenegotiate(t *testing.T) {
	addr, srv := serve(t, target.Config{Targets: []*target.Target{disk(store.NewMemory(diskSize))}})
	c := connect(t, addr).ready()
	if err := srv.Renegotiate(c.res.TSIH, 1500*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	var p iscsi.AsyncMessage
	if c.expect(&p); p.Event != iscsi.AsyncNegotiate || p.Param3 != 2 {
		t.Errorf("%+v", p)
	}
	c.send(&iscsi.TextRequest{Final: true, ITT: 900, TTT: iscsi.ReservedTag, CmdSN: c.cmdSN, ExpStatSN: c.exp},
		iscsi.Text{{Key: "MaxRecvDataSegmentLength", Value: "1024"}}.Append(nil))
	c.cmdSN++
	c.expect(&iscsi.TextResponse{})
	if r := c.good(transfer(scsi.OpRead10, 0, 16), 8192, nil); len(r.dataIns) != 8 {
		t.Errorf("%d Data-In PDUs of 1024 bytes, want 8", len(r.dataIns))
	}
	if err := srv.Renegotiate(c.res.TSIH+1, 0); err == nil {
		t.Error("no error for a session that is not there")
	}
}

// TestTellAttentions expects a message of what happens to a LUN, and the unit
// attention as well.
func TestTellAttentions(t *testing.T) {
	d := disk(store.NewMemory(diskSize))
	d.TellAttentions = true
	addr, srv := serve(t, target.Config{Targets: []*target.Target{d}})
	c := connect(t, addr).ready()
	if err := srv.AddLUN(testTarget, target.LUN{Number: 5, Store: store.NewMemory(diskSize)}); err != nil {
		t.Fatal(err)
	}
	var p iscsi.AsyncMessage
	data := c.expect(&p)
	raw, _, err := iscsi.SplitSense(data)
	if err != nil {
		t.Fatal(err)
	}
	sense, err := scsi.ParseSense(raw)
	if err != nil || p.Event != iscsi.AsyncSCSI || sense.Key != scsi.KeyUnitAttention || sense.ASC != scsi.ASCReportedLUNsChanged {
		t.Errorf("%+v with %v, %v", p, sense, err)
	}
	c.bad(scsi.TestUnitReadyCDB(), 0, nil, scsi.KeyUnitAttention, scsi.ASCReportedLUNsChanged)
}

// TestFarewell expects every connection of a session to be told that it is
// dropped.
func TestFarewell(t *testing.T) {
	addr, srv := serve(t, target.Config{Targets: []*target.Target{disk(store.NewMemory(diskSize))}})
	a := connect(t, addr, several).ready()
	b := connect(t, addr, a.joining(1))
	b.ping() // so that it is in full feature phase
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // at once
	if err := srv.Disconnect(ctx, a.res.TSIH); err != nil {
		t.Error(err)
	}
	for _, c := range []*client{a, b} {
		c.expectDropped()
	}
}

// expectDropped expects to be told that the session's connections are dropped,
// perhaps after having been asked to log out, and then the end.
func (c *client) expectDropped() {
	c.t.Helper()
	var p iscsi.AsyncMessage
	if c.expect(&p); p.Event == iscsi.AsyncLogout {
		c.expect(&p)
	}
	if p.Event != iscsi.AsyncDropAllConnections {
		c.t.Errorf("%+v", p)
	}
	c.expectClosed()
}
