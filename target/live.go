package target

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/bootlun/bootlun/iscsi"
	"github.com/bootlun/bootlun/scsi"
	"github.com/bootlun/bootlun/target/store"
)

// Errors of changes to a server that is running. They arrive wrapped.
var (
	ErrNoTarget  = errors.New("target: there is no such target")
	ErrNoLUN     = errors.New("target: there is no such LUN")
	ErrNoSession = errors.New("target: there is no such session")
	ErrExists    = errors.New("target: there is one already")

	// ErrStillInUse is a store that a command holds on to after its LUN or target
	// was removed. It must not be closed before Serve has returned.
	ErrStillInUse = errors.New("target: a command has not ended")
)

// endGrace is how long a change waits for what it has aborted or closed: nothing
// but a store that is stuck takes that long.
const endGrace = 2 * time.Second

// find returns the target of a name as a user writes it.
func (s *Server) find(name string) (*target, error) {
	if normal, err := iscsi.ParseName(name); err == nil {
		if t := s.target(normal); t != nil {
			return t, nil
		}
	}
	return nil, fmt.Errorf("%w: %s", ErrNoTarget, name)
}

// AddTarget adds a target to those that are served. Like New, it keeps the
// stores and nothing else of cfg.
func (s *Server) AddTarget(cfg *Target) error {
	if err := cfg.check(); err != nil {
		return fmt.Errorf("target %s: %w", cfg.Name, err)
	}
	name, _ := iscsi.ParseName(cfg.Name) // checked before
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.target(name) != nil {
		return fmt.Errorf("%w: %s", ErrExists, name)
	}
	t, err := s.newTarget(cfg)
	if err != nil {
		return err
	}
	s.targets.Store(s.targets.Load().with(t))
	s.tellChanged()
	s.log.Info("target added", "target", t.name, "luns", len(cfg.LUNs))
	return nil
}

// SetTarget gives a target the alias, the CHAP settings, the allowed initiators,
// the portal groups and the redirection of cfg, whose name says which target it is and whose LUNs do not
// count. They hold for logins from now on; sessions that are there stay.
func (s *Server) SetTarget(cfg *Target) error {
	if err := cfg.check(); err != nil {
		return fmt.Errorf("target %s: %w", cfg.Name, err)
	}
	t, err := s.find(cfg.Name)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	next := newSettings(cfg)
	next.draining = t.settings.Load().draining
	t.settings.Store(next)
	s.tellChanged()
	s.log.Info("target changed", "target", t.name, "chap", next.chap != nil, "allowed", next.allowed)
	return nil
}

// RemoveTarget takes a target out of those that are served and ends its sessions,
// in the way Drain does. When it returns without [ErrStillInUse], nothing uses the
// stores of the target's LUNs any more.
func (s *Server) RemoveTarget(ctx context.Context, name string) error {
	t, err := s.find(name)
	if err != nil {
		return err
	}
	s.mu.Lock()
	t.drain(true)
	s.targets.Store(s.targets.Load().without(t))
	s.tellChanged()
	s.mu.Unlock()
	s.log.Info("target removed", "target", t.name)
	err = s.endSessions(ctx, s.sessionsOf(t))
	return errors.Join(err, s.devices.closeAll(t))
}

// Drain empties a target of sessions: no login succeeds any more, the initiators
// are asked to log out, and those that have not when ctx ends are disconnected. It
// returns when the target has no session. [Server.Resume] lets initiators in
// again.
func (s *Server) Drain(ctx context.Context, name string) error {
	t, err := s.find(name)
	if err != nil {
		return err
	}
	s.mu.Lock()
	t.drain(true)
	s.mu.Unlock()
	s.log.Info("target is being drained", "target", t.name)
	return s.endSessions(ctx, s.sessionsOf(t))
}

// Resume ends what Drain began: the target takes logins again.
func (s *Server) Resume(name string) error {
	t, err := s.find(name)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	t.drain(false)
	s.log.Info("target takes logins again", "target", t.name)
	return nil
}

// drain sets whether the target refuses logins. The caller holds Server.mu.
func (t *target) drain(on bool) {
	next := *t.settings.Load()
	next.draining = on
	t.settings.Store(&next)
}

