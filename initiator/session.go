package initiator

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"weak"

	"github.com/bootlun/bootlun/iscsi"
)

// Session is a logged-in session. With Config.Recovery it outlives its connection:
// it logs in again, with the same ISID, as often as that is needed. Its methods may
// be called at the same time.
type Session struct {
	cfg     *Config
	way     *way // the recovering goroutine's
	cur     atomic.Pointer[nexus]
	done    chan struct{} // closed by Close
	cancel  context.CancelFunc
	closing sync.Once
	wg      sync.WaitGroup

	mu      sync.Mutex
	changed chan struct{} // closed and replaced when cur, late or closed changes
	late    bool          // there has been no connection for Recovery.Limit
	closed  bool
	history []Attempt
	luns    []weak.Pointer[LUN] // that are told of events
	// listening has those that are not to be forgotten.
	listening map[*LUN]bool
}

func newSession(cfg *Config, w *way) *Session {
	return &Session{cfg: cfg, way: w, done: make(chan struct{}), changed: make(chan struct{})}
}

// begin makes the session one that is logged in.
func (s *Session) begin(ctx context.Context, l *loggedIn) {
	n := newNexus(s.cfg, l, s.scsiEvent)
	n.widen(ctx)
	s.cur.Store(n)
	ctx, s.cancel = context.WithCancel(context.Background())
	if s.recovers() {
		s.wg.Go(func() { s.recover(ctx) })
	}
}

// Target returns the target's name.
func (s *Session) Target() string { return s.cfg.Target }

// Portal returns the address that the session is or was last connected to, after
// redirects, as "host:port".
func (s *Session) Portal() string { return s.cur.Load().addr.HostPort() }

// Login returns what the last login came to: identifiers and the values negotiated.
func (s *Session) Login() iscsi.InitiatorResult { return s.cur.Load().result }

// Done returns a channel that is closed when the session is gone for good: because
// it was closed, or without Recovery because its connection is lost.
func (s *Session) Done() <-chan struct{} {
	if s.recovers() {
		return s.done
	}
	return s.cur.Load().dead
}

// Connections returns how many connections the session has at this moment: see
// Config.Connections.
func (s *Session) Connections() int { return s.cur.Load().live() }

// Connected reports whether the session takes commands at this moment.
func (s *Session) Connected() bool { return !s.cur.Load().ending.Load() }

// Close logs out and closes the connection; commands in flight fail with ErrClosed.
// It returns within Timeouts.Logout, with an error if the target did not confirm
// the logout. The first call counts; others wait for it.
func (s *Session) Close() error {
	var err error
	s.closing.Do(func() {
		s.mu.Lock()
		s.closed = true
		s.mu.Unlock()
		s.cancel()
		s.wg.Wait() // no new connection comes
		err = s.cur.Load().shut()
		s.announce()
		close(s.done)
	})
	return err
}

// Execute runs a command, whatever its status comes to: see Result.Err. An error
// means that the command has no status. If ctx ends, the command is aborted. Unit
// attentions are results like others.
//
// With Recovery a command that the loss of a connection left without an answer is
// sent again if it may be executed twice: what reads, writes the data of blocks or
// tests. The error of another, unless it had not been sent yet, wraps
// ErrOutcomeUnknown.
func (s *Session) Execute(ctx context.Context, cmd Command) (Result, error) {
	var tries retry
	for {
		n, err := s.nexus(ctx)
		var r Result
		sent := false
		if err == nil {
			r, sent, err = n.execute(ctx, &cmd)
		}
		if err == nil {
			return r, nil
		}
		if err = tries.lost(s, err, !sent || repeatable(&cmd.CDB)); err != nil {
			return Result{}, s.wrap(fmt.Sprintf("%s on LUN %v", cmd.CDB.Name(), cmd.LUN), err)
		}
	}
}

func (s *Session) wrap(op string, err error) error {
	var e *Error
	if errors.As(err, &e) && !errors.Is(err, ErrConnectionLost) {
		return err
	}
	return &Error{Op: op, Target: s.cfg.Target, Portal: s.Portal(), Err: err}
}
