package initiator

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bootlun/bootlun/iscsi"
	"github.com/bootlun/bootlun/scsi"
)

// nexus is one login: a session as the target knows it, until it is gone. It has
// the tasks and the command numbers; its connections are links. Its methods may be
// called at the same time.
type nexus struct {
	cfg    *Config
	addr   iscsi.TargetAddress
	result iscsi.InitiatorResult
	params iscsi.Params // but for those of a connection
	began  time.Time
	tell   func(iscsi.LUN, scsi.Sense) // of SCSI events

	// turn is held by the one goroutine that may send the next command, which it
	// does when the window and a link are open; opened wakes it.
	turn, opened        chan struct{}
	nextCmdSN, maxCmdSN atomic.Uint32

	// links has the connections by CID, replaced whole under mu. Some may be gone.
	links atomic.Pointer[[]*link]
	// ctx ends with the session.
	ctx    context.Context
	cancel context.CancelFunc

	// mu guards refuse, err, what of links it says, and those fields of tasks and
	// calls that receivers also use.
	mu     sync.Mutex
	tasks  []task
	free   chan *task // the tasks not in use
	calls  sync.Pool
	refuse error         // why no more commands are taken
	ending atomic.Bool   // refuse or err is set
	err    error         // why the session is gone
	dead   chan struct{} // closed when err is set
	events int           // SCSI events being told

	patience atomic.Int64 // a Time2Wait that the target named, plus 1; 0 is none
	closing  sync.Once
	wg       sync.WaitGroup
}

func newNexus(cfg *Config, l *loggedIn, tell func(iscsi.LUN, scsi.Sense)) *nexus {
	s := &nexus{
		cfg: cfg, addr: l.addr, result: l.result, params: l.result.Params,
		began: time.Now(), tell: tell,
		turn: make(chan struct{}, 1), opened: make(chan struct{}, 1),
		tasks: make([]task, cfg.MaxCommands), free: make(chan *task, cfg.MaxCommands),
		dead: make(chan struct{}),
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.nextCmdSN.Store(l.result.CmdSN)
	s.maxCmdSN.Store(l.result.MaxCmdSN)
	s.prepareTasks()
	first := newLink(s, 0, l)
	s.links.Store(&[]*link{first})
	first.begin()
	return s
}

// prepareTasks makes all tasks free, with the memory that they need.
func (s *nexus) prepareTasks() {
	n, asks := len(s.tasks), max(1, s.params.MaxOutstandingR2T)
	spans, r2ts := make(extents, n), make([]r2t, n*asks)
	for i := range s.tasks {
		t := &s.tasks[i]
		t.index = uint32(i)
		t.got = spans[i : i : i+1] // more than one where data comes out of order
		t.r2ts = r2ts[i*asks : i*asks : (i+1)*asks]
		s.free <- t
	}
}

// strict reports whether what is lost is asked for again: from error recovery level
// 1 on.
func (s *nexus) strict() bool { return s.params.ErrorRecoveryLevel > 0 }

// connections returns the links by CID, of which some may be gone.
func (s *nexus) connections() []*link { return *s.links.Load() }

// lane returns the link for the next command: the one with the fewest in flight.
// It is nil if there is none at this moment.
func (s *nexus) lane() *link {
	var best *link
	for _, l := range s.connections() {
		if !l.away.Load() && (best == nil || l.open.Load() < best.open.Load()) {
			best = l
		}
	}
	return best
}

// live returns the number of links that take commands.
func (s *nexus) live() (n int) {
	for _, l := range s.connections() {
		if !l.away.Load() {
			n++
		}
	}
	return n
}

// shut logs out and closes the connections; commands in flight fail with ErrClosed.
// It returns within Timeouts.Logout, with an error if the target did not confirm
// the logout. The first call counts; others wait for it.
func (s *nexus) shut() error {
	var err error
	s.closing.Do(func() { err = s.close() })
	s.wg.Wait()
	return err
}

func (s *nexus) close() error {
	s.mu.Lock()
	err := s.err
	s.refuse = ErrClosed
	s.ending.Store(true)
	s.mu.Unlock()
	if err == nil {
		limit := time.AfterFunc(s.cfg.Timeouts.Logout, func() {
			s.fail(fmt.Errorf("no answer to the logout within %v", s.cfg.Timeouts.Logout))
		})
		err = s.logout()
		limit.Stop()
	}
	s.end(ErrClosed)
	if err != nil {
		return s.cfg.wrap("log out", s.addr.HostPort(), err)
	}
	return nil
}

// logout logs out of the session by one of its links and waits for the answer.
func (s *nexus) logout() error {
	links := s.connections()
	i := slices.IndexFunc(links, func(l *link) bool { return l.cause() == nil })
	if i < 0 {
		return links[0].cause()
	}
	l := links[i]
	if err := l.sendLogout(iscsi.LogoutSession); err != nil {
		return err
	}
	<-s.dead // also after an answer
	if answered, err := l.logoutAnswer(); answered {
		return err
	}
	if err := s.cause(); !errors.Is(err, errHungUp) {
		return err
	}
	return nil // istgt at times does so without a word, which comes to the same
}

// fail gives the session up.
func (s *nexus) fail(cause error) { s.end(fmt.Errorf("%w: %w", ErrConnectionLost, cause)) }

// end closes all connections; the first cause counts.
func (s *nexus) end(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return
	}
	if s.refuse == ErrClosed && err != ErrClosed {
		err = fmt.Errorf("%w: %w", ErrClosed, err)
	}
	s.err = err
	s.ending.Store(true)
	s.cancel()
	close(s.dead)
	for _, l := range s.connections() {
		l.kill(err)
	}
}

// cause returns why the session is gone, or nil.
func (s *nexus) cause() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// refuseMore lets no more commands start.
func (s *nexus) refuseMore(why error) {
	s.mu.Lock()
	if s.refuse == nil {
		s.refuse = why
		s.ending.Store(true)
	}
	s.mu.Unlock()
}

// refused returns why no more commands are taken, or nil.
func (s *nexus) refused() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.refuse
}

// quiesce returns when nothing touches the buffers of calls any more. The session
// is gone.
func (s *nexus) quiesce() {
	for _, l := range s.connections() {
		l.quiesce()
	}
}

// maxTimeToWait bounds what a target may ask for: RFC 7143 lets it be an hour.
const maxTimeToWait = time.Minute

// timeToWait returns how long the target wants the initiator to stay away after the
// connection is lost (RFC 7143, 7.5), within reason.
func (s *nexus) timeToWait() time.Duration {
	seconds := int64(s.params.DefaultTime2Wait)
	if named := s.patience.Load(); named > 0 {
		seconds = named - 1
	}
	return min(time.Duration(seconds)*time.Second, maxTimeToWait)
}
