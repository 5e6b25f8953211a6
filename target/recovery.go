package target

import (
	"errors"
	"slices"

	"github.com/bootlun/bootlun/iscsi"
)

// At error recovery levels above 0 a connection keeps what it has said with a
// StatSN until the initiator says by ExpStatSN that it has arrived, and with a
// command's response its task, so that its data can be sent again: read again
// from the store, not kept. Data-In does not carry the status then.

// errUnacknowledged ends a connection whose initiator takes responses and does
// not say so.
var errUnacknowledged = errors.New("the initiator acknowledges nothing")

// Bounds of what is kept for an initiator to acknowledge, beyond what its command
// window can make.
const (
	maxUnacknowledged      = 256
	maxUnacknowledgedBytes = 4 << 20
)

// retained is what a sender keeps, guarded by its mu. Its StatSNs are those up to
// the sender's own.
type retained struct {
	on      bool
	limit   int // responses
	replies []reply
	bytes   int
}

// reply is a response that has been sent and not acknowledged.
type reply struct {
	bhs  iscsi.BHS
	data []byte
	task *task // of a SCSI command's response
}

// keepReplies has the sender keep replies, for a command window of depth.
func (w *sender) keepReplies(depth uint32) {
	w.kept.on, w.kept.limit = true, int(depth)+maxUnacknowledged
}

// keep keeps the reply in hand. The caller holds w.mu.
func (w *sender) keep(data []byte) {
	k := &w.kept
	k.replies = append(k.replies, reply{bhs: w.bhs, data: slices.Clone(data)})
	k.bytes += len(data)
	w.buffers.hold(len(data))
	most := maxUnacknowledgedBytes
	if w.buffers.short() {
		most = maxSegment
	}
	if w.err == nil && (len(k.replies) > k.limit || k.bytes > most) {
		w.err = errUnacknowledged
	}
}

// keepTask keeps the task whose response was kept last, and reports whether it
// has: else the task is the caller's. The caller holds w.mu.
func (w *sender) keepTask(t *task) bool {
	k := &w.kept
	if k.on {
		t.statSN = w.statSN - 1
		k.replies[len(k.replies)-1].task = t
	}
	return k.on
}

// first is the StatSN of the first reply that is kept. The caller holds w.mu.
func (w *sender) first() uint32 { return w.statSN - uint32(len(w.kept.replies)) }

// acknowledge lets go of the replies before an ExpStatSN.
func (w *sender) acknowledge(exp uint32) {
	w.mu.Lock()
	defer w.mu.Unlock()
	first := w.first()
	if !iscsi.SNInWindow(exp, first, w.statSN) {
		return
	}
	w.forget(int(exp - first))
}

// forget lets go of the first n replies. The caller holds w.mu.
func (w *sender) forget(n int) {
	k := &w.kept
	for i := range k.replies[:n] {
		r := &k.replies[i]
		k.bytes -= len(r.data)
		w.buffers.hold(-len(r.data))
		if r.task != nil {
			r.task.acknowledged()
		}
	}
	k.replies = slices.Delete(k.replies, 0, n)
}

// end stops keeping replies, and lets go of what has not been sent. It returns the tasks of those that were kept, if the
// caller wants them.
func (w *sender) end(tasks bool) []*task {
	w.mu.Lock()
	defer w.mu.Unlock()
	var all []*task
	for i := range w.kept.replies {
		if r := &w.kept.replies[i]; tasks && r.task != nil {
			all = append(all, r.task)
			r.task = nil
		}
	}
	w.forget(len(w.kept.replies))
	w.kept.on = false
	w.release()
	return all
}

// answered returns the kept reply to a task, nil if there is none. The caller
// holds w.mu.
func (w *sender) answered(match func(*task) bool) *reply {
	for i := range w.kept.replies {
		if r := &w.kept.replies[i]; r.task != nil && match(r.task) {
			return r
		}
	}
	return nil
}

// answers reports whether the reply to a task is kept.
func (w *sender) answers(itt uint32) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.answered(func(t *task) bool { return t.itt == itt }) != nil
}

// resend queues kept replies again, n from a StatSN on, all if n is 0. It reports
// whether they are there.
func (w *sender) resend(s *session, from uint32, n uint32) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	first, count := w.first(), uint32(len(w.kept.replies))
	if from == 0 && n == 0 {
		from = first
	}
	at := from - first
	if n == 0 && at <= count {
		n = count - at
	}
	if at > count || n > count-at {
		return false
	}
	exp, max := s.window()
	for i := at; i < at+n && w.err == nil; i++ {
		r := &w.kept.replies[i]
		r.bhs.SetResponseSN(first+i, exp, max)
		w.err = w.pdu.WritePDU(&r.bhs, nil, r.data)
	}
	return true
}

// acknowledged is free for an answered task, which may be being sent again. The
// caller holds the sender's mu.
func (t *task) acknowledged() {
	if t.settled = true; !t.replaying {
		t.free()
	}
}

// replayed ends a replay of the task.
func (t *task) replayed() {
	w := &t.c.out
	w.mu.Lock()
	defer w.mu.Unlock()
	if t.replaying = false; t.settled {
		t.free()
	}
}
