package initiator

import (
	"context"

	"github.com/bootlun/bootlun/iscsi"
	"github.com/bootlun/bootlun/scsi"
)

// Task tags. A command's tag has the task's index in its low bits and above them a
// count of the task's uses, so that an answer to an earlier use is not taken for
// one to this. The tag of the request that aborts a command, or gives it to another
// connection, is the command's with one bit more.
const (
	tagIndexBits         = 10
	tagUseMask    uint32 = 1<<29 - 1
	tagReassign   uint32 = 1 << 29
	tagSpecial    uint32 = 1 << 30
	tagAbort      uint32 = 1 << 31
	tagManagement        = tagReassign | tagAbort

	logoutTag = tagSpecial | 1
	pingTag   = tagSpecial | 2
	textTag   = tagSpecial | 3
)

// maxSense is the most bytes of a response's data that are kept: sense data has at
// most 252 bytes (SPC-4, 4.5.1), with two bytes of length in front.
const maxSense = 254

// task is a command in flight. A Session has a fixed set of them. The call that
// took it from the free ones owns it until it releases it.
type task struct {
	index uint32
	uses  uint32

	// Set by the call before the command is sent.
	tag   uint32
	cmdSN uint32
	lun   iscsi.LUN
	cdb   scsi.CDB
	in    []byte // where what is read goes
	out   []byte // what is written
	chunk int    // for the call's own use

	// Shared with the receivers, under nexus.mu.
	call   *call // nil if the task is free
	link   *link // that it belongs to
	next   *task // in the call's list of events
	posted bool  // it is in that list
	r2ts   []r2t // asked for and not sent yet
	due    chore // what else the call must send
	// expDataSN is, where due is reassign, the first Data-In that has not come.
	expDataSN uint32
	done      bool

	// The receiver's, until done is set.
	got      extents
	seq      arrivals // DataSNs or R2TSNs
	ended    bool     // the command has its outcome, and lacks data
	moved    bool     // from one link to another
	held     bool     // its status is not confirmed
	statSN   uint32   // of that
	ack      dataACK
	over     bool   // there was more to transfer than there was room for
	under    bool   // there was less
	count    uint32 // by how much
	err      error  // set if the command had no SCSI status
	status   scsi.Status
	sense    []byte // in senseBuf
	residual int    // as in Result
	senseBuf [maxSense]byte
}

// r2t is the target's request for a part of a write's data.
type r2t struct {
	lun            iscsi.LUN
	ttt            uint32
	offset, length uint32
}

// chore is what a call has to send for a task.
type chore uint8

const (
	nothing  chore = iota
	resend         // the command, which the target has not got
	reassign       // the request to give it to the link that it now belongs to
)

// call is one goroutine's commands in flight. The goroutine sends them and the data
// that the target asks for; the receiver posts what has come.
type call struct {
	s       *nexus
	ctx     context.Context
	wake    chan struct{} // something was posted
	flight  int           // commands in flight
	home    *link         // by which the first of these was sent
	mixed   bool          // others were sent by others
	unsent  uint64        // the CIDs of links to which was written what is not flushed
	abandon bool          // requests for data are ignored

	head, tail *task // the tasks posted, under nexus.mu
}

// begin returns a call; the caller must give it to end.
func (s *nexus) begin(ctx context.Context) *call {
	c, ok := s.calls.Get().(*call)
	if !ok {
		c = &call{s: s, wake: make(chan struct{}, 1)}
	}
	c.ctx = ctx
	return c
}

// finish takes back a call that has nothing in flight.
func (s *nexus) finish(c *call) {
	c.ctx, c.home, c.unsent, c.abandon = nil, nil, 0, false
	select {
	case <-c.wake:
	default:
	}
	s.calls.Put(c)
}

// enlist gives a free task to a call and a link. It reports false, without an error,
// if the link takes no commands any more.
func (s *nexus) enlist(t *task, c *call, l *link) (bool, error) {
	t.uses++
	t.tag = (t.uses<<tagIndexBits | t.index) & tagUseMask
	t.got, t.r2ts = t.got[:0], t.r2ts[:0]
	t.err, t.status, t.sense, t.residual = nil, 0, nil, 0
	t.seq.reset()
	t.ended, t.moved, t.held, t.ack = false, false, false, dataACK{}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.err != nil:
		return false, s.err
	case s.refuse != nil:
		return false, s.refuse
	case l.away.Load():
		return false, nil
	}
	t.call, t.link, t.due, t.done, t.expDataSN = c, l, nothing, false, 0
	l.open.Add(1)
	return true, nil
}

// release makes a task free again.
func (s *nexus) release(t *task) {
	s.mu.Lock()
	t.call, t.in, t.out = nil, nil, nil
	s.mu.Unlock()
	s.free <- t
}

// find returns the task in flight on the link that a tag names, or nil. nexus.mu is
// held.
func (l *link) find(tag uint32) *task {
	i := tag & (1<<tagIndexBits - 1)
	if int(i) >= len(l.s.tasks) {
		return nil
	}
	if t := &l.s.tasks[i]; t.call != nil && !t.done && t.tag == tag && t.link == l {
		return t
	}
	return nil
}

// post tells the task's call that there is something to do for it. s.mu is held.
func (s *nexus) post(t *task) {
	c := t.call
	if !t.posted {
		t.posted, t.next = true, nil
		if c.tail == nil {
			c.head = t
		} else {
			c.tail.next = t
		}
		c.tail = t
	}
	signal(c.wake)
}

// conclude tells the task's call that it is done. s.mu is held.
func (s *nexus) conclude(t *task) {
	t.done = true
	l := t.link
	if n := len(t.seq.missing); n > 0 {
		l.missing.Add(-int32(n))
	}
	l.letGo(t)
	if l.open.Add(-1) == 0 && l.away.Load() {
		signal(l.drained)
	}
	s.post(t)
}

// signal wakes who waits on a channel with room for one.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// job is what there is to do for a task.
type job struct {
	done bool
	due  chore
	ask  r2t
	link *link
}

// take returns the next task posted and what to do for it.
func (c *call) take() (t *task, e job) {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	if t = c.head; t == nil {
		return nil, e
	}
	e.done, e.link = t.done, t.link
	if !t.done {
		e.due, t.due = t.due, nothing
		if e.due == nothing && len(t.r2ts) > 0 {
			e.ask = t.r2ts[0]
			t.r2ts = t.r2ts[:copy(t.r2ts, t.r2ts[1:])]
		}
		if len(t.r2ts) > 0 {
			return t, e // and stays in the list
		}
	}
	c.head, t.posted = t.next, false
	if c.head == nil {
		c.tail = nil
	}
	return t, e
}

// reclaim frees the tasks of a call whose connection is gone, when nothing touches
// their buffers any more.
func (c *call) reclaim() {
	c.s.quiesce()
	for i := range c.s.tasks {
		t := &c.s.tasks[i]
		c.s.mu.Lock()
		mine := t.call == c
		t.posted = t.posted && !mine
		c.s.mu.Unlock()
		if mine {
			c.s.release(t)
		}
	}
	c.head, c.tail, c.flight = nil, nil, 0
}
