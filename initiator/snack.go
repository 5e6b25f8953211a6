package initiator

import (
	"fmt"
	"slices"

	"github.com/bootlun/bootlun/iscsi"
)

// From error recovery level 1 on, what the target sends is counted, and asked for
// again by SNACKs where it is missing or damaged (RFC 7143, 7.1.4 and 7.8). What all
// of this does not bring back within Timeouts.Abort costs the connection.

// dataACK is the target's wish to have data acknowledged.
type dataACK struct {
	due bool
	lun iscsi.LUN
	ttt uint32
}

// usesStatSN reports whether a PDU has a StatSN of its own.
func (l *link) usesStatSN(b *iscsi.BHS) bool {
	switch b.Opcode() {
	case iscsi.OpDataIn:
		var in iscsi.DataIn
		return in.Decode(b) == nil && in.HasStatus
	case iscsi.OpNOPIn:
		return b.ITT() != iscsi.ReservedTag
	case iscsi.OpR2T:
		return false
	}
	return true
}

// countStatus counts a PDU's StatSN; uses says that it is the PDU's own, else it is
// that of the next which has one.
func (l *link) countStatus(b *iscsi.BHS, uses bool) error {
	if !uses && b.Opcode() == iscsi.OpDataIn {
		return nil
	}
	sn := b.StatSN()
	err := l.expectUpTo(&l.arrived, nil, sn)
	if uses {
		l.take(&l.arrived, sn)
	}
	l.confirm()
	return err
}

// confirm sets what the target is told to have arrived: the statuses without a gap,
// up to one of a command that still lacks data, which the target would let go of.
func (l *link) confirm() {
	sn := l.arrived.first()
	for _, h := range l.held {
		if iscsi.SNLess(h, sn) {
			sn = h
		}
	}
	l.expStatSN.Store(sn)
}

// hold keeps a status from being confirmed, if its command lacks data.
func (l *link) hold(t *task, sn uint32) {
	if len(t.seq.missing) > 0 && !t.held {
		t.held, t.statSN = true, sn
		l.held = append(l.held, sn)
	}
}

// letGo undoes hold.
func (l *link) letGo(t *task) {
	if t.held {
		t.held = false
		l.held = slices.DeleteFunc(l.held, func(sn uint32) bool { return sn == t.statSN })
		l.confirm()
	}
}

// account compares what has come for a command with what its response says was sent.
func (l *link) account(t *task, r *iscsi.SCSIResponse) error {
	if len(t.in) == 0 { // nobody wants to hear of R2Ts any more
		l.missing.Add(-int32(len(t.seq.missing)))
		t.seq.missing = t.seq.missing[:0]
		return nil
	}
	if err := l.expectUpTo(&t.seq, t, r.ExpDataSN); err != nil {
		return err
	}
	l.hold(t, r.StatSN)
	return nil
}

// countData counts the number of a Data-In or R2T before it is taken. It is not fresh
// if it came before; then the PDU is to be dropped.
func (l *link) countData(t *task, sn uint32) (fresh bool, err error) {
	if t.seq.old(sn) {
		return false, nil
	}
	err = l.expectUpTo(&t.seq, t, sn)
	return err == nil, err
}

// expectUpTo asks for what is missing of the numbers before sn: statuses, or data or
// R2Ts of a task.
func (l *link) expectUpTo(a *arrivals, t *task, sn uint32) error {
	gap, ok := a.upTo(sn)
	if !ok {
		return protocolErrorf("%d PDUs are missing before the one with number %d", gap, sn)
	}
	if gap == 0 {
		return nil
	}
	l.missing.Add(int32(gap))
	return l.snack(a, t, sn-gap, gap)
}

func (l *link) take(a *arrivals, sn uint32) {
	before := len(a.missing)
	a.take(sn)
	if n := before - len(a.missing); n > 0 {
		l.missing.Add(-int32(n))
	}
}

// snack asks for n PDUs again.
func (l *link) snack(a *arrivals, t *task, from, n uint32) error {
	if a.tries++; a.tries > maxTries {
		return fmt.Errorf("asked %d times for what the target should send again", maxTries)
	}
	p := &iscsi.SNACK{Type: iscsi.SNACKStatus, ITT: iscsi.ReservedTag, TTT: iscsi.ReservedTag, BegRun: from, RunLength: n}
	if t != nil {
		p.Type, p.ITT, p.LUN = iscsi.SNACKDataR2T, t.tag, t.lun
	}
	l.s.cfg.Logger.Info("asking the target to send again", "target", l.s.cfg.Target, "from", from, "number", n)
	if !l.chore(p) {
		return fmt.Errorf("too much is missing at once")
	}
	return nil
}

// askFor asks for a PDU again whose data is damaged, and which therefore does not
// count as received.
func (l *link) askFor(b *iscsi.BHS) error {
	if b.Opcode() != iscsi.OpDataIn {
		return l.askAgain(&l.arrived, nil, b.StatSN())
	}
	var in iscsi.DataIn
	if err := in.Decode(b); err != nil {
		return err
	}
	l.s.mu.Lock()
	t := l.find(in.ITT)
	l.s.mu.Unlock()
	if t == nil {
		return nil
	}
	if in.HasStatus { // it comes with the data
		if err := l.expectUpTo(&l.arrived, nil, in.StatSN); err != nil {
			return err
		}
		if gap, _ := l.arrived.upTo(in.StatSN + 1); gap > 0 {
			l.missing.Add(1)
		}
	}
	return l.askAgain(&t.seq, t, in.DataSN)
}

func (l *link) askAgain(a *arrivals, t *task, sn uint32) error {
	if iscsi.SNLess(sn, a.next) { // that was asked for before
		return l.snack(a, t, sn, 1)
	}
	return l.expectUpTo(a, t, sn+1)
}

// acknowledge tells the target that a task's data has come, when it has, if the
// target wants to know.
func (l *link) acknowledge(t *task, in *iscsi.DataIn) {
	if in != nil && in.Acknowledge {
		t.ack = dataACK{true, in.LUN, in.TTT}
	}
	if t.ack.due && len(t.seq.missing) == 0 {
		t.ack.due = false
		l.chore(&iscsi.SNACK{Type: iscsi.SNACKDataACK, LUN: t.ack.lun, ITT: iscsi.ReservedTag, TTT: t.ack.ttt, BegRun: t.seq.next})
	}
}
