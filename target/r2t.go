package target

import (
	"time"

	"github.com/bootlun/bootlun/iscsi"
)

// shortBurst bounds what an R2T asks for when memory is short.
const shortBurst = 64 << 10

// sendR2Ts asks for the task's next data, as far as it may. The caller has a
// pin.
func (t *task) sendR2Ts() {
	for {
		r2t, ok := t.nextR2T()
		if !ok {
			return
		}
		t.c.out.sendR2T(t.s, r2t)
	}
}

// nextR2T makes the burst for the task's next R2T.
func (t *task) nextR2T() (iscsi.R2T, bool) {
	s, o := t.s, &t.out
	s.mu.Lock()
	defer s.mu.Unlock()
	if t.failed || t.aborted || o.asked >= t.want || len(o.bursts)+o.busy >= s.params.MaxOutstandingR2T {
		return iscsi.R2T{}, false
	}
	size := min(t.want-o.asked, int64(s.params.MaxBurstLength), maxBuffer)
	short := s.srv.buffers.short()
	if short {
		size = min(size, shortBurst)
	}
	if s.solicited > 0 && (short || s.solicited+int(size) > maxSolicited) {
		s.starved = append(s.starved, taskRef{t, t.itt, t.serial})
		return iscsi.R2T{}, false
	}
	b := burst{
		ttt: s.newTTT(), r2tSN: o.r2tSN, off: o.asked, size: size, asked: span{0, size},
		buf: s.srv.buffers.get(int(size)),
	}
	o.bursts = append(o.bursts, b)
	o.asked += size
	o.r2tSN++
	o.since = time.Now().UnixNano()
	s.solicited += int(size)
	return t.r2t(&b), true
}

// r2t makes the R2T of a burst.
func (t *task) r2t(b *burst) iscsi.R2T {
	return iscsi.R2T{
		LUN: t.lun, ITT: t.itt, TTT: b.ttt, R2TSN: b.r2tSN,
		BufferOffset: uint32(b.off + b.asked.from), DesiredLength: uint32(b.asked.to - b.asked.from),
	}
}

// newTTT returns a target transfer tag. The caller holds s.mu.
func (s *session) newTTT() uint32 {
	if s.lastTTT++; s.lastTTT == iscsi.ReservedTag {
		s.lastTTT = 0
	}
	return s.lastTTT
}

// maxTries bounds how often a burst is asked for again.
const maxTries = 16

// recover makes a recovery R2T: for the first bytes of a burst that are missing
// though it is over (RFC 7143, 7.1.4.1 and 7.8). The caller holds s.mu.
func (t *task) recover(b *burst) (iscsi.R2T, bool) {
	if t.c.erl == 0 || b.tries == maxTries {
		return iscsi.R2T{}, false
	}
	b.tries++
	b.r2tSN = t.out.r2tSN
	t.out.r2tSN++
	return t.askAgain(b), true
}

// askAgain makes an R2T for the first bytes of a burst that are missing, under
// the burst's R2TSN. The caller holds s.mu.
func (t *task) askAgain(b *burst) iscsi.R2T {
	if b.ttt == iscsi.ReservedTag { // asked for from now on
		t.s.solicited += int(b.size)
	}
	b.ttt, b.dataSN, b.asked = t.s.newTTT(), 0, b.have.hole(b.size)
	t.out.since = time.Now().UnixNano()
	return t.r2t(b)
}

// sendR2T queues an R2T. It shows the next StatSN and does not use it up
// (RFC 7143, 11.8.4).
func (w *sender) sendR2T(s *session, p iscsi.R2T) {
	w.mu.Lock()
	defer w.mu.Unlock()
	exp, max := s.window()
	p.Encode(&w.bhs)
	w.queue(exp, max, false, nil)
}

// feedStarved lets the tasks that waited for their turn ask again. The caller
// holds s.mu.
func (s *session) feedStarved() {
	if len(s.starved) == 0 {
		return
	}
	waiting := s.starved
	s.starved = nil
	for _, ref := range waiting {
		t := ref.t
		if s.tasks[ref.itt] != t || t.serial != ref.serial || t.complete || t.aborted {
			continue
		}
		c := t.c
		if c.spawn(func() {
			t.sendR2Ts()
			t.unpin()
			c.push()
		}) {
			t.pins++
		}
	}
}

// expire deals with the connection's tasks whose data has been awaited since
// before limit (Unix nanoseconds). It is asked for again, where that can be; else
// the task fails, the initiator is told, and late data is dropped.
func (c *conn) expire(limit int64) {
	s := c.sess
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.tasks {
		if t.c != c || c.gone || len(t.out.bursts) == 0 || t.out.since >= limit || t.pins > 0 || t.complete || t.aborted {
			continue
		}
		work := t.respond
		if r2ts := t.recoverAll(); len(r2ts) > 0 {
			work = func() {
				for _, r2t := range r2ts {
					c.out.sendR2T(s, r2t)
				}
				t.unpin()
			}
		} else {
			t.fail(errDataTimeout)
			t.complete = true
		}
		t.pins++
		c.spawn(func() {
			work()
			c.push()
		})
	}
}

// recoverAll makes recovery R2Ts for all bursts that are missing something, none
// if one cannot be asked for again. The caller holds s.mu.
func (t *task) recoverAll() []iscsi.R2T {
	var r2ts []iscsi.R2T
	for i := range t.out.bursts {
		r2t, ok := t.recover(&t.out.bursts[i])
		if !ok {
			return nil
		}
		r2ts = append(r2ts, r2t)
	}
	return r2ts
}