// Disconnect ends a session: its initiator is asked to log out and, if it has not
// when ctx ends, disconnected. Most initiators log in again at once, unless the
// target is being drained.
func (s *Server) Disconnect(ctx context.Context, tsih uint16) error {
	s.mu.Lock()
	sess := s.sessions[tsih]
	s.mu.Unlock()
	if sess == nil {
		return fmt.Errorf("%w: TSIH %d", ErrNoSession, tsih)
	}
	return s.endSessions(ctx, []*session{sess})
}

// endSessions asks sessions to log out until ctx ends, and then closes them.
func (s *Server) endSessions(ctx context.Context, sessions []*session) error {
	if ctx.Err() == nil {
		within := s.config().LogoutTimeout
		if deadline, ok := ctx.Deadline(); ok {
			within = time.Until(deadline)
		}
		for _, sess := range sessions {
			sess.askToLogOut(within)
		}
		waitOver(ctx, sessions)
	}
	for _, sess := range sessions {
		sess.drop(errDisconnected)
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), endGrace)
	defer cancel()
	if !waitOver(grace, sessions) {
		return fmt.Errorf("%w, though its session was closed", ErrStillInUse)
	}
	return nil
}

// waitOver waits for the end of sessions and tells whether all have come to it.
func waitOver(ctx context.Context, sessions []*session) bool {
	for _, sess := range sessions {
		select {
		case <-sess.over:
		case <-ctx.Done():
			return false
		}
	}
	return true
}

// AddLUN adds a LUN to a target. The initiators that have sessions with it are
// told that there is something new, by a unit attention condition.
func (s *Server) AddLUN(name string, l LUN) error {
	if err := l.check(); err != nil {
		return fmt.Errorf("target %s: LUN %d: %w", name, l.Number, err)
	}
	t, err := s.find(name)
	if err != nil {
		return err
	}
	t.changing.Lock()
	defer t.changing.Unlock()
	if t.units.Load().byNumber[l.Number] != nil {
		return fmt.Errorf("%w: target %s, LUN %d", ErrExists, t.name, l.Number)
	}
	u, err := s.devices.open(l, location{t, l.Number})
	if err != nil {
		return fmt.Errorf("target %s: LUN %d: %w", t.name, l.Number, err)
	}
	units, access := maps.Clone(t.units.Load().byNumber), maps.Clone(t.units.Load().access)
	units[l.Number], access[l.Number] = u, l.Access.clone()
	t.units.Store(newUnitSet(units, access))
	s.eachJoined(t, func(sess *session, nexuses map[int]*nexus) map[int]*nexus {
		if !l.Access.admits(&sess.who) {
			return nexuses
		}
		alertAll(nexuses, scsi.ASCReportedLUNsChanged)
		nexuses = maps.Clone(nexuses)
		nexuses[l.Number] = u.join(sess)
		return nexuses
	})
	s.log.Info("LUN added", "target", t.name, "lun", l.Number, "bytes", l.Store.Size())
	return nil
}

// RemoveLUN takes a LUN away from a target, whose initiators are told so by a
// unit attention condition. Commands that are under way may end until ctx does;
// then they are aborted. When it returns without [ErrStillInUse], nothing uses the
// LUN's store any more, but for other LUNs that have the same one.
func (s *Server) RemoveLUN(ctx context.Context, name string, number int) error {
	t, err := s.find(name)
	if err != nil {
		return err
	}
	u, left, err := s.takeLUN(t, number)
	if err != nil {
		return err
	}
	s.log.Info("LUN removed", "target", t.name, "lun", number)
	var all aborting
	for _, n := range left {
		all = append(all, n.running())
	}
	if all.waitFor(ctx) != nil {
		for _, n := range left {
			n.s.abortMatching(func(t *task) bool { return t.nx == n })
		}
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), endGrace)
		defer cancel()
		err = all.waitFor(grace)
	}
	t.changing.Lock()
	for _, n := range left {
		n.leave()
		counts := n.meter.counts()
		n.s.past.add(&counts)
	}
	delete(t.past, number)
	t.changing.Unlock()
	if err = errors.Join(err, s.devices.close(u, location{t, number})); err != nil {
		return fmt.Errorf("target %s: LUN %d: %w", t.name, number, ErrStillInUse)
	}
	return nil
}

