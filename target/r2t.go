package target

import (
	"time"

	"github.com/bootlun/bootlun/iscsi"
)

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
	if s.solicited > 0 && s.solicited+int(size) > maxSolicited {
		s.starved = append(s.starved, taskRef{t, t.itt, t.serial})
		return iscsi.R2T{}, false
	}
	if s.lastTTT++; s.lastTTT == iscsi.ReservedTag {
		s.lastTTT = 0
	}
	b := burst{ttt: s.lastTTT, off: o.asked, size: size, buf: s.srv.buffers.get(int(size))}
	r2t := iscsi.R2T{
		LUN: t.lun, ITT: t.itt, TTT: b.ttt, R2TSN: o.r2tSN,
		BufferOffset: uint32(b.off), DesiredLength: uint32(size),
	}
	o.bursts = append(o.bursts, b)
	o.asked += size
	o.r2tSN++
	o.since = time.Now().UnixNano()
	s.solicited += int(size)
	return r2t, true
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

// expire fails the connection's tasks whose data has been awaited since before
// limit (Unix nanoseconds): the initiator is told, and late data is dropped.
func (c *conn) expire(limit int64) {
	s := c.sess
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.tasks {
		if t.c != c || c.gone || len(t.out.bursts) == 0 || t.out.since >= limit || t.pins > 0 || t.complete || t.aborted {
			continue
		}
		t.fail(errDataTimeout)
		t.complete = true
		t.pins++
		c.spawn(func() {
			t.respond()
			c.push()
		})
	}
}
