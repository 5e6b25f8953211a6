package target

import (
	"bytes"
	"time"

	"github.com/bootlun/bootlun/iscsi"
)

// Requests of all of a session's connections are carried out in the order of
// their CmdSN (RFC 7143, 4.2.2.1). What comes before its turn is kept, and is
// carried out by the goroutine of the connection that brings what was missing. A
// SCSI command enters the session's task set in the same moment in which its
// turn comes: so a task management function finds all tasks that were sent
// before it.

// window returns ExpCmdSN and MaxCmdSN.
func (s *session) window() (exp, max uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.expCmdSN, s.maxCmdSN
}

// admit gives a request its place in the order and reports whether it is its
// turn, which that of an immediate one always is; more says that it may then be
// the turn of kept ones. If it is not its turn, the request is a duplicate or
// outside of the window, to be ignored, or it came early and is kept; then its
// data and task are taken.
func (s *session) admit(r *request) (turn, more bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.bhs.Immediate() {
		s.enter(r)
		return true, r.task == nil // a task management function may have closed a gap
	}
	sn := r.bhs.CmdSN()
	if !iscsi.SNInWindow(sn, s.expCmdSN, s.maxCmdSN) {
		return false, false
	}
	if sn == s.expCmdSN {
		s.expCmdSN++
		s.enter(r)
		return true, len(s.kept) > 0
	}
	if _, twice := s.kept[sn]; !twice && !r.c.gone {
		if len(s.kept) == 0 {
			s.gapSince = time.Now().UnixNano()
		}
		n := r.n
		s.kept[sn] = &request{
			c: r.c, bhs: r.bhs, ahs: bytes.Clone(r.ahs), data: r.takeData(), n: n,
			task: r.task, final: r.final, refusal: r.refusal, why: r.why,
		}
		r.task = nil
	}
	return false, false
}

// hoards reports whether a request would be kept though its connection has brought
// one already that is kept with data.
func (s *session) hoards(r *request) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.bhs.Immediate() || r.bhs.CmdSN() == s.expCmdSN {
		return false
	}
	for _, k := range s.kept {
		if k != nil && k.c == r.c && k.data != nil {
			return true
		}
	}
	return false
}

// nextKept returns the request whose turn it is if it came early, else nil.
func (s *session) nextKept() *request {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		r, ok := s.kept[s.expCmdSN]
		if !ok {
			return nil
		}
		delete(s.kept, s.expCmdSN)
		s.gapSince = time.Now().UnixNano()
		s.expCmdSN++
		if r != nil {
			s.enter(r)
			return r
		}
		s.maxCmdSN++ // it was aborted before it came
	}
}

// enter puts the task of a SCSI command whose turn it is into the task set, with
// one pin, or says in the request why not. The caller holds s.mu.
func (s *session) enter(r *request) {
	t := r.task
	if t == nil {
		return
	}
	switch _, twice := s.tasks[t.itt]; {
	case r.c.gone:
		r.refusal, r.why = iscsi.RejectWaitingForLogout, "the connection is over"
	case twice:
		r.refusal, r.why = iscsi.RejectTaskInProgress, "its task tag is in use"
	case t.immediate && s.immediates >= int(s.depth):
		r.refusal, r.why = iscsi.RejectTooManyImmediate, "too many immediate commands"
	default:
		if t.immediate {
			s.immediates++
		}
		s.starts++
		t.serial, t.pins = s.starts, 1
		if number, ok := t.lun.Number(); ok {
			t.nx = s.nexus(number) // before anybody looks for tasks of a nexus
		}
		s.tasks[t.itt] = t
		s.enqueue(t)
	}
}

// done opens the window for the next request, when one has been dealt with that
// makes no task.
func (s *session) done(r *request) {
	if r.bhs.Immediate() {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.maxCmdSN++
}

// shortGap is how long a command may be missing when memory is short.
const shortGap = time.Second

// missing reports whether commands have waited since before limit (Unix
// nanoseconds) for one that does not come; less long when memory is short.
func (s *session) missing(now time.Time, limit int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	held := false
	for _, r := range s.kept {
		held = held || r != nil
	}
	if s.srv.buffers.short() {
		limit = now.Add(-shortGap).UnixNano()
	}
	return held && s.gapSince < limit
}

// forgetKept drops the kept requests that match. The initiator may send them
// again. The caller holds s.mu.
func (s *session) forgetKept(match func(*request) bool) {
	for sn, r := range s.kept {
		if r != nil && match(r) {
			r.drop()
			delete(s.kept, sn)
		}
	}
}
