package target

import (
	"bytes"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bootlun/bootlun/iscsi"
)

// sessionID is what two sessions cannot have in common (RFC 7143, 4.4.3.2, with
// one portal group): a login with a session's own takes its place.
type sessionID struct {
	initiator string
	isid      iscsi.ISID
	target    string // empty in a discovery session
}

// session is an initiator's session: its command window and its tasks. It has
// one connection.
type session struct {
	srv    *Server
	id     sessionID
	tsih   uint16
	cid    uint16 // of the connection
	target *target
	port   *port // of the target; nil in a discovery session
	conn   *conn
	depth  uint32
	began  time.Time
	over   chan struct{} // closed when all of it has ended

	// nexuses has one for each of the target's units, by LUN. It is replaced
	// whole, under target.changing, when the units change.
	nexuses atomic.Pointer[map[int]*nexus]

	past Counts // of nexuses that it has no more, guarded by target.changing

	mu         sync.Mutex
	alias      string       // the initiator's, for people
	user       string       // proven by CHAP
	params     iscsi.Params // changed by the connection's own goroutine alone
	expCmdSN   uint32
	maxCmdSN   uint32
	kept       map[uint32]*request // received early, by CmdSN; nil to skip one
	tasks      map[uint32]*task    // by ITT
	starts     uint64              // tasks started so far
	immediates int                 // tasks started by immediate commands
	active     int                 // tasks that may run
	ordered    bool                // one of them is ORDERED
	dormant    []*task             // tasks that wait for others, in order
	lastTTT    uint32
	solicited  int       // bytes of R2Ts outstanding
	starved    []taskRef // tasks that wait for solicited to fall
	taskEnded  *sync.Cond
	closed     bool // no more tasks, no more workers
}

func newSession(c *conn, info iscsi.LoginInfo, params iscsi.Params) *session {
	s := &session{
		srv:      c.srv,
		id:       sessionID{info.InitiatorName, info.ISID, ""},
		cid:      info.CID,
		alias:    info.InitiatorAlias,
		target:   c.target,
		conn:     c,
		depth:    uint32(c.srv.cfg.QueueDepth),
		began:    time.Now(),
		over:     make(chan struct{}),
		params:   params,
		expCmdSN: info.CmdSN,
		maxCmdSN: info.CmdSN + uint32(c.srv.cfg.QueueDepth) - 1,
		kept:     make(map[uint32]*request),
		tasks:    make(map[uint32]*task),
	}
	s.taskEnded = sync.NewCond(&s.mu)
	if c.target != nil {
		s.id.target = c.target.name
		s.port = c.target.port
	}
	return s
}

func (s *session) discovery() bool { return s.target == nil }

// window returns ExpCmdSN and MaxCmdSN.
func (s *session) window() (exp, max uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.expCmdSN, s.maxCmdSN
}

// admit gives a request that is not immediate its place in the order of CmdSN
// (RFC 7143, 4.2.2.1) and reports whether it is its turn. If not, the request is
// a duplicate or outside of the window, to be ignored, or it came early and is
// kept; then its data is taken.
func (s *session) admit(r *request) bool {
	sn := r.bhs.CmdSN()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !iscsi.SNInWindow(sn, s.expCmdSN, s.maxCmdSN) {
		return false
	}
	if sn == s.expCmdSN {
		s.expCmdSN++
		return true
	}
	if _, twice := s.kept[sn]; !twice {
		n := r.n
		s.kept[sn] = &request{bhs: r.bhs, ahs: bytes.Clone(r.ahs), data: r.takeData(), n: n}
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
		s.expCmdSN++
		if r != nil {
			return r
		}
		s.maxCmdSN++ // it was aborted before it came
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

// spawn runs f on a goroutine that the session waits for, unless it is over. The
// caller holds s.mu.
func (s *session) spawn(f func()) {
	if !s.closed {
		s.conn.workers.Go(f)
	}
}

// finish ends the session after its connection: tasks are aborted, and it
// returns when none is left and nobody knows of the session any more.
func (s *session) finish() {
	s.mu.Lock()
	s.closed = true
	s.abort(func(*task) bool { return true })
	for sn, r := range s.kept {
		if r != nil {
			s.srv.buffers.put(r.takeData())
		}
		delete(s.kept, sn)
	}
	s.mu.Unlock()
	s.conn.workers.Wait()
	s.leave()
	s.srv.forget(s)
	if s.conn.serving.Load() {
		s.conn.ended()
	}
	close(s.over)
}

// currentParams returns params to a goroutine other than the connection's own.
func (s *session) currentParams() iscsi.Params {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.params
}
