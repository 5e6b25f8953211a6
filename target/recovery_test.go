package target_test

import (
	"bytes"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bootlun/bootlun/iscsi"
	"github.com/bootlun/bootlun/scsi"
	"github.com/bootlun/bootlun/target"
	"github.com/bootlun/bootlun/target/store"
)

// recovering serves a disk with every error recovery level.
func recovering(t *testing.T, s store.Store) (addr string) {
	t.Helper()
	addr, _ = serve(t, target.Config{
		Targets: []*target.Target{disk(s)}, Offer: iscsi.Offer{ErrorRecoveryLevel: 2},
	})
	return addr
}

// level asks for an error recovery level, several connections and segments of
// 64 KiB in bursts of 256 KiB.
func level(n int) loginOption {
	return offering(func(o *iscsi.Offer) {
		o.ErrorRecoveryLevel, o.MaxConnections, o.DefaultTime2Retain = n, 8, 20
		o.MaxRecvDataSegmentLength, o.MaxBurstLength = 64<<10, 256<<10
	})
}

// snack asks for something again.
func (c *client) snack(p iscsi.SNACK) *iscsi.BHS {
	c.t.Helper()
	p.ExpStatSN = c.exp
	var b iscsi.BHS
	p.Encode(&b)
	c.sendRaw(&b, nil)
	return &b
}

// recvRaw is recv without a look at the StatSN.
func (c *client) recvRaw() (*iscsi.BHS, []byte) {
	c.t.Helper()
	_ = c.nc.SetReadDeadline(time.Now().Add(patience))
	b := new(iscsi.BHS)
	data, err := c.conn.ReadPDU(b)
	if err != nil {
		c.t.Fatalf("no PDU: %v", err)
	}
	return b, data
}

func TestStatusSNACK(t *testing.T) {
	c := connect(t, recovering(t, store.NewMemory(diskSize)), level(1)).ready()
	first, acknowledged := c.exp, c.exp
	var sent []iscsi.BHS
	for range 3 {
		p := c.newCommand(scsi.TestUnitReadyCDB(), 0, 0)
		p.ExpStatSN = acknowledged
		c.send(&p, nil)
		b, _ := c.recv()
		sent = append(sent, *b)
	}
	last := c.exp
	c.exp = first // so that the SNACKs do not acknowledge what they ask for
	for _, tc := range []struct{ from, n, want uint32 }{{first + 1, 1, 1}, {first, 0, 3}, {0, 0, 3}, {first + 1, 2, 2}} {
		c.snack(iscsi.SNACK{Type: iscsi.SNACKStatus, ITT: iscsi.ReservedTag, TTT: iscsi.ReservedTag, BegRun: tc.from, RunLength: tc.n})
		at := max(tc.from, first) - first
		for i := range tc.want {
			b, _ := c.recvRaw()
			if b.StatSN() != first+at+i {
				t.Errorf("StatSN %d, want %d", b.StatSN(), first+at+i)
			}
			b.SetResponseSN(first+at+i, sent[at+i].ExpCmdSN(), sent[at+i].MaxCmdSN()) // the window is today's
			if *b != sent[at+i] {
				t.Errorf("SNACK %+v: %x, want %x", tc, b[:], sent[at+i][:])
			}
		}
	}
	c.exp = last
	for _, from := range []uint32{first, last + 1} { // acknowledged; not sent yet
		c.expectReject(iscsi.RejectProtocolError, c.snack(iscsi.SNACK{Type: iscsi.SNACKStatus, BegRun: from, RunLength: 1}))
	}
	c.good(scsi.TestUnitReadyCDB(), 0, nil)
}

// readUnacknowledged carries out a read whose status is not acknowledged, and
// returns the Data-In PDUs with their data.
func (c *client) readUnacknowledged(cmd *iscsi.SCSICommand) (ins []iscsi.DataIn, data [][]byte, resp iscsi.SCSIResponse) {
	c.t.Helper()
	c.send(cmd, nil)
	for {
		b, d := c.recvRaw()
		if b.Opcode() == iscsi.OpSCSIResponse {
			_ = resp.Decode(b)
			return ins, data, resp
		}
		var p iscsi.DataIn
		if err := p.Decode(b); err != nil {
			c.t.Fatal(err)
		}
		if p.HasStatus {
			c.t.Error("the status comes with data, which cannot be asked for again alone")
		}
		ins, data = append(ins, p), append(data, bytes.Clone(d))
	}
}

