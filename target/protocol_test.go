package target_test

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"github.com/bootlun/bootlun/iscsi"
	"github.com/bootlun/bootlun/scsi"
	"github.com/bootlun/bootlun/target"
	"github.com/bootlun/bootlun/target/store"
)

func TestPing(t *testing.T) {
	c := connect(t, serveDisk(t, store.NewMemory(diskSize)))
	for _, n := range []int{0, 1, 3, 4096, 100000} {
		data := pattern(n, 3)
		c.send(&iscsi.NOPOut{ITT: c.itt, TTT: iscsi.ReservedTag, CmdSN: c.cmdSN, ExpStatSN: c.exp}, data)
		c.cmdSN++
		var p iscsi.NOPIn
		got := c.expect(&p)
		if !bytes.Equal(got, data) || p.ITT != c.itt || p.TTT != iscsi.ReservedTag {
			t.Errorf("%d bytes: %+v with %d bytes", n, p, len(got))
		}
		if p.ExpCmdSN != c.cmdSN {
			t.Errorf("ExpCmdSN %d, want %d", p.ExpCmdSN, c.cmdSN)
		}
	}
	c.send(&iscsi.NOPOut{Immediate: true, ITT: iscsi.ReservedTag, TTT: iscsi.ReservedTag, CmdSN: c.cmdSN}, nil) // wants no answer
	c.ping()
}

// TestRejects sends what a target does not take.
func TestRejects(t *testing.T) {
	header := func(p iscsi.PDU) (b iscsi.BHS) {
		p.Encode(&b)
		return b
	}
	withOpcode := func(op byte) (b iscsi.BHS) {
		b[0] = op
		return b
	}
	for name, tc := range map[string]struct {
		header iscsi.BHS
		n      int
		reason iscsi.RejectReason
		ends   bool
	}{
		"SNACK":           {header(&iscsi.SNACK{Type: iscsi.SNACKStatus}), 0, iscsi.RejectSNACK, false},
		"unknown opcode":  {withOpcode(0x1f), 12, iscsi.RejectNotSupported, false},
		"target's opcode": {header(&iscsi.DataIn{}), 100, iscsi.RejectNotSupported, false},
		"login":           {header(&iscsi.LoginRequest{}), 0, iscsi.RejectProtocolError, true},
		"too long":        {header(&iscsi.NOPOut{Immediate: true}), 262144 + 1, iscsi.RejectProtocolError, true},
	} {
		t.Run(name, func(t *testing.T) {
			c := connect(t, serveDisk(t, store.NewMemory(diskSize)))
			if tc.ends && tc.n > 0 {
				tc.header.SetDataSegmentLength(tc.n) // which will not be sent
				if _, err := c.nc.Write(tc.header[:]); err != nil {
					t.Fatal(err)
				}
			} else {
				c.sendRaw(&tc.header, make([]byte, tc.n))
			}
			c.expectReject(tc.reason, &tc.header)
			if tc.ends {
				c.expectClosed()
				return
			}
			c.ping()
		})
	}
}

// TestCmdSN sends commands twice, out of order and out of the window.
func TestCmdSN(t *testing.T) {
	addr, _ := serve(t, target.Config{Targets: []*target.Target{disk(store.NewMemory(diskSize))}, QueueDepth: 8})
	c := connect(t, addr).ready()
	first := c.cmdSN
	nop := func(sn uint32, itt uint32) {
		c.send(&iscsi.NOPOut{ITT: itt, TTT: iscsi.ReservedTag, CmdSN: sn, ExpStatSN: c.exp}, []byte(fmt.Sprint(itt)))
	}
	// Too high, too low, all twice, and the others in the wrong order.
	for _, off := range []int32{8, 100, -1, -100, 1 << 30, 3, 3, 2, 1, 3, 7} {
		nop(first+uint32(off), 1000+uint32(off))
	}
	nop(first, 1000) // now 0 to 3 are due
	for i := range uint32(4) {
		var p iscsi.NOPIn
		data := c.expect(&p)
		if p.ITT != 1000+i || string(data) != fmt.Sprint(1000+i) {
			t.Fatalf("answer to task %d with %q, want %d", p.ITT, data, 1000+i)
		}
	}
	nop(first+1, 2001) // a duplicate of what has been done
	for i := uint32(4); i < 7; i++ {
		nop(first+i, 1000+i)
	}
	for i := uint32(4); i < 8; i++ {
		var p iscsi.NOPIn
		if c.expect(&p); p.ITT != 1000+i {
			t.Fatalf("answer to task %d, want %d", p.ITT, 1000+i)
		}
		if p.ExpCmdSN != first+8 && p.ExpCmdSN != p.MaxCmdSN-7 && i == 7 {
			t.Errorf("window %d..%d after command %d", p.ExpCmdSN, p.MaxCmdSN, first+7)
		}
	}
	c.cmdSN = first + 8
	c.ping()
}

