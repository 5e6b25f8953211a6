//go:build linux && !386

package kernel

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Kept is a session that a keeper keeps.
type Kept struct {
	// SID is its number.
	SID uint32
	// Config is how to log in again; ISID must be that of the session. Its Portal is tried first.
	Config Config
	// Portals are others of the same target, tried in this order when the first fails.
	Portals []string
	// IfIndex is the network device to connect by; 0 leaves that to Config.Dialer.
	IfIndex int
}

// KeeperConfig says what to keep.
type KeeperConfig struct {
	Sessions []Kept
	// Roots are where the kernel shows itself.
	Roots Roots
	// Look is how often to look at sessions and for iscsid, besides the kernel's events; 0 is 5 s.
	Look time.Duration
	// MinPause and MaxPause bound the pause between two rounds through the portals; it doubles from the one to the other. 0 are
	// 250 ms and 10 s. A keeper never gives up: the disk may be the machine's root.
	MinPause, MaxPause time.Duration
	// Patience is how long a session that iscsid is in charge of may stay broken, although a portal answers, before the
	// keeper recovers it; 0 is one minute.
	Patience time.Duration
	// Changed, unless nil, is called with all sessions whenever one changes. Calls do not overlap.
	Changed func([]KeptState)
	// Logger hears of losses, recoveries and who is in charge; nil discards.
	Logger *slog.Logger

	openLink func() (link, error)
}

// KeptState is how a kept session is.
type KeptState struct {
	SID    uint32 `json:"sid"`
	Target string `json:"target"`
	// Portal is the last one by which the keeper has logged in.
	Portal string `json:"portal"`
	// State is the kernel's word: LOGGED_IN, FAILED or FREE; GONE for a session that was logged out.
	State    string `json:"state"`
	InCharge Charge `json:"inCharge"`
	// Recoveries counts those by the keeper; LastOutage is how long the last of them took, from the loss to I/O.
	Recoveries int           `json:"recoveries"`
	LastOutage time.Duration `json:"lastOutageNanoseconds"`
	// LastError is why the keeper's last attempt failed; empty once one has succeeded.
	LastError string `json:"lastError,omitempty"`
}

// Keep watches over sessions until ctx ends, which is no error, or none is left.
//
// It is in charge of all of them unless the system's iscsid runs: that one takes every session over when it starts, and two must
// not recover the same session. When iscsid ends, or cannot recover a session although its portal answers, the keeper takes over.
func Keep(ctx context.Context, config KeeperConfig) error {
	k := &keeper{KeeperConfig: config}
	k.Roots = k.Roots.withDefaults()
	k.Look = cmp.Or(k.Look, 5*time.Second)
	k.MinPause, k.MaxPause = cmp.Or(k.MinPause, 250*time.Millisecond), cmp.Or(k.MaxPause, 10*time.Second)
	k.Patience = cmp.Or(k.Patience, time.Minute)
	if k.Logger == nil {
		k.Logger = slog.New(slog.DiscardHandler)
	}
	if k.openLink == nil {
		k.openLink = openNetlink
	}
	for _, s := range config.Sessions {
		s.Config.Roots, s.Config.openLink = k.Roots, k.openLink
		s.Config.Logger = k.Logger
		k.kept = append(k.kept, &kept{
			Kept: s, keeper: k, lost: make(chan error, 1), log: k.Logger.With("session", s.SID, "target", s.Config.Target),
			state: KeptState{SID: s.SID, Target: s.Config.Target, Portal: s.Config.Portal, State: stateLoggedIn},
		})
	}
	return k.run(ctx)
}

type keeper struct {
	KeeperConfig
	kept []*kept
	mu   sync.Mutex // of every session's state, and of Changed
}

func (k *keeper) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var listener, sessions sync.WaitGroup
	listener.Go(func() { k.listen(ctx) })
	for _, s := range k.kept {
		sessions.Go(func() { s.keep(ctx) })
	}
	sessions.Wait()
	cancel()
	listener.Wait()
	return nil
}

// listen tells sessions of the kernel's connection errors. What is lost of them (a socket that overflows, one that cannot be
// opened) is made up for by the sessions' own looks.
func (k *keeper) listen(ctx context.Context) {
	for ctx.Err() == nil {
		err := k.events(ctx)
		if ctx.Err() != nil {
			return
		}
		k.Logger.Warn("the kernel's iSCSI events were lost for a while", "err", err)
		sleep(ctx, k.Look)
	}
}

