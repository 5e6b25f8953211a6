package target

import (
	"errors"

	"github.com/bootlun/bootlun/iscsi"
)

// receiveSNACK carries out a request to send something again (RFC 7143, 11.16).
func (c *conn) receiveSNACK() error {
	if c.erl == 0 {
		return c.refuse(iscsi.RejectSNACK, "the error recovery level is 0")
	}
	var p iscsi.SNACK
	if err := p.Decode(&c.req.bhs); err != nil {
		return err
	}
	if err := c.skipData(); err != nil {
		return c.dataError(err)
	}
	reason := iscsi.RejectProtocolError
	done := false
	switch p.Type {
	case iscsi.SNACKStatus:
		done = c.out.resend(c.sess, p.BegRun, p.RunLength)
	case iscsi.SNACKDataR2T:
		done = c.resendR2Ts(&p) || c.resendData(&p)
	case iscsi.SNACKRData:
		done = c.resegment(&p)
	case iscsi.SNACKDataACK:
		reason = iscsi.RejectInvalidDataACK
		done = c.acknowledgeData(&p)
	}
	if !done {
		c.reject(&c.req, reason, "a SNACK for what is not there")
	}
	return nil
}

// resendR2Ts sends the R2Ts of a task again that are unanswered. It reports false
// for a task that has none.
func (c *conn) resendR2Ts(p *iscsi.SNACK) bool {
	s := c.sess
	var r2ts []iscsi.R2T
	s.mu.Lock()
	t := s.tasks[p.ITT]
	writes := t != nil && t.c == c && t.want > 0
	if writes {
		for i := range t.out.bursts {
			b := &t.out.bursts[i]
			if b.ttt != iscsi.ReservedTag && b.r2tSN-p.BegRun < p.RunLength || p.RunLength == 0 && !iscsi.SNLess(b.r2tSN, p.BegRun) {
				r2ts = append(r2ts, t.r2t(b))
			}
		}
	}
	s.mu.Unlock()
	for _, r2t := range r2ts {
		c.out.sendR2T(s, r2t)
	}
	return writes
}

// replay has f called by a worker for a task of the connection that is under way,
// or has been answered: one worker at a time. The answer to one that is under way
// comes after.
func (c *conn) replay(match func(*task) bool, f func(t *task, answered bool)) bool {
	s, w := c.sess, &c.out
	w.mu.Lock()
	defer w.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.tasks {
		if t.c != c || t.aborted || t.replaying || !match(t) {
			continue
		}
		t.pins++
		t.replaying = true
		c.spawn(func() {
			f(t, false)
			t.replayed()
			t.unpin()
			c.push()
		})
		return true
	}
	r := w.answered(func(t *task) bool { return !t.replaying && match(t) })
	if r == nil {
		return false
	}
	t := r.task
	t.replaying = true
	c.spawn(func() {
		f(t, true)
		t.replayed()
		c.push()
	})
	return true
}

// resendData sends Data-In PDUs of a task again: read again from the medium.
func (c *conn) resendData(p *iscsi.SNACK) bool {
	from, to := p.BegRun, p.BegRun+p.RunLength
	return c.replay(func(t *task) bool {
		if t.itt != p.ITT || !iscsi.SNInWindow(from, t.acked.sn, t.dataSN-1) {
			return false
		}
		if p.RunLength == 0 || iscsi.SNLess(t.dataSN, to) {
			to = t.dataSN
		}
		return true
	}, func(t *task, _ bool) {
		if err := t.resend(from, to); err != nil {
			c.close(err)
		}
	})
}

// acknowledgeData notes up to where Data-In has arrived.
func (c *conn) acknowledgeData(p *iscsi.SNACK) bool {
	s, w := c.sess, &c.out
	w.mu.Lock()
	defer w.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	match := func(t *task) bool { return t.ackTag != 0 && t.ackTag == p.TTT && t.c == c }
	for _, t := range s.tasks {
		if match(t) {
			return t.acknowledgeData(p.BegRun)
		}
	}
	r := w.answered(match)
	return r != nil && r.task.acknowledgeData(p.BegRun)
}