func TestDataSNACK(t *testing.T) {
	disk := store.NewMemory(diskSize)
	content := pattern(1<<20, 3)
	if _, err := disk.WriteAt(content, 0); err != nil {
		t.Fatal(err)
	}
	c := connect(t, recovering(t, disk), level(1)).ready()
	for _, cmd := range []iscsi.SCSICommand{
		c.newCommand(transfer(scsi.OpRead16, 0, 2048), 1<<20, 0),
		c.newCommand(scsi.Inquiry{VPD: true, Page: 0x83, Length: 255}.CDB(), 255, 0),
	} {
		ins, data, resp := c.readUnacknowledged(&cmd)
		if n := uint32(len(ins)); resp.ExpDataSN != n {
			t.Errorf("ExpDataSN %d after %d Data-In", resp.ExpDataSN, n)
		}
		for i := range ins {
			c.snack(iscsi.SNACK{Type: iscsi.SNACKDataR2T, ITT: cmd.ITT, TTT: iscsi.ReservedTag, BegRun: uint32(i), RunLength: 1})
			var p iscsi.DataIn
			b, again := c.recvRaw()
			b.SetResponseSN(ins[i].StatSN, ins[i].ExpCmdSN, ins[i].MaxCmdSN) // the window is today's
			_ = p.Decode(b)
			if p != ins[i] || !bytes.Equal(again, data[i]) {
				t.Errorf("Data-In %d again: %+v, want %+v", i, p, ins[i])
			}
			if p.Acknowledge != (p.Final && i != len(ins)-1) {
				t.Errorf("Data-In %d: %+v", i, p)
			}
		}
		if len(ins) > 4 { // all from one on
			c.snack(iscsi.SNACK{Type: iscsi.SNACKDataR2T, ITT: cmd.ITT, TTT: iscsi.ReservedTag, BegRun: 2})
			for i := 2; i < len(ins); i++ {
				if b, again := c.recvRaw(); b.Opcode() != iscsi.OpDataIn || !bytes.Equal(again, data[i]) {
					t.Errorf("Data-In %d again: %v", i, b)
				}
			}
			tag := ins[3].TTT // the end of the first burst
			c.snack(iscsi.SNACK{Type: iscsi.SNACKDataACK, ITT: iscsi.ReservedTag, TTT: tag, BegRun: 4})
			c.expectLateReject(iscsi.RejectProtocolError, c.snack(iscsi.SNACK{Type: iscsi.SNACKDataR2T, ITT: cmd.ITT, BegRun: 3, RunLength: 1}))
			c.expectLateReject(iscsi.RejectInvalidDataACK, c.snack(iscsi.SNACK{Type: iscsi.SNACKDataACK, TTT: tag, BegRun: 99}))
		}
		c.exp = max(c.exp, resp.StatSN+1)
		c.ping() // acknowledges
		c.expectReject(iscsi.RejectProtocolError, c.snack(iscsi.SNACK{Type: iscsi.SNACKDataR2T, ITT: cmd.ITT, RunLength: 1}))
	}
}

// expectLateReject is expectReject without a look at the StatSN.
func (c *client) expectLateReject(reason iscsi.RejectReason, sent *iscsi.BHS) {
	c.t.Helper()
	b, data := c.recvRaw()
	var p iscsi.Reject
	if err := p.Decode(b); err != nil || p.Reason != reason {
		c.t.Errorf("%+v, %v", p, err)
	}
	if refused, err := iscsi.RejectedHeader(data); err != nil || refused != *sent {
		c.t.Errorf("the rejected header is %x (%v), want %x", refused, err, *sent)
	}
	c.exp = p.StatSN + 1
}

