package initiator

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bootlun/bootlun/iscsi"
)

// nexus is one login: a session until its connection is gone. Its methods may be
// called at the same time.
type nexus struct {
	cfg    *Config
	addr   iscsi.TargetAddress
	result iscsi.InitiatorResult
	params iscsi.Params
	conn   *iscsi.Conn
	began  time.Time

	// Sending. Who takes both locks takes wmu before mu.
	wmu     sync.Mutex
	waiting atomic.Int32 // who wants wmu
	flush   flushWatch
	// turn is held by the one goroutine that may send the next command, which it
	// does when the window is open; opened wakes it.
	turn, opened        chan struct{}
	nextCmdSN, maxCmdSN atomic.Uint32
	expStatSN           atomic.Uint32

	// mu guards refuse, err, and those fields of tasks and calls that the receiver
	// also uses.
	mu     sync.Mutex
	tasks  []task
	free   chan *task // the tasks not in use
	calls  sync.Pool
	refuse error         // why no more commands are taken
	ending atomic.Bool   // refuse or err is set
	err    error         // why the connection is gone
	dead   chan struct{} // closed when err is set

	// Receiving: reading is held by the one goroutine that does so.
	reading   chan struct{}
	header    iscsi.BHS
	open      atomic.Int32 // commands in flight that are not done
	resting   atomic.Bool  // the receiver leaves reading to others
	wanted    chan struct{}
	received  chan struct{} // closed when nobody reads any more
	heard     atomic.Uint32 // counts PDUs received
	patience  atomic.Int64  // a Time2Wait that the target named, plus 1; 0 is none
	loggedOut chan iscsi.LogoutResult
	chores    chan iscsi.NOPOut
	leave     chan time.Duration
	closing   sync.Once
	wg        sync.WaitGroup
}

func newNexus(cfg *Config, l *loggedIn) *nexus {
	s := &nexus{
		cfg: cfg, addr: l.addr, result: l.result, params: l.result.Params, conn: l.conn,
		began: time.Now(),
		turn:  make(chan struct{}, 1), opened: make(chan struct{}, 1),
		tasks: make([]task, cfg.MaxCommands), free: make(chan *task, cfg.MaxCommands),
		dead: make(chan struct{}), received: make(chan struct{}),
		wanted: make(chan struct{}, 1), reading: make(chan struct{}, 1),
		loggedOut: make(chan iscsi.LogoutResult, 1),
		chores:    make(chan iscsi.NOPOut, maxChores), leave: make(chan time.Duration, 1),
	}
	s.nextCmdSN.Store(l.result.CmdSN)
	s.maxCmdSN.Store(l.result.MaxCmdSN)
	s.expStatSN.Store(l.result.ExpStatSN)
	s.prepareTasks()
	s.wg.Go(s.receive)
	s.wg.Go(s.answer)
	s.wg.Go(s.keep)
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

// shut logs out and closes the connection; commands in flight fail with ErrClosed.
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

// logout logs out and waits for the answer.
func (s *nexus) logout() error {
	if err := s.sendLogout(); err != nil {
		return err
	}
	<-s.dead // also after an answer
	select {
	case r := <-s.loggedOut:
		if r != iscsi.LogoutClosed {
			return fmt.Errorf("the target answers: %v", r)
		}
		return nil
	default:
	}
	if err := s.cause(); !errors.Is(err, errHungUp) {
		return err
	}
	return nil // istgt at times does so without a word, which comes to the same
}

func (s *nexus) sendLogout() error {
	return s.send(&iscsi.LogoutRequest{Immediate: true, Reason: iscsi.LogoutSession, ITT: logoutTag})
}

// fail gives the connection up.
func (s *nexus) fail(cause error) { s.end(fmt.Errorf("%w: %w", ErrConnectionLost, cause)) }

// end closes the connection; the first cause counts.
func (s *nexus) end(err error) {
	s.mu.Lock()
	first := s.err == nil
	if first {
		if s.refuse == ErrClosed && err != ErrClosed {
			err = fmt.Errorf("%w: %w", ErrClosed, err)
		}
		s.err = err
		s.ending.Store(true)
		close(s.dead)
	}
	s.mu.Unlock()
	if first {
		s.conn.Close()
	}
}

// cause returns why the connection is gone, or nil.
func (s *nexus) cause() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
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

// A flushWatch tells the keeper of a write that hangs.
type flushWatch struct {
	mu    sync.Mutex
	ctx   context.Context // of the write in progress, nil if there is none
	count uint64          // of writes so far
}

func (f *flushWatch) begin(ctx context.Context) {
	f.mu.Lock()
	f.ctx = ctx
	f.count++
	f.mu.Unlock()
}

func (f *flushWatch) end() {
	f.mu.Lock()
	f.ctx = nil
	f.mu.Unlock()
}

// now returns the context and number of the write in progress.
func (f *flushWatch) now() (context.Context, uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.ctx, f.count
}
