package initiator

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/bootlun/bootlun/iscsi"
	"github.com/bootlun/bootlun/scsi"
)

// Path is one way to a disk: a LUN of a session.
type Path struct {
	Session *Session
	LUN     iscsi.LUN
}

// OpenPaths opens a disk that several paths lead to, whose sessions should have
// Recovery. The LUN uses the first path in the order given whose session is
// connected and whose access state is best; paths that the target says are
// active/optimized take turns. A command that fails with its path goes to the
// next, by the rules of Session.Execute; a path that comes back is used again.
//
// One path must be there to open the disk. The disk must have an identifier: a path
// that leads to another one is not used.
//
// A write whose path is lost is sent again by another while the first target port
// may still work at it: as with every multipath driver, a target that keeps commands
// of connections that it knows are gone could let it overwrite what came later.
func OpenPaths(ctx context.Context, paths ...Path) (*LUN, error) {
	if len(paths) == 0 {
		return nil, errors.New("initiator: open a disk: no paths")
	}
	list := make([]*path, len(paths))
	for i, p := range paths {
		list[i] = newPath(p.Session, p.LUN)
	}
	return openDisk(ctx, list)
}

// path is a Path of a LUN that is open.
type path struct {
	s  *Session
	id iscsi.LUN
	// checked and strange are the logins by which the LUN was last seen to be the
	// disk, or not to be it.
	checked, strange atomic.Pointer[nexus]
	// checking is held while the LUN is looked at.
	checking chan struct{}
	// group is the path's target port group and state that group's access state, or
	// one of those below.
	group, state atomic.Uint32
}

// Instead of a path's access state.
const (
	noState = 0x100 + iota // the device has no such thing
	unseen                 // it has never been looked at
)

func newPath(s *Session, id iscsi.LUN) *path {
	p := &path{s: s, id: id, checking: make(chan struct{}, 1)}
	p.state.Store(unseen)
	return p
}

// Ranks of paths, best first.
const (
	rankOptimized = iota
	rankActive
	rankNonOptimized
	rankInactive
	rankGone
)

func (p *path) rank() int {
	n := p.s.cur.Load()
	switch state := p.state.Load(); {
	case n.ending.Load() || p.strange.Load() == n:
		return rankGone
	case state == noState:
		return rankActive
	case state == unseen, state == uint32(scsi.ActiveOptimized): // unseen, that it be seen
		return rankOptimized
	case state == uint32(scsi.ActiveNonOptimized):
		return rankNonOptimized
	}
	return rankInactive
}

// choose returns the path to use next, or nil if none is there.
func (l *LUN) choose(paths []*path) *path {
	best, count := rankGone, uint32(0)
	for _, p := range paths {
		switch r := p.rank(); {
		case r < best:
			best, count = r, 1
		case r == best:
			count++
		}
	}
	if best == rankGone {
		return nil
	}
	skip := uint32(0)
	if best == rankOptimized && l.opened {
		skip = l.turn.Add(1) % count
	}
	var last *path
	for _, p := range paths {
		if p.rank() != best {
			continue
		}
		if last = p; skip == 0 {
			break
		}
		skip--
	}
	return last
}

// pick returns one of the paths with a login by which the LUN is known to be the disk. It
// waits for a lost connection as Session.nexus does. After an error that does not
// come from the way to a path, the path is nil.
func (l *LUN) pick(ctx context.Context, paths []*path) (*path, *nexus, error) {
	p := paths[0]
	if len(paths) > 1 {
		if p = l.choose(paths); p == nil {
			var err error
			if p, err = await(ctx, paths); err != nil {
				return nil, nil, err
			}
		}
	}
	n, err := p.s.nexus(ctx)
	if err == nil && p.checked.Load() != n {
		err = l.check(ctx, p, n)
	}
	return p, n, err
}

// await waits until a path's session is connected.
func await(ctx context.Context, paths []*path) (*path, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type outcome struct {
		p   *path
		err error
	}
	outcomes := make(chan outcome, len(paths))
	for _, p := range paths {
		go func() {
			n, err := p.s.nexus(ctx)
			if err == nil && n.ending.Load() { // without Recovery it stays so
				err = n.cause()
			} else if err == nil && p.strange.Load() == n {
				err = ErrOtherDisk
			}
			outcomes <- outcome{p, err}
		}()
	}
	var found *path
	var errs []error
	for range paths { // all of them: none is left behind
		switch o := <-outcomes; {
		case o.err == nil && found == nil:
			found = o.p
			cancel()
		case o.err != nil:
			errs = append(errs, o.err)
		}
	}
	if found != nil {
		return found, nil
	}
	return nil, errors.Join(errs...)
}

// check makes sure, after a login, that the LUN is the disk, and takes the unit
// attentions that the login has brought.
func (l *LUN) check(ctx context.Context, p *path, n *nexus) error {
	select {
	case p.checking <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	defer func() { <-p.checking }()
	if p.checked.Load() == n {
		return nil
	}
	v := view{l: l, p: p, n: n}
	if err := v.look(ctx); err != nil {
		if ctx.Err() == nil && !errors.Is(err, ErrConnectionLost) && !errors.Is(err, ErrNoLUN) {
			p.strange.Store(n)
		}
		return fmt.Errorf("check LUN %v at %s: %w", p.id, p.s.Portal(), err)
	}
	p.strange.Store(nil)
	p.checked.Store(n)
	return nil
}

// again returns nil if a command that failed so is due again, after the pause that
// it asks for, else the error to return. may says that it may be executed twice if
// its connection was lost. p is nil if no path was found.
func (l *LUN) again(ctx context.Context, tries *retry, p *path, err error, may bool) error {
	if p == nil {
		return err
	}
	l.heed(p, err)
	var e *scsi.Error
	several := len(l.paths) > 1
	switch {
	case p.strange.Load() == p.s.cur.Load():
		if tries.losses++; several && tries.losses <= p.s.cfg.Recovery.Repeats {
			return nil // another path, now or later
		}
		return err
	case errors.As(err, &e) && several && e.Sense.Key == scsi.KeyNotReady && pathSense(e.Sense.ASC),
		errors.Is(err, ErrNoLUN) && l.opened: // a target that starts may make its LUNs late
		if tries.busy++; tries.busy <= maxBusy && sleep(ctx, busyDelay) {
			return nil
		}
	case tries.again(ctx, err):
		return nil
	}
	return tries.lost(p.s, reserved(err), may)
}

// pathSense reports whether a command failed because of its path's access state.
func pathSense(asc scsi.ASC) bool {
	return asc == scsi.ASCTargetPortStandby || asc == scsi.ASCTargetPortUnavailable || asc == scsi.ASCAsymmetricAccessTransition
}

// heed takes what the device says beside a command's outcome.
func (l *LUN) heed(p *path, err error) {
	var e *scsi.Error
	if !errors.As(err, &e) || e.Status != scsi.StatusCheckCondition {
		return
	}
	attention := e.Sense.Key == scsi.KeyUnitAttention
	switch asc := e.Sense.ASC; {
	case attention && (asc == scsi.ASCCapacityChanged || asc == scsi.ASCAsymmetricAccessChanged || asc == scsi.ASCInquiryDataChanged || asc == scsi.ASCMediumMayHaveChanged),
		e.Sense.Key == scsi.KeyNotReady && pathSense(asc):
		p.checked.Store(nil)
	}
	if f := l.attention.Load(); attention && f != nil {
		(*f)(e.Sense)
	}
}
