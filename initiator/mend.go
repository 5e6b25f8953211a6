package initiator

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/bootlun/bootlun/iscsi"
)

// maxConnections bounds the connections of a session.
const maxConnections = 32

// reassigns reports whether a lost connection can be made good (RFC 7143, 7.1.4.3
// and 7.2): by a new one with its CID, to which its commands are given. Without, its
// loss is the session's.
func (s *nexus) reassigns() bool {
	return s.params.ErrorRecoveryLevel >= 2 && s.params.DefaultTime2Retain > 0 && s.result.TSIH != 0
}

// widen adds connections to a new session until it has as many as configured, or as
// the target allows. That there are fewer is no error.
func (s *nexus) widen(ctx context.Context) {
	want := min(s.cfg.Connections, s.params.MaxConnections)
	if s.result.TSIH == 0 { // the target breaks the rules: a login without would make a new session
		return
	}
	for cid := 1; cid < want && s.cause() == nil; cid++ {
		in, err := s.join(ctx, uint16(cid), 0, cid)
		if err != nil {
			s.cfg.Logger.Warn("no further connection", "target", s.cfg.Target, "connections", cid, "err", err)
			return
		}
		if !s.attach(newLink(s, uint16(cid), in)) {
			return
		}
	}
}

// join logs another connection in to the session, at the portal with the number first
// of those configured, or another. expStatSN is what is expected of the connection
// that had the CID before.
func (s *nexus) join(ctx context.Context, cid uint16, expStatSN uint32, first int) (*loggedIn, error) {
	w := s.cfg.way()
	if !slices.Contains(w.portals, s.addr) { // where the session was redirected to
		w.portals = append(w.portals, s.addr)
	}
	w.first = first % len(w.portals)
	return w.login(ctx, s.cfg, errand{
		tsih: s.result.TSIH, cid: cid, cmdSN: s.nextCmdSN.Load(), expStatSN: expStatSN,
	})
}

// attach makes a new link one of the session's, in the place of the one with its CID,
// and reports whether the session still is.
func (s *nexus) attach(l *link) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		l.kill(s.err)
		return false
	}
	links := slices.Clone(s.connections())
	if int(l.cid) == len(links) {
		links = append(links, l)
	} else {
		s.hand(links[l.cid], l)
		links[l.cid] = l
	}
	s.links.Store(&links)
	l.begin()
	signal(s.opened)
	return true
}

// hand gives the commands of a link that is gone to another; their calls ask the
// target for that, and for what it has not got. nexus.mu is held.
func (s *nexus) hand(old, l *link) {
	for i := range s.tasks {
		t := &s.tasks[i]
		if t.call == nil || t.done || t.link != old {
			continue
		}
		t.link, t.due, t.moved = l, reassign, true
		t.ended, t.held = false, false // the status, not confirmed, comes again
		if len(t.in) > 0 {
			t.expDataSN = t.seq.first()
		}
		t.r2ts = t.r2ts[:0] // the target asks again
		l.open.Add(1)
		l.missing.Add(int32(len(t.seq.missing)))
		s.post(t)
	}
}

// mend gets a connection in the place of one that is gone. Commands that were in
// flight must have it within the time that the target keeps them; without it the
// session is given up.
func (s *nexus) mend(old *link) {
	began := time.Now()
	old.wg.Wait()
	old.quiesce()
	wait := s.timeToWait()
	if named := old.wait.Load(); named > 0 {
		wait = min(time.Duration(named-1)*time.Second, maxTimeToWait)
	}
	ctx := s.ctx
	if old.cause() != errLoggedOut {
		limit := wait + time.Duration(s.params.DefaultTime2Retain)*time.Second
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, began.Add(limit))
		defer cancel()
	}
	s.cfg.Logger.Warn("connection lost", "target", s.cfg.Target, "cid", old.cid, "err", old.cause())
	delay := firstDelay
	for sleep(ctx, wait) {
		in, err := s.join(ctx, old.cid, old.expStatSN.Load(), int(old.cid))
		if err == nil {
			if s.attach(newLink(s, old.cid, in)) {
				s.cfg.Logger.Info("connection is back", "target", s.cfg.Target, "cid", old.cid, "after", time.Since(began))
			}
			return
		}
		var refused *iscsi.LoginError
		if errors.As(err, &refused) && refused.Status.Class() == 2 && old.cause() != errLoggedOut {
			s.end(fmt.Errorf("%w: the target does not let it be made good: %w", old.cause(), err))
			return
		}
		wait, delay = delay, min(2*delay, s.cfg.Recovery.MaxDelay)
	}
	if s.ctx.Err() == nil {
		s.end(fmt.Errorf("%w: it could not be made good within %v", old.cause(), time.Since(began).Round(time.Second)))
	}
}

// sendReassign asks the target to give a task to this link.
func (l *link) sendReassign(t *task) error {
	return l.send(&iscsi.TaskManagementRequest{
		Immediate: true, Function: iscsi.TaskReassign, LUN: t.lun,
		ITT: t.tag | tagReassign, ReferencedITT: t.tag, RefCmdSN: t.cmdSN, ExpDataSN: t.expDataSN,
	})
}

// reassigned takes the answer. A command that the target has not got is sent again
// under its number; one that it has and has let go of is lost. nexus.mu is held.
func (l *link) reassigned(t *task, r *iscsi.TaskManagementResponse) {
	switch {
	case r.Response == iscsi.TaskFunctionComplete:
	case r.Response == iscsi.TaskDoesNotExist && !iscsi.SNLess(t.cmdSN, r.ExpCmdSN):
		t.due = resend
		l.s.post(t)
	default:
		t.err = fmt.Errorf("%w: the target does not give the command to another: %v", ErrConnectionLost, r.Response)
		l.s.conclude(t)
	}
}
