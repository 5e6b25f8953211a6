package target

import (
	"errors"
	"time"

	"github.com/bootlun/bootlun/iscsi"
	"github.com/bootlun/bootlun/scsi"
)

// errWait is what a step of a command returns if it would have to wait and may
// not. It has then done nothing, or what it will go on from.
var errWait = errors.New("target: would have to wait")

// errParked is what an operation's run returns if the task was parked: it is no
// longer the caller's.
var errParked = errors.New("target: task is parked")

// task is a SCSI command from its arrival to its response.
//
// Its steps, taking a burst of data (consume) and carrying out the command
// (run), happen on the connection's own goroutine as long as they need not
// wait, and otherwise on a worker. Whoever works on a task holds a pin; a task
// that is complete or aborted ends with its last pin.
type task struct {
	c  *conn
	s  *session
	nx *nexus // nil: there is no such LUN
	op *operation

	// The command as it came.
	lun       iscsi.LUN
	itt       uint32
	cmdSN     uint32
	attribute iscsi.TaskAttribute
	immediate bool
	write     bool   // the initiator sends data
	expIn     uint32 // bytes it expects to receive
	expOut    uint32 // bytes it expects to send
	cdb       [16]byte
	segment   int           // the most data that one Data-In may have
	began     time.Duration // by Server.clock

	// What it means, set by its operation's check.
	off       int64 // where on the medium it begins
	length    int64 // how much of the medium it covers
	in        int64 // bytes it has for the initiator, if all goes well
	want      int64 // bytes it takes from the initiator
	demand    int64 // bytes it would take if the initiator were to send them
	fua       bool
	byteCheck uint8 // BYTCHK

	// Progress of run, and its outcome.
	sent    uint32  // bytes of Data-In queued
	dataSN  uint32  // of the next Data-In
	tail    *buffer // data that goes out with the status
	tailLen int
	params  *buffer // parameter data from the initiator: want bytes
	mayRun  bool    // was not dormant at its start
	failed  bool    // and so has sense data
	sense   scsi.Sense
	status  scsi.Status

	// For sending again (recovery.go), guarded by sender.mu.
	given      []byte   // what reply gave; nil: it comes from the medium
	acked      progress // Data-In before it is acknowledged
	ackTag     uint32   // by which the initiator does so; 0: not asked to
	snackTag   uint32   // of the last R-Data SNACK
	resegments bool     // all is to be sent again before the response
	statSN     uint32   // of the response
	replaying  bool     // a worker sends it again
	settled    bool     // its response is acknowledged

	// Guarded by session.mu.
	serial   uint64 // which task this is; tasks are used again
	pins     int
	complete bool
	aborted  bool
	dormant  bool   // waits for other tasks
	deferred func() // what to do when it wakes; it then has a pin
	out      dataOut
}

// taskRef names a task that may have ended meanwhile.
type taskRef struct {
	t      *task
	itt    uint32
	serial uint64
}

// start makes an unused task one for the command in c.cmd.
func (t *task) start(c *conn) {
	p := &c.cmd
	t.c, t.s = c, c.sess
	t.began = c.srv.clock()
	t.lun, t.itt, t.cmdSN = p.LUN, p.ITT, p.CmdSN
	t.attribute, t.immediate = p.Attribute, p.Immediate
	t.cdb = p.CDB
	t.write = p.Write
	t.segment = c.segment()
	switch {
	case p.Write:
		t.expOut, t.expIn = p.ExpectedLength, p.BidiReadLength
	case p.Read:
		t.expIn = p.ExpectedLength
	}
	t.out.bursts = t.out.space[:0]
}

// free makes a task unused. Nothing else may know of it.
func (t *task) free() {
	pool := &t.s.srv.buffers
	for i := range t.out.bursts {
		pool.put(t.out.bursts[i].buf)
	}
	pool.put(t.params)
	pool.put(t.tail)
	if t.nx != nil {
		t.nx.meter.underway.Add(-1)
	}
	srv := t.s.srv
	*t = task{}
	srv.tasks.Put(t)
}

// scsiCommand carries out a SCSI command, whose task is in the task set.
func (c *conn) scsiCommand(r *request) {
	t := r.task
	r.task = nil
	if c.srv.buffers.short() && t.expIn+t.expOut > 0 && !c.sess.hasOnly(t) {
		t.fail(errTaskSetFull)
	} else {
		t.prepare()
	}
	if t.failed || t.want == 0 {
		t.run(false) // data that comes along is dropped
		return
	}
	t.receiveFirst(r, r.final)
}

// hasOnly reports whether a task is the session's only one.
func (s *session) hasOnly(t *task) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.tasks) == 1 && s.tasks[t.itt] == t
}