// TestRDataSNACK asks for data again after the initiator has come to take less at
// a time.
func TestRDataSNACK(t *testing.T) {
	disk := store.NewMemory(diskSize)
	content := pattern(512<<10, 3)
	if _, err := disk.WriteAt(content, 0); err != nil {
		t.Fatal(err)
	}
	c := connect(t, recovering(t, disk), level(1)).ready()
	cmd := c.newCommand(transfer(scsi.OpRead16, 0, 1024), len(content), 0)
	ins, _, before := c.readUnacknowledged(&cmd)
	c.snack(iscsi.SNACK{Type: iscsi.SNACKDataACK, ITT: iscsi.ReservedTag, TTT: ins[3].TTT, BegRun: 4})
	c.send(&iscsi.TextRequest{Immediate: true, Final: true, ITT: 900, TTT: iscsi.ReservedTag, CmdSN: c.cmdSN, ExpStatSN: before.StatSN},
		iscsi.Text{{Key: "MaxRecvDataSegmentLength", Value: "4096"}}.Append(nil))
	if b, _ := c.recvRaw(); b.Opcode() != iscsi.OpTextResponse {
		t.Fatalf("received %v", b)
	}
	c.exp = before.StatSN
	c.snack(iscsi.SNACK{Type: iscsi.SNACKRData, ITT: cmd.ITT, TTT: 0x4711})
	var again []byte
	for sn := uint32(4); ; sn++ {
		b, data := c.recvRaw()
		if b.Opcode() == iscsi.OpSCSIResponse {
			var p iscsi.SCSIResponse
			_ = p.Decode(b)
			if p.SNACKTag != 0x4711 || p.StatSN != before.StatSN || p.ExpDataSN != sn || p.Status != 0 || p.Underflow {
				t.Errorf("response %+v, before %+v", p, before)
			}
			break
		}
		var p iscsi.DataIn
		_ = p.Decode(b)
		if len(data) > 4096 || p.DataSN != sn || int(p.BufferOffset) != 256<<10+len(again) {
			t.Errorf("%d bytes with %+v", len(data), p)
		}
		again = append(again, data...)
	}
	if !bytes.Equal(again, content[256<<10:]) {
		t.Errorf("%d bytes again, not those that were not acknowledged", len(again))
	}
	c.exp = before.StatSN + 2
	c.good(scsi.TestUnitReadyCDB(), 0, nil)
}

// TestRDataSNACKUnderWay has the R-Data SNACK come before the response.
func TestRDataSNACKUnderWay(t *testing.T) {
	g := newGated(store.NewMemory(diskSize))
	c := connect(t, recovering(t, g), level(1)).ready()
	cmd := c.newCommand(transfer(scsi.OpRead16, 0, 1), 512, 0)
	c.send(&cmd, nil)
	<-g.entered
	c.snack(iscsi.SNACK{Type: iscsi.SNACKRData, ITT: cmd.ITT, TTT: 0x4711})
	c.ping()
	close(g.gate)
	var in iscsi.DataIn
	var resp iscsi.SCSIResponse
	for range 2 { // once by the command, once again
		c.expect(&in)
	}
	if c.expect(&resp); resp.SNACKTag != 0x4711 {
		t.Errorf("response %+v", resp)
	}
}

// TestRecoveryR2T damages Data-Out PDUs, asked for and not: the target asks for
// them again.
func TestRecoveryR2T(t *testing.T) {
	both := offering(func(o *iscsi.Offer) { o.HeaderDigest, o.DataDigest = iscsi.DigestRequire, iscsi.DigestRequire })
	for name, option := range map[string]loginOption{"unasked": func(*iscsi.InitiatorConfig) {}, "asked for": allByR2T} {
		t.Run(name, func(t *testing.T) {
			c := connect(t, recovering(t, store.NewMemory(diskSize)), level(1), both, option).ready()
			out := pattern(32<<10, 6)
			cmd := c.newCommand(transfer(scsi.OpWrite10, 0, 64), 0, len(out))
			cmd.Final = c.res.Params.InitialR2T
			c.send(&cmd, nil)
			tag := iscsi.ReservedTag
			var r2t iscsi.R2T
			if cmd.Final {
				c.expect(&r2t)
				tag = r2t.TTT
			}
			const n = 4096
			for sn := range 8 {
				p := iscsi.DataOut{Final: sn == 7, ITT: cmd.ITT, TTT: tag, DataSN: uint32(sn), BufferOffset: uint32(sn * n)}
				data := out[sn*n:][:n]
				if sn == 2 || sn == 3 || sn == 7 {
					c.spoil(&p, data, 100)
					var rej iscsi.Reject
					if c.expect(&rej); rej.Reason != iscsi.RejectDataDigest {
						t.Errorf("%+v", rej)
					}
				} else {
					c.send(&p, data)
				}
			}
			for i, want := range []struct{ off, n uint32 }{{2 * n, 2 * n}, {7 * n, n}} {
				var again iscsi.R2T
				if c.expect(&again); again.BufferOffset != want.off || again.DesiredLength != want.n {
					t.Errorf("R2T %+v, want %+v", again, want)
				}
				if cmd.Final && again.R2TSN != r2t.R2TSN+1+uint32(i) {
					t.Errorf("R2TSN %d", again.R2TSN)
				}
				c.dataOut(&cmd, again.TTT, out, int(want.off), int(want.off+want.n))
			}
			if r := c.finish(&cmd, out); r.status != scsi.StatusGood {
				t.Error(r.status, r.sense)
			}
			if r := c.good(transfer(scsi.OpRead10, 0, 64), len(out), nil); !bytes.Equal(r.data, out) {
				t.Error("the medium does not have what was written")
			}
		})
	}
}

