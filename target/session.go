package target

import (
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bootlun/bootlun/internal/pcap"
	"github.com/bootlun/bootlun/iscsi"
)

// sessionID is what two sessions cannot have in common (RFC 7143, 4.4.3.2): a
// login with a session's own takes its place.
type sessionID struct {
	initiator string
	isid      iscsi.ISID
	target    string // empty in a discovery session
	tag       uint16 // of the portal group
}

// session is an initiator's session: its command window, its tasks, and the
// connections that bring requests to both.
type session struct {
	srv           *Server
	id            sessionID
	tsih          uint16
	target        *target
	port          *port // of the target; nil in a discovery session
	depth         uint32
	began         time.Time
	who           identity      // of the initiator, as its first connection has proven it
	remote, local net.Addr      // of the first connection
	params        iscsi.Params  // those of all connections; the others are the first one's
	over          chan struct{} // closed when all of it has ended
	told          atomic.Bool   // its beginning has been told of

	// nexuses has one for each of the target's units, by LUN. It is replaced
	// whole, under target.changing, when the units change.
	nexuses atomic.Pointer[map[int]*nexus]

	past Counts // of nexuses that it has no more, guarded by target.changing

	turn sync.Mutex // of workers that read, when memory is short

	mu         sync.Mutex
	alias      string           // the initiator's, for people
	conns      map[uint16]*conn // by CID
	lingering  []*conn          // that are over and have left something behind
	holders    int              // connections that have not detached: the last one ends the session
	dropped    error            // why all of it is to end; nil: it is not
	ending     chan struct{}    // closed when dropped is set
	expCmdSN   uint32
	maxCmdSN   uint32
	kept       map[uint32]*request // received early, by CmdSN; nil to skip one
	tasks      map[uint32]*task    // by ITT
	starts     uint64              // tasks started so far
	immediates int                 // tasks started by immediate commands
	active     int                 // tasks that may run
	ordered    bool                // one of them is ORDERED
	dormant    []*task             // tasks that wait for others, in order
	gapSince   int64               // since when kept has been waiting, Unix nanoseconds
	lastTTT    uint32
	solicited  int       // bytes of R2Ts outstanding
	starved    []taskRef // tasks that wait for solicited to fall
	taskEnded  *sync.Cond
	trace      *pcap.Trace // sees its connections; nil: none
}

// newSession makes a session of its first connection.
func newSession(c *conn, info iscsi.LoginInfo, params iscsi.Params) *session {
	s := &session{
		srv:      c.srv,
		id:       c.sessionID(&info),
		alias:    info.InitiatorAlias,
		who:      c.identity(&info),
		target:   c.target,
		depth:    uint32(c.cfg.QueueDepth),
		began:    time.Now(),
		over:     make(chan struct{}),
		ending:   make(chan struct{}),
		remote:   c.nc.RemoteAddr(),
		local:    c.nc.LocalAddr(),
		params:   params,
		conns:    map[uint16]*conn{info.CID: c},
		holders:  1,
		expCmdSN: info.CmdSN,
		maxCmdSN: info.CmdSN + uint32(c.cfg.QueueDepth) - 1,
		kept:     make(map[uint32]*request),
		tasks:    make(map[uint32]*task),
	}
	s.taskEnded = sync.NewCond(&s.mu)
	if c.target != nil {
		s.port = c.target.portOf(c.v.group.Tag)
	}
	return s
}

func (s *session) discovery() bool { return s.target == nil }

// finish ends the session after its last connection: it returns when nobody
// knows of it any more.
func (s *session) finish(last *conn) {
	s.leave()
	s.srv.forget(s)
	if s.told.Load() {
		last.ended()
	}
	close(s.over)
}