// end takes a task out of the session. The caller holds s.mu, and the last pin
// if there is one.
func (s *session) end(t *task) {
	delete(s.tasks, t.itt)
	if t.immediate {
		s.immediates--
	} else {
		s.maxCmdSN++
	}
	for i := range t.out.bursts {
		s.solicited -= t.out.bursts[i].solicited()
	}
	s.dequeue(t)
	s.taskEnded.Broadcast()
}

// unpin gives up a pin, and ends the task if that was the last it needed.
func (t *task) unpin() {
	s := t.s
	s.mu.Lock()
	t.pins--
	switch {
	case t.pins > 0 || !t.complete && !t.aborted:
		if t.c.gone {
			s.taskEnded.Broadcast()
		}
		s.mu.Unlock()
	case t.aborted:
		s.end(t)
		s.mu.Unlock()
		t.free()
	default:
		t.pins++ // until it has been responded to
		s.mu.Unlock()
		t.respond()
	}
}

// rest gives up the caller's pin of a task whose connection is over. The caller
// holds session.mu.
func (t *task) rest() {
	t.pins--
	t.s.taskEnded.Broadcast()
}

// resting reports whether nobody works on the task. The caller holds session.mu.
func (t *task) resting() bool { return t.pins == 0 || t.pins == 1 && t.deferred != nil }

// finish makes a task complete and gives up the caller's pin.
func (t *task) finish() {
	t.s.mu.Lock()
	t.complete = true
	t.s.mu.Unlock()
	t.unpin()
}

// respond ends a complete task that has one pin, the caller's. If its connection
// is over it waits for another one.
func (t *task) respond() {
	w, s := &t.c.out, t.s
	w.mu.Lock()
	s.mu.Lock()
	if t.resegments && !t.aborted && t.c.spawn(t.respondAgain) {
		t.resegments = false
		s.mu.Unlock()
		w.mu.Unlock()
		return
	}
	if t.c.gone && !t.aborted {
		t.rest()
		s.mu.Unlock()
		w.mu.Unlock()
		return
	}
	t.measure()
	s.end(t)
	exp, max := s.expCmdSN, s.maxCmdSN
	aborted := t.aborted
	s.mu.Unlock()
	kept := false
	if !aborted {
		t.queueStatus(w, exp, max)
		kept = w.keepTask(t)
	}
	w.mu.Unlock()
	if !kept {
		t.free()
	}
}

// respondAgain is respond after all data has been sent again.
func (t *task) respondAgain() {
	c := t.c
	if err := t.sendAgain(); err != nil {
		c.close(err)
	}
	t.respond()
	c.push()
}

// isAborted tells a worker to stop early.
func (t *task) isAborted() bool {
	t.s.mu.Lock()
	defer t.s.mu.Unlock()
	return t.aborted
}

// run carries out a task that has all the data it needs, and ends it. The caller
// gives its pin away.
func (t *task) run(wait bool) {
	if !t.failed {
		if !t.mayRun {
			switch t.tryGate(t.runLater) {
			case gateAsleep:
				return
			case gateAborted:
				t.unpin()
				return
			}
		}
		err := t.op.run(t, wait)
		switch {
		case errors.Is(err, errWait):
			t.later(t.runLater)
			return
		case errors.Is(err, errParked):
			return
		}
		if err != nil {
			t.fail(err)
		}
	}
	t.finish()
}

// park sets the task aside, with the caller's pin, for something that goes on
// without it. It ends by resume, with an error that may be nil, or earlier by an
// abort. The caller must not touch the task any more.
func (t *task) park() (resume func(error)) {
	s, ref := t.s, taskRef{t, t.itt, t.serial}
	s.mu.Lock()
	if t.aborted {
		s.mu.Unlock()
		t.unpin()
		return func(error) {}
	}
	t.deferred = t.finish // which marks the pin as one that an abort takes
	s.mu.Unlock()
	return func(err error) {
		s.mu.Lock()
		if s.tasks[ref.itt] != t || t.serial != ref.serial || t.deferred == nil {
			s.mu.Unlock()
			return
		}
		t.deferred = nil
		c := t.c
		s.mu.Unlock()
		if err != nil {
			t.fail(err)
		}
		t.finish()
		c.push()
	}
}

func (t *task) runLater() { t.run(true) }

// later has a worker do f, which has the caller's pin, and then sends what that
// has queued.
func (t *task) later(f func()) {
	c, s := t.c, t.s
	s.mu.Lock()
	spawned := c.spawn(func() { f(); c.push() })
	if !spawned && !t.aborted { // the task is there for another connection to take over
		t.deferred = f
		s.taskEnded.Broadcast()
		spawned = true
	}
	s.mu.Unlock()
	if !spawned {
		t.unpin() // aborted like all tasks of the connection
	}
}

// push sends what is queued. It is for goroutines other than the connection's
// own, which finds out by itself if that fails.
func (c *conn) push() {
	if err := c.out.flush(); err != nil {
		c.close(err)
	}
}