// takeLUN makes a unit of a target unknown to all sessions, and returns it with
// the nexuses that it had.
func (s *Server) takeLUN(t *target, number int) (u *unit, left []*nexus, err error) {
	t.changing.Lock()
	defer t.changing.Unlock()
	units := maps.Clone(t.units.Load().byNumber)
	if u = units[number]; u == nil {
		return nil, nil, fmt.Errorf("%w: target %s, LUN %d", ErrNoLUN, t.name, number)
	}
	delete(units, number)
	access := maps.Clone(t.units.Load().access)
	delete(access, number)
	t.units.Store(newUnitSet(units, access))
	s.eachJoined(t, func(_ *session, nexuses map[int]*nexus) map[int]*nexus {
		if nexuses[number] == nil { // it may not use the LUN
			return nexuses
		}
		left = append(left, nexuses[number])
		nexuses = maps.Clone(nexuses)
		delete(nexuses, number)
		alertAll(nexuses, scsi.ASCReportedLUNsChanged)
		return nexuses
	})
	return u, left, nil
}

// eachJoined replaces the nexuses of every session that has joined the target's
// units by what change makes of them. The caller holds t.changing.
func (s *Server) eachJoined(t *target, change func(*session, map[int]*nexus) map[int]*nexus) {
	for _, sess := range s.sessionsOf(t) {
		if old := sess.nexuses.Load(); old != nil {
			next := change(sess, *old)
			sess.nexuses.Store(&next)
		}
	}
}

// alertAll establishes a unit attention condition for each nexus.
func alertAll(nexuses map[int]*nexus, asc scsi.ASC) {
	for _, n := range nexuses {
		n.u.mu.Lock()
		n.alert(asc)
		n.u.mu.Unlock()
	}
}

// ResizeLUN makes a LUN's store size bytes long, or has it take on the size that
// its medium has by now if size is 0, and tells the initiators. The store must be
// a [store.Resizer]; what a store loses by shrinking is lost. It returns the size
// that initiators now see.
func (s *Server) ResizeLUN(name string, number int, size int64) (int64, error) {
	t, err := s.find(name)
	if err != nil {
		return 0, err
	}
	u := t.units.Load().byNumber[number]
	if u == nil {
		return 0, fmt.Errorf("%w: target %s, LUN %d", ErrNoLUN, t.name, number)
	}
	before := u.blocks.Load()
	if err := u.resize(size); err != nil {
		return 0, fmt.Errorf("target %s: LUN %d: %w", t.name, number, err)
	}
	now := int64(u.blocks.Load()) << u.shift
	if u.blocks.Load() != before {
		s.log.Info("LUN resized", "target", t.name, "lun", number, "bytes", now)
	}
	return now, nil
}

func (u *unit) resize(size int64) error {
	r, ok := u.store.(store.Resizer)
	switch {
	case !ok:
		return fmt.Errorf("a %T has a fixed size: %w", u.store, errors.ErrUnsupported)
	case size != 0 && size < u.blockSize():
		return fmt.Errorf("%d bytes are less than one block", size)
	}
	u.changing.Lock()
	defer u.changing.Unlock()
	before := u.blocks.Load()
	if size != 0 { // before the store shrinks, so that no command expects what is gone
		u.blocks.Store(min(before, uint64(size)>>u.shift))
	}
	err := r.Resize(size)
	u.blocks.Store(uint64(u.store.Size()) >> u.shift)
	if u.blocks.Load() != before {
		u.alertOthers(nil, scsi.ASCCapacityChanged)
	}
	return err
}

// running returns the tasks of the nexus.
func (n *nexus) running() abortedTasks {
	s := n.s
	s.mu.Lock()
	defer s.mu.Unlock()
	of := abortedTasks{s: s}
	for itt, t := range s.tasks {
		if t.nx == n {
			of.refs = append(of.refs, taskRef{t, itt, t.serial})
		}
	}
	return of
}
