package initiator

import (
	"cmp"
	"context"
	"errors"
	"net"
	"sync"
	"testing"

	"github.com/bootlun/bootlun/iscsi"
	"github.com/bootlun/bootlun/scsi"
)

const fakeTarget = "iqn.2026-01.org.bootlun:fake"

// fake is a target's side of one connection after the login. A test's script
// decides what it does.
type fake struct {
	*iscsi.Conn
	login    iscsi.TargetResult
	statSN   uint32
	expCmdSN uint32
	window   uint32 // MaxCmdSN is expCmdSN-1 and this
	damage   bool   // what is sent, after its digest
}

// script is what a fake target does with one connection; the connection is closed
// after it.
type script func(*fake) error

// fakes is a Dialer to fake targets in memory: the nth connection is the nth
// script's, and the last script's from there on. Without a script the login is
// refused with access's status.
type fakes struct {
	t       testing.TB
	scripts []script
	access  func(iscsi.LoginInfo) iscsi.Access
	refuse  func(address string) error // connections, where it returns an error
	offer   iscsi.Offer                // of the target
	statSN  uint32                     // the first
	window  uint32                     // of commands at login, 4 if 0
	noTSIH  bool                       // is told

	mu    sync.Mutex
	dials []string // addresses
	isids []iscsi.ISID
	wg    sync.WaitGroup
}

func newFakes(t testing.TB, scripts ...script) *fakes {
	f := &fakes{t: t, scripts: scripts}
	t.Cleanup(f.wg.Wait)
	return f
}

func (f *fakes) DialContext(ctx context.Context, _, address string) (net.Conn, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	ours, theirs := net.Pipe()
	n := len(f.dials)
	f.dials = append(f.dials, address)
	if f.refuse != nil {
		if err := f.refuse(address); err != nil {
			return nil, err
		}
	}
	f.wg.Go(func() {
		defer theirs.Close()
		f.serve(context.WithoutCancel(ctx), theirs, n)
	})
	return ours, nil
}

func (f *fakes) serve(ctx context.Context, nc net.Conn, n int) {
	conn := iscsi.NewConn(nc)
	access := func(in iscsi.LoginInfo) iscsi.Access {
		return iscsi.Access{Offer: f.offer, JoinSession: in.TSIH != 0}
	}
	if f.access != nil {
		access = f.access
	}
	result, err := iscsi.ServeLogin(ctx, conn, iscsi.TargetConfig{
		Authorize: access,
		Establish: func(iscsi.LoginInfo, iscsi.Params) (uint16, iscsi.LoginStatus) {
			if f.noTSIH {
				return 0, 0
			}
			return 1, 0
		},
		StatSN: f.statSN, Window: cmp.Or(f.window, 4),
	})
	if err != nil || len(f.scripts) == 0 {
		return
	}
	f.mu.Lock()
	f.isids = append(f.isids, result.ISID)
	f.mu.Unlock()
	side := &fake{Conn: conn, login: result, statSN: result.StatSN, expCmdSN: result.CmdSN, window: 4}
	if err := f.scripts[min(n, len(f.scripts)-1)](side); err != nil {
		f.t.Logf("fake target: %v", err)
	}
}

func (f *fakes) config() Config {
	return Config{Initiator: testInitiator, Target: fakeTarget, Portal: "fake", Dialer: f}
}

// request returns the next PDU, which must be of p's type.
func (f *fake) request(p iscsi.PDU) error {
	b, _, err := f.next()
	if err != nil {
		return err
	}
	return p.Decode(&b)
}

// next returns the next PDU.
func (f *fake) next() (b iscsi.BHS, data []byte, err error) {
	data, err = f.ReadPDU(&b)
	if err == nil && !b.Immediate() && (b.Opcode() == iscsi.OpSCSICommand || b.Opcode() == iscsi.OpTextRequest) {
		f.expCmdSN++
	}
	return b, data, err
}

// command returns the next PDU, which must be a command.
func (f *fake) command() (c iscsi.SCSICommand, err error) {
	b, _, err := f.next()
	if err != nil {
		return c, err
	}
	return c, c.Decode(&b)
}

// reply sends a PDU; uses says that it uses up a StatSN.
func (f *fake) reply(p iscsi.PDU, uses bool, data ...[]byte) error {
	var b iscsi.BHS
	p.Encode(&b)
	b.SetResponseSN(f.statSN, f.expCmdSN, f.expCmdSN-1+f.window)
	if uses {
		f.statSN++
	}
	if f.damage {
		return f.damaged(&b, data[0])
	}
	return errors.Join(f.WritePDU(&b, nil, data...), f.Flush())
}

