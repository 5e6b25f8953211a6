package initiator

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bootlun/bootlun/iscsi"
)

// link is a connection of a session, until it is gone. A command belongs to the link
// that it was sent by (RFC 7143, 4.2.2): what the target says of it comes there.
type link struct {
	s    *nexus
	cid  uint16
	addr iscsi.TargetAddress
	conn *iscsi.Conn
	// params are those of the connection: digests and the length of segments.
	params iscsi.Params
	// segment is the most data in a PDU that the target takes.
	segment atomic.Int64

	// Sending. Who takes both locks takes wmu before nexus.mu.
	wmu       sync.Mutex
	waiting   atomic.Int32 // who wants wmu
	flush     watch
	expStatSN atomic.Uint32
	confirmed atomic.Uint32 // the last that was sent

	// Under nexus.mu.
	err  error         // why it is gone
	dead chan struct{} // closed when err is set

	away    atomic.Bool   // it takes no more commands; set under nexus.mu
	leaving atomic.Bool   // it is away for good, by our own wish
	drained chan struct{} // it is away and has no commands in flight
	wait    atomic.Int64  // a Time2Wait that the target named for it, plus 1; 0 is none

	// Receiving: reading is held by the one goroutine that does so.
	reading   chan struct{}
	hasty     hasty                // the stream, or nil
	leading   watch                // of calls that read in the receiver's place
	leader    atomic.Pointer[call] // that would
	header    iscsi.BHS
	told      bool         // a call that one of its commands is done
	arrived   arrivals     // StatSNs
	held      []uint32     // those of commands that lack data
	open      atomic.Int32 // commands in flight that are not done
	wanted    chan struct{}
	received  chan struct{} // closed when nobody reads any more
	heard     atomic.Uint32 // counts PDUs received
	pinged    atomic.Uint32 // the CmdSN of the last ping that was sent
	missing   atomic.Int32  // PDUs that were asked for again and have not come
	goodbye   atomic.Int32  // the reason of the logout that was sent, plus 1
	loggedOut chan iscsi.LogoutResult
	chores    chan iscsi.PDU
	leave     chan time.Duration
	texting   chan struct{} // held by who exchanges text
	texts     chan textPart
	wg        sync.WaitGroup
}

func newLink(s *nexus, cid uint16, in *loggedIn) *link {
	l := &link{
		s: s, cid: cid, addr: in.addr, conn: in.conn, params: in.result.Params,
		dead: make(chan struct{}), drained: make(chan struct{}, 1),
		reading: make(chan struct{}, 1), wanted: make(chan struct{}, 1), received: make(chan struct{}),
		loggedOut: make(chan iscsi.LogoutResult, 1),
		chores:    make(chan iscsi.PDU, maxChores), leave: make(chan time.Duration, 1),
		texting: make(chan struct{}, 1), texts: make(chan textPart, 1),
	}
	if h, ok := in.conn.NetConn().(hasty); ok {
		if err := h.detach(); err == nil {
			l.hasty = h
		} else { // it works without
			s.cfg.Logger.Debug("the connection stays with the poller", "target", s.cfg.Target, "err", err)
		}
	}
	l.segment.Store(int64(in.result.Params.MaxSendDataSegmentLength))
	l.arrived.next = in.result.ExpStatSN
	l.expStatSN.Store(in.result.ExpStatSN)
	l.confirmed.Store(in.result.ExpStatSN)
	return l
}

// begin starts the link's goroutines.
func (l *link) begin() {
	for _, f := range []func(){l.receive, l.answer, l.keep} {
		l.wg.Add(1)
		l.s.wg.Go(func() {
			defer l.wg.Done()
			f()
		})
	}
}

// fail gives the connection up.
func (l *link) fail(cause error) { l.end(fmt.Errorf("%w: %w", ErrConnectionLost, cause)) }

// end closes the connection; the first cause counts. Unless the session can do
// without it or have it back, it is the session's end.
func (l *link) end(err error) {
	s := l.s
	s.mu.Lock()
	if !l.kill(err) {
		s.mu.Unlock()
		return
	}
	survives := s.err == nil && s.refuse == nil && (err == errLoggedOut || s.reassigns())
	if survives && !(err == errLoggedOut && l.leaving.Load()) {
		s.wg.Go(func() { s.mend(l) })
	}
	s.mu.Unlock()
	if !survives {
		s.end(err)
	}
}

// kill closes the connection and reports whether that was due. nexus.mu is held.
func (l *link) kill(err error) bool {
	if l.err != nil {
		return false
	}
	l.err = err
	l.away.Store(true)
	close(l.dead)
	l.conn.Close()
	return true
}

// cause returns why the connection is gone, or nil.
func (l *link) cause() error {
	l.s.mu.Lock()
	defer l.s.mu.Unlock()
	return l.err
}

// quiesce returns when nothing touches the buffers of calls any more for a link that
// is gone.
func (l *link) quiesce() {
	<-l.received
	l.wmu.Lock() // no write is in progress
	defer l.wmu.Unlock()
}

// sendLogout logs out of the session or of this connection.
func (l *link) sendLogout(reason iscsi.LogoutReason) error {
	l.goodbye.Store(int32(reason) + 1)
	return l.send(&iscsi.LogoutRequest{Immediate: true, Reason: reason, CID: l.cid, ITT: logoutTag})
}

// retire lets no more commands start on the link: all others go elsewhere, or, if it
// is the only one, are refused. It returns what to log out of.
func (l *link) retire() iscsi.LogoutReason {
	s := l.s
	if s.live() < 2 {
		s.refuseMore(fmt.Errorf("%w: %w", ErrConnectionLost, errAsked))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	l.away.Store(true)
	if l.open.Load() == 0 {
		signal(l.drained)
	}
	if s.refuse != nil {
		return iscsi.LogoutSession
	}
	return iscsi.LogoutConnection
}

// A watch tells the keeper of a write that hangs, or of a read.
type watch struct {
	mu    sync.Mutex
	ctx   context.Context // of what is in progress, nil if there is nothing
	count uint64          // so far
}

func (f *watch) begin(ctx context.Context) {
	f.mu.Lock()
	f.ctx = ctx
	f.count++
	f.mu.Unlock()
}

func (f *watch) end() {
	f.mu.Lock()
	f.ctx = nil
	f.mu.Unlock()
}

// now returns the context and number of what is in progress.
func (f *watch) now() (context.Context, uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.ctx, f.count
}
