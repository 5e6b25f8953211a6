package target

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/bootlun/bootlun/iscsi"
)

// How much data may be queued before it is sent: before the connection's own
// goroutine takes the next request, and at any time.
const (
	softLent = 256 << 10
	maxLent  = softLent + promptRead
)

// sender is a connection's sending half: it numbers replies and queues them, and
// flush sends what is queued. Errors of the network stick, and are flush's to
// report: replies to nobody are dropped.
//
// Lock order: mu before session.mu, so that a reply is queued in the same moment
// in which its task leaves the session.
type sender struct {
	pdu     *iscsi.Conn
	buffers *bufferPool
	since   atomic.Int64 // since when a flush is under way, Unix nanoseconds; 0: none is

	mu     sync.Mutex
	statSN uint32
	bhs    iscsi.BHS
	lent   []*buffer // queued by reference, to be put back when sent
	queued int       // bytes in lent
	err    error
	kept   retained // at error recovery levels above 0
}

func (w *sender) init(pdu *iscsi.Conn, buffers *bufferPool) {
	w.pdu, w.buffers = pdu, buffers
}

// flush sends what is queued, and waits for that.
func (w *sender) flush() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.flushLocked()
}

func (w *sender) flushLocked() error {
	if w.err == nil {
		w.began()
		w.err = w.pdu.Flush()
	}
	w.release()
	return w.err
}

// tryFlush is flush that does not wait. It reports whether there is a rest.
func (w *sender) tryFlush() (rest bool, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err == nil {
		w.began()
		rest, w.err = w.pdu.TryFlush()
	}
	if !rest {
		w.release()
	}
	return rest, w.err
}

// began notes that a flush is under way.
func (w *sender) began() {
	if w.since.Load() == 0 {
		w.since.Store(time.Now().UnixNano())
	}
}

// full reports whether much is queued.
func (w *sender) full() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.queued >= softLent
}

// release is the end of a flush: it puts back what was lent. The caller holds
// w.mu.
func (w *sender) release() {
	w.since.Store(0)
	for _, b := range w.lent {
		w.buffers.put(b)
	}
	clear(w.lent)
	w.lent, w.queued = w.lent[:0], 0
}

// queue queues the PDU whose header is in w.bhs, but for the sequence numbers.
// If it carries a status it takes up a StatSN. The caller holds w.mu.
func (w *sender) queue(exp, max uint32, status bool, data []byte) {
	w.bhs.SetResponseSN(w.statSN, exp, max)
	if status {
		w.statSN++
		if w.kept.on {
			w.keep(data)
		}
	}
	if w.err != nil {
		return
	}
	w.err = w.pdu.WritePDU(&w.bhs, nil, data)
}

// lend keeps a buffer until what was queued from it has been sent. The caller
// holds w.mu.
func (w *sender) lend(b *buffer, n int) {
	w.lent = append(w.lent, b)
	if w.queued += n; w.queued >= maxLent || w.buffers.short() {
		_ = w.flushLocked() // the next flush reports it
	}
}

// send queues a PDU that takes up a StatSN. Data is copied.
func (w *sender) send(s *session, p iscsi.PDU, data []byte) {
	w.sendAs(s, p, data, true)
}

// sendUnnumbered queues a PDU that does not take up a StatSN: a ping or an R2T.
func (w *sender) sendUnnumbered(s *session, p iscsi.PDU) {
	w.sendAs(s, p, nil, false)
}

func (w *sender) sendAs(s *session, p iscsi.PDU, data []byte, numbered bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	exp, max := s.window()
	p.Encode(&w.bhs)
	if len(data) == 0 {
		w.queue(exp, max, numbered, nil)
		return
	}
	b := w.buffers.get(len(data))
	copy(b.b, data)
	w.queue(exp, max, numbered, b.b[:len(data)])
	w.lend(b, len(data))
}

// reject queues a Reject of the PDU with the given header.
func (w *sender) reject(s *session, refused *iscsi.BHS, reason iscsi.RejectReason) {
	w.send(s, &iscsi.Reject{Reason: reason}, refused[:])
}