// damaged sends a PDU with a digest that does not match its data.
func (f *fake) damaged(b *iscsi.BHS, data []byte) error {
	b.SetDataSegmentLength(len(data))
	raw := append(b[:], data...)
	raw = append(raw, make([]byte, -len(data)&3+4)...)
	_, err := f.NetConn().Write(raw)
	return err
}

// good ends a command.
func (f *fake) good(c iscsi.SCSICommand) error { return f.reply(&iscsi.SCSIResponse{ITT: c.ITT}, true) }

// check ends a command with CHECK CONDITION.
func (f *fake) check(c iscsi.SCSICommand, e *scsi.Error) error {
	return f.reply(&iscsi.SCSIResponse{ITT: c.ITT, Status: uint8(scsi.StatusCheckCondition)}, true,
		iscsi.AppendSense(nil, e.Sense.AppendFixed(nil)))
}

// data sends a part of what a command reads.
func (f *fake) data(c iscsi.SCSICommand, offset int, p []byte) error {
	return f.reply(&iscsi.DataIn{ITT: c.ITT, TTT: iscsi.ReservedTag, BufferOffset: uint32(offset)}, false, p)
}

// rest answers what a session needs at its end, and nothing else.
func (f *fake) rest() error {
	for {
		b, _, err := f.next()
		if err != nil {
			return nil // the initiator is gone
		}
		switch b.Opcode() {
		case iscsi.OpLogoutRequest:
			return f.reply(&iscsi.LogoutResponse{ITT: b.ITT()}, true)
		case iscsi.OpTaskManagementRequest:
			if err := f.reply(&iscsi.TaskManagementResponse{ITT: b.ITT()}, true); err != nil {
				return err
			}
		}
	}
}

// zeroDisk is a device of zeros for a fake target: enough for OpenLUN.
type zeroDisk struct {
	blocks    uint64
	attention int                                  // unit attentions to tell before anything else
	name      string                               // of the product, FAKE if empty
	before    func(*fake, iscsi.SCSICommand) error // sees each command first; nil does not
}

var errCut = errors.New("the script cuts the connection")

// cut is a zeroDisk.before that ends the connection at a command.
func cut(at scsi.OpCode) func(*fake, iscsi.SCSICommand) error {
	return func(_ *fake, c iscsi.SCSICommand) error {
		if scsi.OpCode(c.CDB[0]) == at {
			return errCut
		}
		return nil
	}
}

// serve answers one command.
func (d *zeroDisk) serve(f *fake, c iscsi.SCSICommand) error {
	cdb := scsi.CDB(c.CDB)
	answer := func(p []byte) error {
		return errors.Join(f.data(c, 0, p[:min(len(p), int(c.ExpectedLength))]),
			f.reply(&iscsi.SCSIResponse{ITT: c.ITT, Underflow: true, ResidualCount: c.ExpectedLength - min(c.ExpectedLength, uint32(len(p)))}, true))
	}
	if d.before != nil {
		if err := d.before(f, c); err != nil {
			return err
		}
	}
	switch {
	case d.attention > 0:
		d.attention--
		return f.check(c, scsi.CheckCondition(scsi.KeyUnitAttention, scsi.ASCPowerOnOrReset))
	case cdb.Op() == scsi.OpInquiry && cdb[1] == 0:
		q := scsi.InquiryData{Type: scsi.TypeDisk, Vendor: "BOOTLUN", Product: cmp.Or(d.name, "FAKE")}
		return answer(q.Append(nil))
	case cdb.Op() == scsi.OpTestUnitReady:
		return f.good(c)
	case cdb.Op() == scsi.OpReadCapacity10:
		size := scsi.Capacity{Blocks: d.blocks, BlockLength: 512}
		return answer(size.Append10(nil))
	case cdb.Op() == scsi.OpRead10:
		t, _ := scsi.ParseTransfer(&cdb)
		return answer(make([]byte, 512*t.Blocks))
	}
	return f.check(c, scsi.CheckCondition(scsi.KeyIllegalRequest, scsi.ASCInvalidCommand))
}

// serveAll answers commands until the initiator logs out.
func (d *zeroDisk) serveAll(f *fake) error {
	for {
		b, _, err := f.next()
		if err != nil {
			return err
		}
		switch b.Opcode() {
		case iscsi.OpSCSICommand:
			var c iscsi.SCSICommand
			if err := errors.Join(c.Decode(&b), d.serve(f, c)); err != nil {
				return err
			}
		case iscsi.OpLogoutRequest:
			return f.reply(&iscsi.LogoutResponse{ITT: b.ITT()}, true)
		}
	}
}