func (k *keeper) events(ctx context.Context) error {
	l, err := k.openLink()
	if err != nil {
		return err
	}
	defer l.Close()
	ctl := newControl(l, 0)
	for {
		m, err := ctl.next(ctx)
		switch {
		case errors.Is(err, unix.ENOBUFS):
			continue // the looks see what this missed
		case err != nil:
			return err
		case m.header() != 0 || m.kind() != evConnError:
			continue
		}
		sid, _ := m.ids()
		for _, s := range k.kept {
			if s.SID == sid {
				s.tell(m.connError())
			}
		}
	}
}

// sleep pauses, or returns early when ctx ends.
func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// kept is one session under watch.
type kept struct {
	Kept
	*keeper
	log  *slog.Logger
	lost chan error // why its connection was lost; the last word counts

	state    KeptState // under keeper.mu
	brokenAt time.Time // when it was seen broken; zero while it works
	answered time.Time // since when a portal has answered although iscsid has not recovered it
}

// tell notes a loss; one that is noted already stands for both.
func (s *kept) tell(cause error) {
	select {
	case s.lost <- cause:
	default:
	}
}

// keep is the session's goroutine.
func (s *kept) keep(ctx context.Context) {
	look := time.NewTicker(s.Look)
	defer look.Stop()
	var cause error
	for s.attend(ctx, cause) {
		cause = nil
		select {
		case <-ctx.Done():
			return
		case cause = <-s.lost:
		case <-look.C:
		}
	}
}

// attend looks after the session, which the kernel has given up for that cause unless it is nil; false when there is none any more.
func (s *kept) attend(ctx context.Context, cause error) bool {
	state := s.look()
	switch {
	case state == stateGone:
		s.log.Info("the session was logged out")
		return false
	case state == stateLoggedIn && cause == nil:
		s.brokenAt, s.answered = time.Time{}, time.Time{}
		return true
	case s.brokenAt.IsZero():
		s.brokenAt = time.Now()
		if cause == nil {
			cause = errors.New("its state is " + state)
		}
		s.log.Warn("connection lost, I/O waits", "cause", cause, "in charge", s.state.InCharge)
	}
	if s.state.InCharge.ISCSID == 0 || s.iscsidFails(ctx) {
		s.recover(ctx)
	}
	return true
}

// stateGone is the state of a session that the kernel does not have.
const stateGone = "GONE"

// look reads the session's state and who is in charge.
func (s *kept) look() string {
	dir := sessionDir(s.Roots, s.SID)
	state := stateGone
	if dir.exists() {
		state = dir.text("state")
	}
	pid, err := iscsidPID(s.Roots.Proc)
	if err != nil {
		s.log.Warn("cannot see whether iscsid runs", "err", err)
	}
	if charge := (Charge{ISCSID: pid}); charge != s.state.InCharge {
		s.log.Warn(fmt.Sprintf("in charge of the session from now on: %v", charge))
	}
	s.change(func(k *KeptState) { k.State, k.InCharge = state, Charge{ISCSID: pid} })
	return state
}

// change updates the session's state and tells of it if it has changed.
func (s *kept) change(f func(*KeptState)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := s.state
	f(&s.state)
	if s.state == before || s.Changed == nil {
		return
	}
	all := make([]KeptState, len(s.kept))
	for i, other := range s.kept {
		all[i] = other.state
	}
	s.Changed(all)
}

// iscsidFails reports whether iscsid has left the session broken for too long while a portal answers.
func (s *kept) iscsidFails(ctx context.Context) bool {
	if !s.portalAnswers(ctx) {
		s.answered = time.Time{}
		return false
	}
	if s.answered.IsZero() {
		s.answered = time.Now()
	}
	if time.Since(s.answered) < s.Patience {
		return false
	}
	s.log.Warn("iscsid does not recover the session although its portal answers: the keeper does", "in charge", s.state.InCharge)
	s.answered = time.Time{}
	return true
}

// portalAnswers tries to connect, no more.
func (s *kept) portalAnswers(ctx context.Context) bool {
	cfg, err := s.attempt(s.Config.Portal).withDefaults()
	if err != nil {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, s.Look)
	defer cancel()
	conn, err := cfg.Dialer.DialContext(ctx, "tcp", s.Config.Portal)
	if err != nil {
		return false
	}
	conn.Close()
	return true
}

// portals are all by which to try, the one that worked last first.
func (s *kept) portals() []string {
	all := []string{s.state.Portal}
	for _, p := range append([]string{s.Config.Portal}, s.Portals...) {
		if !slices.Contains(all, p) {
			all = append(all, p)
		}
	}
	return all
}

// attempt is the configuration of a login at a portal.
func (s *kept) attempt(portal string) Config {
	cfg := s.Config
	cfg.Portal = portal
	if s.IfIndex == 0 {
		return cfg
	}
	cfg.Dialer = indexDialer(s.IfIndex)
	cfg.Interface.NetDev = deviceName(s.IfIndex)
	return cfg
}
