package target

import (
	"errors"
	"time"

	"github.com/bootlun/bootlun/iscsi"
)

// Data reaches a write in bursts: the first is what the initiator sends unasked
// (in the command itself, and in Data-Out PDUs after it), each later one answers
// an R2T. A burst that is whole goes to the operation, so that a task holds
// MaxOutstandingR2T bursts at most, however long its write.

// maxSolicited bounds what the R2Ts of a session ask for at one time. A task
// that would exceed it waits; one R2T is always allowed.
const maxSolicited = 16 << 20

// dataOut is the state of a task's data from the initiator, guarded by
// session.mu.
type dataOut struct {
	asked  int64   // up to here it is asked for, or came unasked
	taken  int64   // so many bytes the operation has taken
	bursts []burst // that are not whole yet
	space  [2]burst
	busy   int // bursts that the operation is taking
	r2tSN  uint32
	since  int64 // when there was progress last, Unix nanoseconds
}

// burst is a part of a write. It arrives in order, unless DataPDUInOrder is No or
// something is lost.
type burst struct {
	ttt    uint32 // ReservedTag: unasked
	r2tSN  uint32 // of the R2T that asked for it
	off    int64
	size   int64   // that it may have; what R2Ts asked for
	end    int64   // up to here PDUs have named it
	have   spans   // what has arrived, from off
	asked  span    // what its last R2T asked for, from off
	dataSN uint32  // of the next Data-Out
	tries  int     // R2Ts that asked for it again
	buf    *buffer // what of it the operation wants
}

// solicited is what counts against maxSolicited.
func (b *burst) solicited() int {
	if b.ttt == iscsi.ReservedTag {
		return 0
	}
	return int(b.size)
}

// useful is how much of the n bytes at off the operation wants.
func (t *task) useful(off, n int64) int64 { return max(0, min(n, t.want-off)) }

// receiveFirst takes the data that came with a command. The caller gives its pin
// away.
func (t *task) receiveFirst(r *request, final bool) {
	p := &t.s.params
	n := int64(r.n)
	b := burst{ttt: iscsi.ReservedTag, size: min(int64(t.expOut), int64(p.FirstBurstLength)), end: n, have: spans{run: n}}
	switch {
	case n > 0 && !p.ImmediateData, !final && p.InitialR2T:
		t.fail(errUnsolicited)
	case n > b.size:
		t.fail(errAmount)
	}
	if t.failed {
		t.finish() // Data-Out PDUs that follow find no task, and are dropped
		return
	}
	if final || n == b.size {
		b.buf = r.takeData()
		t.out.asked = n
		t.out.busy = 1
		t.consume(b, false)
		return
	}
	b.buf = t.s.srv.buffers.get(int(t.useful(0, b.size)))
	copy(b.buf.b[:t.useful(0, n)], r.bytes())
	s := t.s
	s.mu.Lock()
	t.out.since = time.Now().UnixNano()
	t.out.bursts = append(t.out.bursts, b)
	s.mu.Unlock()
	t.unpin()
}

// receiveDataOut receives a Data-Out PDU.
func (c *conn) receiveDataOut() error {
	p := &c.data
	if err := p.Decode(&c.req.bhs); err != nil {
		return err
	}
	n := int64(c.pdu.DataLeft())
	t, b := c.expectData(p, n)
	if t == nil { // of a task that has ended
		if err := c.skipData(); err != nil && !errors.Is(err, iscsi.ErrDataDigest) {
			return c.lost(err)
		}
		return nil
	}
	at := int64(p.BufferOffset) - b.off
	err := c.readBurst(t, &b, at, n)
	lost := errors.Is(err, iscsi.ErrDataDigest)
	switch {
	case lost:
		c.reject(&c.req, iscsi.RejectDataDigest, err.Error())
		if c.erl == 0 {
			t.failData(errLostData)
		}
	case err != nil:
		t.unpin()
		return c.lost(err)
	}
	t.arrived(p, n, lost)
	return nil
}

// expectData finds the burst that a Data-Out of n bytes belongs to, and pins its
// task. A PDU out of place fails the task, where it cannot be asked for again;
// its data is then not kept.
func (c *conn) expectData(p *iscsi.DataOut, n int64) (*task, burst) {
	s := c.sess
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.tasks[p.ITT]
	if t == nil || t.c != c || t.aborted || t.complete {
		return nil, burst{}
	}
	b := t.out.find(p.TTT)
	if b == nil {
		return nil, burst{}
	}
	t.pins++
	t.out.since = time.Now().UnixNano()
	from := int64(p.BufferOffset) - b.off
	to := from + n
	there := b.have.has(from, to)
	switch {
	case b.have.run+n > b.size:
		t.fail(errAmount)
	case from < 0, to > b.size:
		t.fail(errLostData)
	case c.erl == 0 && (p.DataSN != b.dataSN || there || s.params.DataPDUInOrder && from != b.have.run):
		// Data is lost, as after a digest error (RFC 7143, 7.8).
		t.fail(errLostData)
	}
	if t.failed || there {
		return t, burst{}
	}
	return t, *b
}

