package target_test

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"github.com/bootlun/bootlun/iscsi"
	"github.com/bootlun/bootlun/scsi"
)

// client is an initiator that does as the test says, right or wrong.
type client struct {
	t      *testing.T
	nc     net.Conn
	conn   *iscsi.Conn
	res    iscsi.InitiatorResult
	cmdSN  uint32
	itt    uint32
	lun    iscsi.LUN
	exp    uint32 // ExpStatSN
	chunk  int    // most data in a Data-Out; 0: what the target takes
	r2ts   []iscsi.R2T
	rawNow bool // leaves immediate data away
}

type loginOption func(*iscsi.InitiatorConfig)

// connect dials and logs in, or fails the test.
func connect(t *testing.T, addr string, opts ...loginOption) *client {
	t.Helper()
	c, err := tryConnect(t, addr, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func tryConnect(t *testing.T, addr string, opts ...loginOption) (*client, error) {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	return loginOn(t, nc, opts...)
}

func loginOn(t *testing.T, nc net.Conn, opts ...loginOption) (*client, error) {
	t.Helper()
	t.Cleanup(func() { nc.Close() })
	cfg := iscsi.InitiatorConfig{
		InitiatorName: testInitiator, TargetName: testTarget, CmdSN: 0xfffffff0, // soon to wrap
	}
	for _, o := range opts {
		o(&cfg)
	}
	conn := iscsi.NewConn(nc)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	res, err := iscsi.Login(ctx, conn, cfg)
	if err != nil {
		return nil, err
	}
	return &client{t: t, nc: nc, conn: conn, res: res, cmdSN: res.CmdSN, itt: 1, exp: res.ExpStatSN}, nil
}

// patience is how long an answer may take before the test gives up.
const patience = 20 * time.Second

func offering(change func(*iscsi.Offer)) loginOption {
	return func(c *iscsi.InitiatorConfig) { change(&c.Offer) }
}

func withISID(n uint16) loginOption {
	return func(c *iscsi.InitiatorConfig) { c.ISID = iscsi.OUIISID([3]byte{0, 2, 3}, uint32(n)) }
}

func discovering(c *iscsi.InitiatorConfig) { c.Discovery, c.TargetName = true, "" }

// send sends a PDU.
func (c *client) send(p iscsi.PDU, data []byte) {
	c.t.Helper()
	var b iscsi.BHS
	p.Encode(&b)
	c.sendRaw(&b, data)
}

func (c *client) sendRaw(b *iscsi.BHS, data []byte) {
	c.t.Helper()
	if err := c.nc.SetWriteDeadline(time.Now().Add(patience)); err != nil {
		c.t.Fatal(err)
	}
	if err := c.conn.WritePDU(b, nil, data); err != nil {
		c.t.Fatal(err)
	}
	if err := c.conn.Flush(); err != nil {
		c.t.Fatal(err)
	}
}

// recv receives a PDU and checks its StatSN.
func (c *client) recv() (*iscsi.BHS, []byte) {
	c.t.Helper()
	if err := c.nc.SetReadDeadline(time.Now().Add(patience)); err != nil {
		c.t.Fatal(err)
	}
	b := new(iscsi.BHS)
	data, err := c.conn.ReadPDU(b)
	if err != nil {
		c.t.Fatalf("no PDU: %v", err)
	}
	c.checkStatSN(b)
	return b, data
}

// checkStatSN expects every status to have the next StatSN, and PDUs without a
// status to show it or, if they are Data-In, nothing in particular.
func (c *client) checkStatSN(b *iscsi.BHS) {
	c.t.Helper()
	numbered := true
	switch b.Opcode() {
	case iscsi.OpDataIn:
		var p iscsi.DataIn
		_ = p.Decode(b)
		if numbered = p.HasStatus; !numbered {
			return
		}
	case iscsi.OpR2T:
		numbered = false
	case iscsi.OpNOPIn:
		numbered = b.ITT() != iscsi.ReservedTag
	}
	if b.StatSN() != c.exp {
		c.t.Errorf("%v with StatSN %d, want %d", b.Opcode(), b.StatSN(), c.exp)
	}
	if numbered {
		c.exp++
	}
}

// expect receives a PDU of p's type into p.
func (c *client) expect(p iscsi.PDU) (data []byte) {
	c.t.Helper()
	b, data := c.recv()
	if err := p.Decode(b); err != nil {
		c.t.Fatalf("want %v: %v", p.Opcode(), err)
	}
	return data
}

// expectReject expects a Reject of a PDU with the given header.
func (c *client) expectReject(reason iscsi.RejectReason, sent *iscsi.BHS) {
	c.t.Helper()
	var p iscsi.Reject
	data := c.expect(&p)
	if p.Reason != reason {
		c.t.Errorf("rejected because of %v, want %v", p.Reason, reason)
	}
	if refused, err := iscsi.RejectedHeader(data); err != nil || refused != *sent {
		c.t.Errorf("the rejected header is %x (%v), want %x", refused, err, *sent)
	}
}

// expectClosed expects nothing but the end of the connection.
func (c *client) expectClosed() {
	c.t.Helper()
	_ = c.nc.SetReadDeadline(time.Now().Add(patience))
	var b iscsi.BHS
	if _, err := c.conn.ReadPDU(&b); err == nil {
		c.t.Fatalf("received %v, want the connection to end", &b)
	} else if errors.Is(err, context.DeadlineExceeded) || isTimeout(err) {
		c.t.Fatal("the connection has not ended")
	}
}

func isTimeout(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}

// newCommand makes a command's header with the next CmdSN and task tag.
func (c *client) newCommand(cdb scsi.CDB, in, out int) iscsi.SCSICommand {
	p := iscsi.SCSICommand{
		Final: true, Attribute: iscsi.Simple, LUN: c.lun, ITT: c.itt, CmdSN: c.cmdSN, ExpStatSN: c.exp, CDB: cdb,
		Read: in > 0, Write: out > 0, ExpectedLength: uint32(max(in, out)),
	}
	c.itt++
	c.cmdSN++
	return p
}

// result is how a command ended.
type result struct {
	status      scsi.Status
	sense       scsi.Sense
	format      byte // response code of the sense data
	data        []byte
	over, under uint32
	dataIns     []iscsi.DataIn
}

// do carries out a command as the session's parameters allow: with immediate
// data, unsolicited data and data that is asked for.
func (c *client) do(cdb scsi.CDB, in int, out []byte) result {
	c.t.Helper()
	p := c.newCommand(cdb, in, len(out))
	sent := 0
	if par := &c.res.Params; len(out) > 0 {
		first := min(len(out), par.FirstBurstLength)
		if par.ImmediateData && !c.rawNow {
			sent = min(first, c.maxChunk())
		}
		p.Final = par.InitialR2T || sent == first
		c.send(&p, out[:sent])
		if !p.Final {
			c.dataOut(&p, iscsi.ReservedTag, out, sent, first)
		}
	} else {
		c.send(&p, nil)
	}
	return c.finish(&p, out)
}

func (c *client) maxChunk() int {
	if c.chunk > 0 {
		return c.chunk
	}
	return c.res.Params.MaxSendDataSegmentLength
}

// dataOut sends out[from:to] in Data-Out PDUs.
func (c *client) dataOut(cmd *iscsi.SCSICommand, ttt uint32, out []byte, from, to int) {
	c.t.Helper()
	for sn := uint32(0); from < to; sn++ {
		n := min(to-from, c.maxChunk())
		c.send(&iscsi.DataOut{
			Final: from+n == to, LUN: cmd.LUN, ITT: cmd.ITT, TTT: ttt, DataSN: sn, BufferOffset: uint32(from),
		}, out[from:from+n])
		from += n
	}
}

// finish receives what a command brings until its status, and answers R2Ts.
func (c *client) finish(cmd *iscsi.SCSICommand, out []byte) result {
	c.t.Helper()
	var r result
	for {
		b, data := c.recv()
		switch b.Opcode() {
		case iscsi.OpR2T:
			var p iscsi.R2T
			_ = p.Decode(b)
			c.r2ts = append(c.r2ts, p)
			c.dataOut(cmd, p.TTT, out, int(p.BufferOffset), int(p.BufferOffset+p.DesiredLength))
		case iscsi.OpDataIn:
			var p iscsi.DataIn
			_ = p.Decode(b)
			c.checkDataIn(&r, &p, cmd, data)
			if p.HasStatus {
				r.status = scsi.Status(p.Status)
				r.setResidual(p.Overflow, p.Underflow, p.ResidualCount)
				return r
			}
		case iscsi.OpSCSIResponse:
			var p iscsi.SCSIResponse
			_ = p.Decode(b)
			r.setResidual(p.Overflow, p.Underflow, p.ResidualCount)
			c.checkResponse(&r, &p, cmd, data)
			return r
		default:
			c.t.Fatalf("%v in answer to %v", b, &cmd.CDB)
		}
	}
}

func (r *result) setResidual(over, under bool, n uint32) {
	if over {
		r.over = n
	}
	if under {
		r.under = n
	}
}

// checkDataIn expects Data-In PDUs in order, no longer than may be, with the F
// bit at the end of each burst and of all.
func (c *client) checkDataIn(r *result, p *iscsi.DataIn, cmd *iscsi.SCSICommand, data []byte) {
	c.t.Helper()
	if p.ITT != cmd.ITT || int(p.DataSN) != len(r.dataIns) || int(p.BufferOffset) != len(r.data) {
		c.t.Errorf("Data-In %+v after %d bytes of task %d", *p, len(r.data), cmd.ITT)
	}
	if len(data) > c.res.Params.MaxRecvDataSegmentLength {
		c.t.Errorf("Data-In with %d bytes", len(data))
	}
	r.data = append(r.data, data...)
	r.dataIns = append(r.dataIns, *p)
	if atEnd := len(r.data)%c.res.Params.MaxBurstLength == 0; atEnd && !p.Final {
		c.t.Errorf("no F bit at the end of a burst, after %d bytes", len(r.data))
	}
}

func (c *client) checkResponse(r *result, p *iscsi.SCSIResponse, cmd *iscsi.SCSICommand, data []byte) {
	c.t.Helper()
	if p.ITT != cmd.ITT || p.Response != iscsi.CommandCompleted {
		c.t.Errorf("response %+v to task %d", *p, cmd.ITT)
	}
	r.status = scsi.Status(p.Status)
	sense, rest, err := iscsi.SplitSense(data)
	if err != nil || len(rest) > 0 {
		c.t.Errorf("sense data %x: %v", data, err)
	}
	if r.status == scsi.StatusCheckCondition && len(sense) > 0 {
		r.format = sense[0]
		if r.sense, err = scsi.ParseSense(sense); err != nil {
			c.t.Error(err)
		}
	}
}

// good is do for a command that must succeed.
func (c *client) good(cdb scsi.CDB, in int, out []byte) result {
	c.t.Helper()
	r := c.do(cdb, in, out)
	if r.status != scsi.StatusGood {
		c.t.Fatalf("%v: %v %v", &cdb, r.status, r.sense)
	}
	return r
}

// bad is do for a command that must end with a condition.
func (c *client) bad(cdb scsi.CDB, in int, out []byte, key scsi.SenseKey, asc scsi.ASC) result {
	c.t.Helper()
	r := c.do(cdb, in, out)
	if r.status != scsi.StatusCheckCondition || r.sense.Key != key || r.sense.ASC != asc {
		c.t.Errorf("%v: %v %v, want %v %v", &cdb, r.status, r.sense, key, asc)
	}
	return r
}

// ready takes the unit attention that a new session finds.
func (c *client) ready() *client {
	c.t.Helper()
	c.bad(scsi.TestUnitReadyCDB(), 0, nil, scsi.KeyUnitAttention, scsi.ASCPowerOnOrReset)
	c.good(scsi.TestUnitReadyCDB(), 0, nil)
	return c
}

// ping expects the connection to work.
func (c *client) ping() {
	c.t.Helper()
	c.send(&iscsi.NOPOut{Immediate: true, ITT: c.itt, TTT: iscsi.ReservedTag, CmdSN: c.cmdSN, ExpStatSN: c.exp}, nil)
	var p iscsi.NOPIn
	c.expect(&p)
	if p.ITT != c.itt {
		c.t.Errorf("NOP-In for task %d, want %d", p.ITT, c.itt)
	}
	c.itt++
}