// TestR2TAgain asks for an R2T again by a SNACK.
func TestR2TAgain(t *testing.T) {
	c := connect(t, recovering(t, store.NewMemory(diskSize)), level(1), allByR2T).ready()
	cmd, r2t := c.openWrite(0)
	c.snack(iscsi.SNACK{Type: iscsi.SNACKDataR2T, ITT: cmd.ITT, BegRun: r2t.R2TSN, RunLength: 1})
	var again iscsi.R2T
	if c.expect(&again); again != r2t {
		t.Errorf("R2T %+v, want %+v", again, r2t)
	}
	c.dataOut(&cmd, again.TTT, pattern(512, 1), 0, 512)
	if r := c.finish(&cmd, nil); r.status != scsi.StatusGood {
		t.Error(r.status)
	}
}

// TestCommandRetry damages a command's data: the command is as if it had not
// come, and is sent again with its CmdSN.
func TestCommandRetry(t *testing.T) {
	both := offering(func(o *iscsi.Offer) { o.DataDigest, o.HeaderDigest = iscsi.DigestRequire, iscsi.DigestRequire })
	c := connect(t, recovering(t, store.NewMemory(diskSize)), level(1), both).ready()
	cmd := c.newCommand(transfer(scsi.OpWrite10, 0, 1), 0, 512)
	c.spoil(&cmd, pattern(512, 4), 80)
	var rej iscsi.Reject
	if c.expect(&rej); rej.Reason != iscsi.RejectDataDigest || rej.ExpCmdSN != cmd.CmdSN {
		t.Errorf("%+v", rej)
	}
	for range 2 { // the second one is a duplicate
		cmd.ExpStatSN = c.exp
		c.send(&cmd, pattern(512, 4))
	}
	if r := c.finish(&cmd, nil); r.status != scsi.StatusGood {
		t.Error(r.status)
	}
	if r := c.good(transfer(scsi.OpRead10, 0, 1), 512, nil); !bytes.Equal(r.data, pattern(512, 4)) {
		t.Error("the medium does not have what was written")
	}
}

// TestUnacknowledged takes responses and never says so.
func TestUnacknowledged(t *testing.T) {
	addr, _ := serve(t, target.Config{
		Targets: []*target.Target{disk(store.NewMemory(diskSize))}, Offer: iscsi.Offer{ErrorRecoveryLevel: 1}, QueueDepth: 4,
	})
	c := connect(t, addr, level(1))
	go func() {
		for {
			p := iscsi.NOPOut{Immediate: true, ITT: 1, TTT: iscsi.ReservedTag, CmdSN: c.cmdSN}
			var b iscsi.BHS
			p.Encode(&b)
			if _, err := c.nc.Write(b[:]); err != nil {
				return
			}
		}
	}()
	c.drain()
}

// reassign takes a task over.
func (c *client) reassign(cmd *iscsi.SCSICommand, expDataSN uint32) iscsi.TaskResponse {
	c.t.Helper()
	return c.manage(iscsi.TaskReassign, func(p *iscsi.TaskManagementRequest) {
		p.ReferencedITT, p.ExpDataSN = cmd.ITT, expDataSN
	})
}

