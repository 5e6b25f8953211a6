package initiator

import (
	"context"

	"github.com/bootlun/bootlun/iscsi"
)

// lockWriter takes wmu. Who holds it may leave flushing to who waits for it.
func (s *nexus) lockWriter() {
	s.waiting.Add(1)
	s.wmu.Lock()
	s.waiting.Add(-1)
}

// flushWriter writes what is queued, unless somebody who will do so waits already,
// and lets go of wmu. Everybody who queues something flushes it in the end, also
// on the way to giving up.
func (s *nexus) flushWriter(ctx context.Context) error {
	defer s.wmu.Unlock()
	if s.waiting.Load() > 0 {
		return nil
	}
	s.flush.begin(ctx)
	defer s.flush.end()
	return s.conn.Flush()
}

// send sends an immediate request that is no command. Its CmdSN and ExpStatSN are
// filled in.
func (s *nexus) send(p iscsi.PDU) error {
	s.lockWriter()
	switch p := p.(type) {
	case *iscsi.NOPOut:
		p.CmdSN, p.ExpStatSN = s.nextCmdSN.Load(), s.expStatSN.Load()
	case *iscsi.TaskManagementRequest:
		p.CmdSN, p.ExpStatSN = s.nextCmdSN.Load(), s.expStatSN.Load()
	case *iscsi.LogoutRequest:
		p.CmdSN, p.ExpStatSN = s.nextCmdSN.Load(), s.expStatSN.Load()
	}
	var b iscsi.BHS
	p.Encode(&b)
	err := s.conn.WritePDU(&b, nil)
	if ferr := s.flushWriter(context.Background()); err == nil {
		err = ferr
	}
	if err != nil {
		s.fail(err)
	}
	return err
}

// writeCommand queues a command with the data that need not be asked for (RFC
// 7143, 4.2.5.2). wmu and the turn are held.
func (s *nexus) writeCommand(t *task, cmd *Command) error {
	immediate, burst := s.unsolicited(len(t.out))
	t.cmdSN = s.nextCmdSN.Load()
	s.nextCmdSN.Store(t.cmdSN + 1)
	p := iscsi.SCSICommand{
		Final: immediate == burst,
		Read:  len(t.in) > 0, Write: len(t.out) > 0,
		Attribute: iscsi.Simple, LUN: t.lun, ITT: t.tag,
		ExpectedLength: uint32(len(t.in) + len(t.out)),
		CmdSN:          t.cmdSN, ExpStatSN: s.expStatSN.Load(),
		CDB: cmd.CDB,
	}
	var b iscsi.BHS
	p.Encode(&b)
	if err := s.conn.WritePDU(&b, nil, t.out[:immediate]); err != nil {
		return err
	}
	if immediate == burst {
		return nil
	}
	return s.writeData(t, r2t{t.lun, iscsi.ReservedTag, uint32(immediate), uint32(burst - immediate)})
}

// unsolicited returns how much of n bytes goes with the command itself, and how
// much without being asked for in all.
func (s *nexus) unsolicited(n int) (immediate, burst int) {
	p := &s.params
	if p.ImmediateData {
		immediate = min(n, p.FirstBurstLength, p.MaxSendDataSegmentLength)
	}
	if p.InitialR2T {
		return immediate, immediate
	}
	return immediate, min(n, p.FirstBurstLength)
}

// writeData queues the Data-Out PDUs that r asks for. wmu is held.
func (s *nexus) writeData(t *task, r r2t) error {
	var b iscsi.BHS
	limit := uint32(s.params.MaxSendDataSegmentLength)
	for sn := uint32(0); r.length > 0; sn++ {
		n := min(r.length, limit)
		p := iscsi.DataOut{
			Final: n == r.length, LUN: r.lun, ITT: t.tag, TTT: r.ttt,
			ExpStatSN: s.expStatSN.Load(), DataSN: sn, BufferOffset: r.offset,
		}
		p.Encode(&b)
		if err := s.conn.WritePDU(&b, nil, t.out[r.offset:][:n]); err != nil {
			return err
		}
		r.offset += n
		r.length -= n
	}
	return nil
}
