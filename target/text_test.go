package target_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/bootlun/bootlun/iscsi"
	"github.com/bootlun/bootlun/scsi"
	"github.com/bootlun/bootlun/target"
	"github.com/bootlun/bootlun/target/store"
)

func TestDiscovery(t *testing.T) {
	var targets []*target.Target
	for i := range 300 { // a list that takes several PDUs
		targets = append(targets, &target.Target{Name: fmt.Sprintf("iqn.2001-04.com.example:disk%d", i)})
	}
	targets[7].AllowedInitiators = []string{"iqn.2001-04.com.example:nobody"}
	addr, _ := serve(t, target.Config{Targets: targets})
	for _, limit := range []int{512, 8192, 262144} {
		c := connect(t, addr, discovering, offering(func(o *iscsi.Offer) { o.MaxRecvDataSegmentLength = limit }))
		records := c.sendTargets("All", limit)
		if len(records) != 299 || records[0].Name != "iqn.2001-04.com.example:disk0" {
			t.Errorf("%d targets, the first %+v", len(records), records[0])
		}
		for _, r := range records {
			if r.Name == targets[7].Name {
				t.Errorf("%s is told of to an initiator that it is not for", r.Name)
			}
			if len(r.Addresses) != 1 || r.Addresses[0].HostPort() != addr || r.Addresses[0].Tag != 1 {
				t.Errorf("%s at %v, want %s,1", r.Name, r.Addresses, addr)
			}
		}
		if records = c.sendTargets(targets[3].Name, limit); len(records) != 1 || records[0].Name != targets[3].Name {
			t.Errorf("one target asked for: %v", records)
		}
		for _, name := range []string{targets[7].Name, "iqn.2001-04.com.example:none"} {
			if records = c.sendTargets(name, limit); len(records) != 0 {
				t.Errorf("%s: %v", name, records)
			}
		}
		c.rejectsCommands()
	}
}

// rejectsCommands expects a SCSI command to be rejected in a discovery session, and
// the session to go on.
func (c *client) rejectsCommands() {
	c.t.Helper()
	cmd := c.newCommand(scsi.TestUnitReadyCDB(), 0, 0)
	var b iscsi.BHS
	cmd.Encode(&b)
	c.sendRaw(&b, nil)
	c.expectReject(iscsi.RejectProtocolError, &b)
	c.ping()
}

// text carries on a text exchange until its end and returns the answer.
func (c *client) text(text iscsi.Text, segment int) []byte {
	c.t.Helper()
	var in []byte
	ttt := iscsi.ReservedTag
	out := iscsi.NewTextSplitter(text.Append(nil), segment)
	for {
		data, more := out.Next()
		c.send(&iscsi.TextRequest{Final: !more, Continue: more, ITT: c.itt, TTT: ttt, CmdSN: c.cmdSN, ExpStatSN: c.exp}, data)
		c.cmdSN++
		var p iscsi.TextResponse
		got := c.expect(&p)
		in = append(in, got...)
		if p.ITT != c.itt || p.Final != (p.TTT == iscsi.ReservedTag) {
			c.t.Fatalf("text response %+v to task %d", p, c.itt)
		}
		if p.Final {
			c.itt++
			return in
		}
		ttt = p.TTT
	}
}

func (c *client) sendTargets(value string, limit int) []iscsi.TargetRecord {
	c.t.Helper()
	records, err := iscsi.ParseTargets(c.text(iscsi.Text{{Key: "SendTargets", Value: value}}, limit))
	if err != nil {
		c.t.Fatal(err)
	}
	return records
}

// TestTextsCountAsMemory leaves text exchanges unfinished: what they hold counts, is
// refused when memory is short, and comes back.
func TestTextsCountAsMemory(t *testing.T) {
	var targets []*target.Target
	for i := range 1000 {
		targets = append(targets, &target.Target{Name: fmt.Sprintf("iqn.2001-04.com.example:disk%d", i)})
	}
	addr, srv := serve(t, target.Config{Targets: targets, MemoryLimit: 200 << 10})
	ask := iscsi.Text{{Key: "SendTargets", Value: "All"}}.Append(nil)
	refused := 0
	var clients []*client
	for i := range 8 {
		c := connect(t, addr, discovering, withISID(uint16(i+1)), offering(func(o *iscsi.Offer) { o.MaxRecvDataSegmentLength = 512 }))
		clients = append(clients, c)
		c.send(&iscsi.TextRequest{Final: true, ITT: c.itt, TTT: iscsi.ReservedTag, CmdSN: c.cmdSN, ExpStatSN: c.exp}, ask)
		if b, _ := c.recv(); b.Opcode() == iscsi.OpReject {
			refused++
		}
	}
	most := srv.MemoryInUse()
	if refused == 0 || most < 200<<10 || most > 400<<10 {
		t.Errorf("%d of 8 lists refused, %d bytes in use", refused, most)
	}
	for _, c := range clients {
		c.nc.Close()
	}
	for srv.MemoryInUse() > 0 {
		time.Sleep(time.Millisecond)
	}
}

func TestText(t *testing.T) {
	c := connect(t, serveDisk(t, store.NewMemory(diskSize))).ready()
	for _, tc := range []struct{ ask, want string }{
		{"SendTargets=", "TargetName=" + testTarget},
		{"SendTargets=" + testTarget, "TargetName=" + testTarget},
		{"SendTargets=All", "SendTargets=Reject"},
		{"X-com.example.colour=blue", "X-com.example.colour=NotUnderstood"},
		{"MaxBurstLength=512", "MaxBurstLength=Reject"},
		{"MaxRecvDataSegmentLength=1", "MaxRecvDataSegmentLength=Reject"},
		{"MaxRecvDataSegmentLength=4096", ""},
		{"X-com.example.long=" + strings.Repeat("x", 255), "X-com.example.long=NotUnderstood"},
	} {
		for _, segment := range []int{8192, 16} { // 16: in many requests
			key, value, _ := strings.Cut(tc.ask, "=")
			got := string(c.text(iscsi.Text{{Key: key, Value: value}}, segment))
			if got, _, _ = strings.Cut(got, "\x00"); got != tc.want {
				t.Errorf("%s: %q, want %q", tc.ask, got, tc.want)
			}
		}
	}
	if r := c.good(transfer(scsi.OpRead10, 0, 17), 17*512, nil); len(r.dataIns) != 3 {
		t.Errorf("%d Data-Ins for 17 blocks, want 3 of at most 4096 bytes", len(r.dataIns))
	}
	c.send(&iscsi.TextRequest{Final: true, ITT: 9, TTT: 4711, CmdSN: c.cmdSN}, nil)
	c.cmdSN++
	var p iscsi.Reject
	if c.expect(&p); p.Reason != iscsi.RejectProtocolError {
		t.Errorf("a text request that continues nothing: %v", p.Reason)
	}
	c.ping()
}
