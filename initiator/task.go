package initiator

import (
	"context"

	"github.com/bootlun/bootlun/iscsi"
	"github.com/bootlun/bootlun/scsi"
)

// Task tags. A command's tag has the task's index in its low bits and above them a
// count of the task's uses, so that an answer to an earlier use is not taken for
// one to this. The tag of the request that aborts a command is the command's with
// one bit more.
const (
	tagIndexBits        = 10
	tagUseMask   uint32 = 1<<30 - 1
	tagSpecial   uint32 = 1 << 30
	tagAbort     uint32 = 1 << 31

	logoutTag = tagSpecial | 1
	pingTag   = tagSpecial | 2
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
	in    []byte // where what is read goes
	out   []byte // what is written
	chunk int    // for the call's own use

	// Shared with the receiver, under nexus.mu.
	call   *call // nil if the task is free
	next   *task // in the call's list of events
	posted bool  // it is in that list
	r2ts   []r2t // asked for and not sent yet
	done   bool

	// The receiver's, until done is set.
	got      extents
	err      error // set if the command had no SCSI status
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

// call is one goroutine's commands in flight. The goroutine sends them and the data
// that the target asks for; the receiver posts what has come.
type call struct {
	s       *nexus
	ctx     context.Context
	wake    chan struct{} // something was posted
	flight  int           // commands in flight
	unsent  bool          // what was written is not flushed
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
	c.ctx, c.unsent, c.abandon = nil, false, false
	select {
	case <-c.wake:
	default:
	}
	s.calls.Put(c)
}

// enlist gives a free task to a call.
func (s *nexus) enlist(t *task, c *call) error {
	t.uses++
	t.tag = (t.uses<<tagIndexBits | t.index) & tagUseMask
	t.got, t.r2ts = t.got[:0], t.r2ts[:0]
	t.err, t.status, t.sense, t.residual = nil, 0, nil, 0
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return s.err
	}
	if s.refuse != nil {
		return s.refuse
	}
	t.call, t.done = c, false
	s.open.Add(1)
	return nil
}

// release makes a task free again.
func (s *nexus) release(t *task) {
	s.mu.Lock()
	t.call, t.in, t.out = nil, nil, nil
	s.mu.Unlock()
	s.free <- t
}

// find returns the task in flight that a tag names, or nil. s.mu is held.
func (s *nexus) find(tag uint32) *task {
	i := tag & (1<<tagIndexBits - 1)
	if int(i) >= len(s.tasks) {
		return nil
	}
	if t := &s.tasks[i]; t.call != nil && !t.done && t.tag == tag {
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
	s.open.Add(-1)
	s.post(t)
}

// signal wakes who waits on a channel with room for one.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// take returns the next task posted, and if it is not done the data it is asked
// for.
func (c *call) take() (t *task, ask r2t, done bool) {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	if t = c.head; t == nil {
		return nil, r2t{}, false
	}
	if !t.done && len(t.r2ts) > 0 {
		ask = t.r2ts[0]
		t.r2ts = t.r2ts[:copy(t.r2ts, t.r2ts[1:])]
		if len(t.r2ts) > 0 {
			return t, ask, false // and stays in the list
		}
	}
	c.head, t.posted = t.next, false
	if c.head == nil {
		c.tail = nil
	}
	return t, ask, t.done
}

// reclaim frees the tasks of a call whose connection is gone, when nothing touches
// their buffers any more.
func (c *call) reclaim() {
	<-c.s.received
	c.s.wmu.Lock()
	defer c.s.wmu.Unlock() // no write is in progress
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
