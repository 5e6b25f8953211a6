package initiator

import (
	"context"

	"github.com/bootlun/bootlun/iscsi"
)

// lockWriter takes wmu. Who holds it may leave flushing to who waits for it.
func (l *link) lockWriter() {
	l.waiting.Add(1)
	l.wmu.Lock()
	l.waiting.Add(-1)
}

// flushWriter writes what is queued, unless somebody who will do so waits already,
// and lets go of wmu. Everybody who queues something flushes it in the end, also
// on the way to giving up.
func (l *link) flushWriter(ctx context.Context) error {
	defer l.wmu.Unlock()
	if l.waiting.Load() > 0 {
		return nil
	}
	l.flush.begin(ctx)
	defer l.flush.end()
	return l.conn.Flush()
}

// flushFor is flushWriter; an error is the link's end.
func (l *link) flushFor(ctx context.Context) {
	if err := l.flushWriter(ctx); err != nil {
		l.fail(err)
	}
}

// expected returns the ExpStatSN for a PDU that is about to be sent: the target may
// forget what it has kept of the answers before. wmu is held.
func (l *link) expected() uint32 {
	sn := l.expStatSN.Load()
	l.confirmed.Store(sn)
	return sn
}

// send sends an immediate request that is no command. Its CmdSN and ExpStatSN are
// filled in.
func (l *link) send(p iscsi.PDU, data ...[]byte) error {
	l.lockWriter()
	cmdSN, expStatSN := l.s.nextCmdSN.Load(), l.expected()
	switch p := p.(type) {
	case *iscsi.NOPOut:
		p.CmdSN, p.ExpStatSN = cmdSN, expStatSN
		if p.ITT == pingTag {
			l.pinged.Store(cmdSN)
		}
	case *iscsi.TaskManagementRequest:
		p.CmdSN, p.ExpStatSN = cmdSN, expStatSN
	case *iscsi.TextRequest:
		p.CmdSN, p.ExpStatSN = cmdSN, expStatSN
	case *iscsi.LogoutRequest:
		p.CmdSN, p.ExpStatSN = cmdSN, expStatSN
	case *iscsi.SNACK:
		p.ExpStatSN = expStatSN
	}
	var b iscsi.BHS
	p.Encode(&b)
	err := l.conn.WritePDU(&b, nil, data...)
	if ferr := l.flushWriter(context.Background()); err == nil {
		err = ferr
	}
	if err != nil {
		l.fail(err)
	}
	return err
}

// writeCommand queues a command, with its next CmdSN. wmu and the turn are held.
func (l *link) writeCommand(t *task) error {
	s := l.s
	t.cmdSN = s.nextCmdSN.Load()
	s.nextCmdSN.Store(t.cmdSN + 1)
	return l.rewriteCommand(t)
}

// rewriteCommand queues a command that has its CmdSN, with the data that need not be
// asked for (RFC 7143, 4.2.5.2). wmu is held.
func (l *link) rewriteCommand(t *task) error {
	immediate, burst := l.unsolicited(len(t.out))
	p := iscsi.SCSICommand{
		Final: immediate == burst,
		Read:  len(t.in) > 0, Write: len(t.out) > 0,
		Attribute: iscsi.Simple, LUN: t.lun, ITT: t.tag,
		ExpectedLength: uint32(len(t.in) + len(t.out)),
		CmdSN:          t.cmdSN, ExpStatSN: l.expected(),
		CDB: t.cdb,
	}
	var b iscsi.BHS
	p.Encode(&b)
	if err := l.conn.WritePDU(&b, nil, t.out[:immediate]); err != nil {
		return err
	}
	if immediate == burst {
		return nil
	}
	return l.writeData(t, r2t{t.lun, iscsi.ReservedTag, uint32(immediate), uint32(burst - immediate)})
}

// unsolicited returns how much of n bytes goes with the command itself, and how
// much without being asked for in all.
func (l *link) unsolicited(n int) (immediate, burst int) {
	p := &l.s.params
	if p.ImmediateData {
		immediate = min(n, p.FirstBurstLength, int(l.segment.Load()))
	}
	if p.InitialR2T {
		return immediate, immediate
	}
	return immediate, min(n, p.FirstBurstLength)
}

// writeData queues the Data-Out PDUs that r asks for. wmu is held.
func (l *link) writeData(t *task, r r2t) error {
	var b iscsi.BHS
	limit := uint32(l.segment.Load())
	for sn := uint32(0); r.length > 0; sn++ {
		n := min(r.length, limit)
		p := iscsi.DataOut{
			Final: n == r.length, LUN: r.lun, ITT: t.tag, TTT: r.ttt,
			ExpStatSN: l.expected(), DataSN: sn, BufferOffset: r.offset,
		}
		p.Encode(&b)
		if err := l.conn.WritePDU(&b, nil, t.out[r.offset:][:n]); err != nil {
			return err
		}
		r.offset += n
		r.length -= n
	}
	return nil
}