// resegment sends all data of a task again that is not acknowledged, in segments
// of the length that is in force now, and then its response (RFC 7143, 11.16.3).
func (c *conn) resegment(p *iscsi.SNACK) bool {
	return c.replay(func(t *task) bool {
		if t.itt != p.ITT || t.write {
			return false
		}
		t.snackTag, t.resegments = p.TTT, true
		return true
	}, func(t *task, answered bool) {
		if !answered {
			return // its response does
		}
		if err := t.sendAgain(); err != nil {
			c.close(err)
			return
		}
		c.out.answerAgain(t)
	})
}

// answerAgain queues the kept response to a task, with what has changed in it.
func (w *sender) answerAgain(t *task) {
	w.mu.Lock()
	r := w.answered(func(a *task) bool { return a == t })
	if r == nil {
		w.mu.Unlock()
		return
	}
	var p iscsi.SCSIResponse
	if err := p.Decode(&r.bhs); err == nil { // as it was encoded here
		p.SNACKTag, p.ExpDataSN = t.snackTag, t.dataSN+t.out.r2tSN
		p.Encode(&r.bhs)
	}
	w.mu.Unlock()
	w.resend(t.s, t.statSN, 1)
}

// progress is a place in a task's Data-In.
type progress struct {
	sn  uint32 // DataSN
	off uint32
}

// next is the place after the Data-In PDU at p, as they are cut now.
func (t *task) next(p progress) progress {
	return progress{p.sn + 1, p.off + uint32(t.segmentAt(p.off))}
}

// acknowledgeData notes that the Data-In PDUs before a DataSN have arrived. The
// caller holds the sender's mu.
func (t *task) acknowledgeData(sn uint32) bool {
	if !iscsi.SNInWindow(sn, t.acked.sn, t.dataSN) {
		return false
	}
	for t.acked.sn != sn {
		t.acked = t.next(t.acked)
	}
	return true
}

// errNotAgain ends a connection that asks for data which cannot be read again.
var errNotAgain = errors.New("data cannot be sent again")

// resend sends the Data-In PDUs with the DataSNs from..to-1 again.
func (t *task) resend(from, to uint32) error {
	w := &t.c.out
	w.mu.Lock()
	at := t.acked
	w.mu.Unlock()
	for ; iscsi.SNLess(at.sn, to); at = t.next(at) {
		if iscsi.SNLess(at.sn, from) {
			continue
		}
		n := t.segmentAt(at.off)
		b, err := t.readAgain(at.off, n)
		if err != nil {
			return err
		}
		w.mu.Lock()
		exp, max := t.s.window()
		p := t.dataInAt(at, n)
		p.Encode(&w.bhs)
		w.queue(exp, max, false, b.b[:n])
		w.lend(b, n)
		w.mu.Unlock()
	}
	return nil
}

// sendAgain sends the Data-In again that was sent and is not acknowledged, cut as
// it is now.
func (t *task) sendAgain() error {
	end := t.rewind()
	for t.sent < end {
		n := min(t.nextSegment(), int(end-t.sent))
		b, err := t.readAgain(t.sent, n)
		if err != nil {
			return err
		}
		t.give(b, n)
	}
	return nil
}

// rewind goes back to the first Data-In that is not acknowledged, and returns up
// to where it was sent.
func (t *task) rewind() (end uint32) {
	w := &t.c.out
	w.mu.Lock()
	defer w.mu.Unlock()
	end = t.sent
	t.dataSN, t.sent = t.acked.sn, t.acked.off
	t.segment = t.c.segment()
	return end
}

// readAgain reads what the task gave the initiator once.
func (t *task) readAgain(off uint32, n int) (*buffer, error) {
	b := t.s.srv.buffers.get(n)
	if t.given != nil {
		copy(b.b[:n], t.given[off:])
		return b, nil
	}
	if err := t.unit().read(b.b[:n], t.off+int64(off), true); err != nil {
		t.s.srv.buffers.put(b)
		return nil, errors.Join(errNotAgain, err)
	}
	return b, nil
}