// TestWindow expects the window to close as commands are outstanding, and to
// open as they end.
func TestWindow(t *testing.T) {
	g := newGated(store.NewMemory(diskSize))
	addr, _ := serve(t, target.Config{Targets: []*target.Target{disk(g)}, QueueDepth: 4})
	c := connect(t, addr).ready()
	first := c.cmdSN
	for range 4 {
		p := c.newCommand(transfer(scsi.OpRead10, 0, 1), 512, 0)
		c.send(&p, nil)
	}
	c.send(&iscsi.NOPOut{Immediate: true, ITT: 99, TTT: iscsi.ReservedTag, CmdSN: c.cmdSN, ExpStatSN: c.exp}, nil)
	var p iscsi.NOPIn
	if c.expect(&p); p.ExpCmdSN != first+4 || p.MaxCmdSN != first+3 {
		t.Errorf("window %d..%d, want it closed: %d..%d", p.ExpCmdSN, p.MaxCmdSN, first+4, first+3)
	}
	close(g.gate)
	for i := range uint32(4) {
		var p iscsi.DataIn
		if c.expect(&p); p.MaxCmdSN != first+4+i {
			t.Errorf("MaxCmdSN %d after %d commands, want %d", p.MaxCmdSN, i+1, first+4+i)
		}
	}
}

// TestImmediateCommands takes commands outside of the window, up to a number.
func TestImmediateCommands(t *testing.T) {
	g := newGated(store.NewMemory(diskSize))
	addr, _ := serve(t, target.Config{Targets: []*target.Target{disk(g)}, QueueDepth: 2})
	c := connect(t, addr).ready()
	var b iscsi.BHS
	for i := range 3 {
		p := c.newCommand(transfer(scsi.OpRead10, 0, 1), 512, 0)
		p.Immediate = true
		c.cmdSN--
		p.CmdSN = c.cmdSN
		p.ITT = uint32(100 + i)
		p.Encode(&b)
		c.sendRaw(&b, nil)
	}
	c.expectReject(iscsi.RejectTooManyImmediate, &b)
	close(g.gate)
	for range 2 {
		c.expect(&iscsi.DataIn{})
	}
	c.good(scsi.TestUnitReadyCDB(), 0, nil)
}

func TestTaskTagInUse(t *testing.T) {
	g := newGated(store.NewMemory(diskSize))
	c := connect(t, serveDisk(t, g)).ready()
	p := c.newCommand(transfer(scsi.OpRead10, 0, 1), 512, 0)
	c.send(&p, nil)
	q := c.newCommand(scsi.TestUnitReadyCDB(), 0, 0)
	q.ITT = p.ITT
	var b iscsi.BHS
	q.Encode(&b)
	c.sendRaw(&b, nil)
	c.expectReject(iscsi.RejectTaskInProgress, &b)
	close(g.gate)
	if r := c.finish(&p, nil); r.status != scsi.StatusGood {
		t.Errorf("the first command: %v", r.status)
	}
}

func TestMalformedAHS(t *testing.T) {
	c := connect(t, serveDisk(t, store.NewMemory(diskSize))).ready()
	p := c.newCommand(scsi.TestUnitReadyCDB(), 0, 0)
	var b iscsi.BHS
	p.Encode(&b)
	if err := c.conn.WritePDU(&b, []byte{0xff, 0xff, 1, 0}); err != nil {
		t.Fatal(err)
	}
	if err := c.conn.Flush(); err != nil {
		t.Fatal(err)
	}
	c.expectReject(iscsi.RejectInvalidField, &b)
	c.good(scsi.TestUnitReadyCDB(), 0, nil)
}