// TestReassign loses a connection with tasks in several states, and goes on with
// them on another.
func TestReassign(t *testing.T) {
	for name, rejoin := range map[string]func(a *client, addr string, after func()) *client{
		"reinstated": func(a *client, addr string, after func()) *client {
			b := connect(a.t, addr, a.joining(0), level(2))
			after()
			return b
		},
		"closed": func(a *client, addr string, after func()) *client {
			b := connect(a.t, addr, a.joining(1), level(2))
			a.nc.Close()
			after()
			return b
		},
		"logged out for recovery": func(a *client, addr string, after func()) *client {
			b := connect(a.t, addr, a.joining(1), level(2))
			b.send(&iscsi.LogoutRequest{Immediate: true, Reason: iscsi.LogoutRecovery, CID: 0, ITT: 800, CmdSN: a.cmdSN, ExpStatSN: b.exp}, nil)
			after()
			var p iscsi.LogoutResponse
			if b.expect(&p); p.Response != iscsi.LogoutClosed || p.Time2Retain != 20 {
				b.t.Errorf("%+v", p)
			}
			return b
		},
	} {
		t.Run(name, func(t *testing.T) { testReassign(t, rejoin) })
	}
}

func testReassign(t *testing.T, rejoin func(a *client, addr string, after func()) *client) {
	mem := store.NewMemory(diskSize)
	content := pattern(512<<10, 7)
	if _, err := mem.WriteAt(content, 0); err != nil {
		t.Fatal(err)
	}
	addr := recovering(t, mem)
	a := connect(t, addr, level(2), allByR2T).ready()

	answered := a.newCommand(transfer(scsi.OpRead16, 0, 1024), len(content), 0)
	ins, _, _ := a.readUnacknowledged(&answered)
	write := a.newCommand(transfer(scsi.OpWrite10, 4096, 16), 0, 8192)
	a.send(&write, nil)
	var r2t iscsi.R2T
	b, _ := a.recvRaw()
	_ = r2t.Decode(b)
	out := pattern(8192, 8)
	a.send(&iscsi.DataOut{ITT: write.ITT, TTT: r2t.TTT}, out[:4096])
	ordered := a.newCommand(scsi.TestUnitReadyCDB(), 0, 0) // waits for the write
	ordered.Attribute = iscsi.Ordered
	a.send(&ordered, nil)
	a.send(&iscsi.NOPOut{Immediate: true, ITT: 700, TTT: iscsi.ReservedTag, CmdSN: a.cmdSN, ExpStatSN: a.exp}, nil)
	if b, _ := a.recvRaw(); b.Opcode() != iscsi.OpNOPIn { // so it has all come
		t.Fatal(b)
	}

	c := rejoin(a, addr, func() {})
	c.cmdSN, c.itt = a.cmdSN, 5000
	for c.reassign(&answered, uint32(len(ins)-2)) == iscsi.TaskStillAllegiant {
		time.Sleep(time.Millisecond) // the loss may not have been noticed
	}
	r := result{}
	for i := range 2 {
		var p iscsi.DataIn
		data := c.expect(&p)
		if want := ins[len(ins)-2+i]; p.DataSN != want.DataSN || p.BufferOffset != want.BufferOffset {
			t.Errorf("%+v, want %+v", p, want)
		}
		r.data = append(r.data, data...)
	}
	if !bytes.Equal(r.data, content[len(content)-len(r.data):]) {
		t.Error("the data is not that of the read")
	}
	var resp iscsi.SCSIResponse
	if c.expect(&resp); resp.ITT != answered.ITT || resp.Status != 0 || resp.ExpDataSN != uint32(len(ins)) {
		t.Errorf("%+v", resp)
	}

	if r := c.reassign(&ordered, 0); r != iscsi.TaskFunctionComplete {
		t.Errorf("reassign: %v", r)
	}
	if r := c.reassign(&write, 0); r != iscsi.TaskFunctionComplete {
		t.Errorf("reassign: %v", r)
	}
	var again iscsi.R2T
	if c.expect(&again); again.BufferOffset != 4096 || again.DesiredLength != 4096 || again.R2TSN != r2t.R2TSN {
		t.Errorf("%+v, before %+v", again, r2t)
	}
	c.dataOut(&write, again.TTT, out, 4096, 8192)
	for _, cmd := range []*iscsi.SCSICommand{&write, &ordered} {
		if r := c.finish(cmd, out); r.status != scsi.StatusGood {
			t.Error(r.status, r.sense)
		}
	}
	if r := c.good(transfer(scsi.OpRead10, 4096, 16), 8192, nil); !bytes.Equal(r.data, out) {
		t.Error("the medium does not have what was written")
	}
	if r := c.reassign(&write, 0); r != iscsi.TaskDoesNotExist {
		t.Errorf("reassign of what has ended: %v", r)
	}
}