// readBurst reads the n bytes of a Data-Out to where they belong in their burst.
func (c *conn) readBurst(t *task, b *burst, at, n int64) error {
	if b.buf != nil {
		keep := t.useful(b.off+at, n)
		if err := c.readData(b.buf.b[at : at+keep]); err != nil {
			return err
		}
	}
	return c.skipData()
}

// arrived notes that a Data-Out of n bytes has been read, or lost. If its burst
// is whole it has the operation take it; if the burst is over and is not whole,
// what is missing is asked for again or the task fails. The caller gives its pin
// away.
func (t *task) arrived(p *iscsi.DataOut, n int64, lost bool) {
	s := t.s
	s.mu.Lock()
	b := t.out.find(p.TTT)
	from := int64(p.BufferOffset) - b.off
	b.dataSN++
	if !t.failed {
		b.end = max(b.end, from+n)
		if !lost && !b.have.add(from, from+n) && t.c.erl == 0 {
			t.fail(errLostData)
		}
	}
	if !p.Final && (t.failed || b.have.run < b.size) {
		s.mu.Unlock()
		t.unpin()
		return
	}
	if b.ttt == iscsi.ReservedTag {
		b.size = b.end // all that there is
	}
	if b.have.run < b.size && !t.failed {
		if r2t, ok := t.recover(b); ok {
			s.mu.Unlock()
			t.c.out.sendR2T(s, r2t)
			t.unpin()
			return
		}
		t.fail(errAmount)
	}
	whole := t.out.remove(p.TTT)
	if t.out.asked == 0 { // it was the first, which comes unasked
		t.out.asked = whole.have.run
	}
	t.out.busy++
	s.mu.Unlock()
	t.consume(whole, false)
}

func (o *dataOut) find(ttt uint32) *burst {
	for i := range o.bursts {
		if o.bursts[i].ttt == ttt {
			return &o.bursts[i]
		}
	}
	return nil
}

func (o *dataOut) remove(ttt uint32) burst {
	for i, b := range o.bursts {
		if b.ttt == ttt {
			o.bursts = append(o.bursts[:i], o.bursts[i+1:]...)
			return b
		}
	}
	return burst{}
}

// consume has the operation take a burst that has arrived whole, and goes on
// with the task. The caller gives its pin away.
func (t *task) consume(b burst, wait bool) {
	n := t.useful(b.off, b.have.run)
	if n > 0 && !t.mayRun {
		switch t.tryGate(t.consumeLater(b)) {
		case gateAsleep:
			return
		case gateAborted:
			n = 0
		}
	}
	if n > 0 && !t.hasFailed() {
		err := t.take(&b, n, wait)
		if errors.Is(err, errWait) {
			t.later(t.consumeLater(b))
			return
		}
		if err != nil {
			t.failData(err)
		}
	}
	t.s.srv.buffers.put(b.buf)
	if t.took(&b) {
		t.run(wait)
		return
	}
	t.sendR2Ts()
	t.unpin()
}

// consumeLater is consume by a worker. It is a function of its own to have only
// those tasks allocate that need it.
func (t *task) consumeLater(b burst) func() {
	return func() { t.consume(b, true) }
}

// take gives the first n bytes of a burst to the operation: as they come if it
// takes a stream, else to be gathered for run.
func (t *task) take(b *burst, n int64, wait bool) error {
	if t.op.take != nil {
		return t.op.take(t, b.buf.b[:n], b.off, wait)
	}
	if n == t.want {
		t.params, b.buf = b.buf, nil
		return nil
	}
	if t.params == nil {
		t.params = t.s.srv.buffers.get(int(t.want))
	}
	copy(t.params.b[b.off:], b.buf.b[:n])
	return nil
}

// took notes that a burst has been dealt with, and reports whether nothing more
// is to come: then the command can be run.
func (t *task) took(b *burst) bool {
	s := t.s
	s.mu.Lock()
	defer s.mu.Unlock()
	t.out.busy--
	t.out.taken += b.have.run
	s.solicited -= b.solicited()
	s.feedStarved()
	idle := t.out.busy == 0 && len(t.out.bursts) == 0
	return idle && !t.aborted && (t.failed || t.out.taken >= t.want)
}

// failData is fail for a task that others may be looking at.
func (t *task) failData(err error) {
	t.s.mu.Lock()
	defer t.s.mu.Unlock()
	t.fail(err)
}

// hasFailed is failed for a task that others may be looking at.
func (t *task) hasFailed() bool {
	t.s.mu.Lock()
	defer t.s.mu.Unlock()
	return t.failed || t.aborted
}