// spoil sends a PDU with one bit of it wrong.
func (c *client) spoil(p iscsi.PDU, data []byte, at int) {
	c.t.Helper()
	var wire bytes.Buffer
	w := iscsi.NewConn(&wire)
	w.SetDigests(true, true)
	var b iscsi.BHS
	p.Encode(&b)
	if err := errors.Join(w.WritePDU(&b, nil, data), w.Flush()); err != nil {
		c.t.Fatal(err)
	}
	wire.Bytes()[at] ^= 0x10
	if _, err := c.nc.Write(wire.Bytes()); err != nil {
		c.t.Fatal(err)
	}
}

// TestDigestErrors corrupts a header, the data of a command and that of a
// Data-Out.
func TestDigestErrors(t *testing.T) {
	both := offering(func(o *iscsi.Offer) {
		o.HeaderDigest, o.DataDigest, o.NoImmediateData = iscsi.DigestRequire, iscsi.DigestRequire, true
	})
	t.Run("header", func(t *testing.T) {
		c := connect(t, serveDisk(t, store.NewMemory(diskSize)), both)
		c.spoil(&iscsi.NOPOut{Immediate: true, ITT: 1, TTT: iscsi.ReservedTag}, nil, 17)
		c.expectClosed()
	})
	t.Run("request", func(t *testing.T) {
		c := connect(t, serveDisk(t, store.NewMemory(diskSize)), both)
		c.spoil(&iscsi.NOPOut{ITT: 1, TTT: iscsi.ReservedTag, CmdSN: c.cmdSN}, make([]byte, 100), 60)
		var p iscsi.Reject
		if c.expect(&p); p.Reason != iscsi.RejectDataDigest {
			t.Errorf("rejected because of %v", p.Reason)
		}
		c.expectClosed()
	})
	t.Run("Data-Out", func(t *testing.T) {
		c := connect(t, serveDisk(t, store.NewMemory(diskSize)), both).ready()
		cmd := c.newCommand(transfer(scsi.OpWrite10, 0, 2), 0, 1024)
		cmd.Final = false
		c.send(&cmd, nil)
		c.spoil(&iscsi.DataOut{ITT: cmd.ITT, TTT: iscsi.ReservedTag}, pattern(512, 1), 100)
		var p iscsi.Reject
		if c.expect(&p); p.Reason != iscsi.RejectDataDigest {
			t.Errorf("rejected because of %v", p.Reason)
		}
		c.send(&iscsi.DataOut{Final: true, ITT: cmd.ITT, TTT: iscsi.ReservedTag, DataSN: 1, BufferOffset: 512}, pattern(512, 1))
		if r := c.finish(&cmd, nil); r.sense.Key != scsi.KeyAbortedCommand || r.sense.ASC != scsi.ASCProtocolServiceCRCError {
			t.Errorf("%v %v", r.status, r.sense)
		}
		roundTrip(t, c, pattern(1024, 2), 0)
	})
}

// TestHalfOpen leaves connections in every state and closes them without a word.
func TestHalfOpen(t *testing.T) {
	const clients = 20
	ended := make(chan error, clients)
	addr, srv := serve(t, target.Config{
		Targets: []*target.Target{disk(slowly{store.NewMemory(diskSize)})},
		Events: func(e target.Event) {
			if e.Kind == target.LogoutEvent {
				ended <- e.Reason
			}
		},
	})
	for i := range clients {
		c := connect(t, addr, withISID(uint16(i))).ready()
		cmd := c.newCommand(transfer(scsi.OpWrite10, 0, 64), 0, 64*512)
		cmd.Final = false
		var b iscsi.BHS
		cmd.Encode(&b)
		switch i % 4 {
		case 0:
			c.nc.Write(b[:20])
		case 1:
			b.SetDataSegmentLength(512)
			c.nc.Write(append(b[:], make([]byte, 100)...))
		case 2:
			c.send(&cmd, make([]byte, 512))
		case 3:
			for range 10 {
				p := c.newCommand(transfer(scsi.OpRead10, 0, 2048), 2048*512, 0)
				c.send(&p, nil)
			}
		}
		c.nc.Close()
	}
	for range clients {
		<-ended
	}
	connect(t, addr, withISID(99)).ready()
	if n := len(srv.Sessions()); n != 1 {
		t.Errorf("%d sessions, want 1", n)
	}
}