// TestReassignRunning loses the connection while the store works on a read and a
// write.
func TestReassignRunning(t *testing.T) {
	g := newGated(store.NewMemory(diskSize))
	addr := recovering(t, g)
	a := connect(t, addr, level(2)).ready()
	read := a.newCommand(transfer(scsi.OpRead16, 0, 64), 64*512, 0)
	a.send(&read, nil)
	write := a.newCommand(transfer(scsi.OpWrite10, 4096, 1), 0, 512)
	a.send(&write, pattern(512, 1))
	<-g.entered
	<-g.entered
	a.nc.Close()
	close(g.gate)
	c := connect(t, addr, a.joining(0), level(2))
	c.cmdSN, c.itt = a.cmdSN, 5000
	for _, cmd := range []*iscsi.SCSICommand{&read, &write} {
		if r := c.reassign(cmd, 0); r != iscsi.TaskFunctionComplete {
			t.Errorf("reassign: %v", r)
		}
		if r := c.finish(cmd, nil); r.status != scsi.StatusGood || len(r.data) != 0 && len(r.data) != 64*512 {
			t.Errorf("%v with %d bytes", r.status, len(r.data))
		}
	}
}

func TestReassignRefused(t *testing.T) {
	addr := recovering(t, store.NewMemory(diskSize))
	for n, want := range []iscsi.TaskResponse{iscsi.TaskReassignNotSupported, iscsi.TaskReassignNotSupported, iscsi.TaskStillAllegiant} {
		a := connect(t, addr, level(n), allByR2T).ready()
		b := connect(t, addr, a.joining(1), level(n))
		cmd, _ := a.openWrite(0)
		b.cmdSN, b.itt = a.cmdSN, 5000
		if r := b.reassign(&cmd, 0); r != want {
			t.Errorf("level %d: %v, want %v", n, r, want)
		}
		b.send(&iscsi.LogoutRequest{Immediate: true, Reason: iscsi.LogoutRecovery, CID: 0, ITT: 800, CmdSN: b.cmdSN, ExpStatSN: b.exp}, nil)
		var p iscsi.LogoutResponse
		if b.expect(&p); (p.Response == iscsi.LogoutClosed) != (n == 2) {
			t.Errorf("level %d: logout: %v", n, p.Response)
		}
	}
}

// TestRetain expects a session without a connection to wait for one as long as it
// has promised, and no longer.
func TestRetain(t *testing.T) {
	for name, tc := range map[string]struct {
		after time.Duration
		want  iscsi.LoginStatus
	}{"in time": {20 * time.Second, iscsi.StatusSuccess}, "too late": {24 * time.Second, iscsi.StatusSessionDoesNotExist}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv, err := target.New(target.Config{
					Targets: []*target.Target{disk(store.NewMemory(diskSize))}, LogoutTimeout: -1,
					Offer: iscsi.Offer{ErrorRecoveryLevel: 2, DefaultTime2Wait: 3},
				})
				if err != nil {
					t.Fatal(err)
				}
				l := newPipes()
				serveOn(t, srv, l)
				a := l.login(t, level(2), allByR2T).ready()
				cmd, _ := a.openWrite(0)
				a.nc.Close()
				time.Sleep(tc.after)
				b, err := loginOn(t, l.dial(), a.joining(0), level(2))
				if tc.want != iscsi.StatusSuccess {
					expectStatus(t, err, tc.want)
					if n := len(srv.Sessions()); n != 0 {
						t.Errorf("%d sessions", n)
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				b.cmdSN, b.itt = a.cmdSN, 5000
				if r := b.reassign(&cmd, 0); r != iscsi.TaskFunctionComplete {
					t.Error(r)
				}
				b.expect(&iscsi.R2T{})
			})
		})
	}
}
