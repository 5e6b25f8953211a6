package target

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/bootlun/bootlun/iscsi"
)

// A task belongs to the connection that brought its command (RFC 7143, 4.2.2,
// connection allegiance): its data and its status travel there. Who loses that
// connection loses its tasks, and no others; the session lives on as long as it
// has a connection. With error recovery level 2 the tasks of a lost connection
// wait for an initiator that takes them over to another (reassign.go), and a
// session without a connection waits for its next one.

// adopt makes a connection that has logged in one of the session's. It takes the
// place of one with its CID, whose end is waited for, as long as ctx lets it
// (RFC 7143, 6.3.4).
func (s *session) adopt(ctx context.Context, c *conn, info *iscsi.LoginInfo) iscsi.LoginStatus {
	s.mu.Lock()
	switch {
	case s.who.user != info.CHAPUser:
		s.mu.Unlock()
		return iscsi.StatusAuthorizationFailed
	case s.holders == 0:
		s.mu.Unlock()
		return iscsi.StatusSessionDoesNotExist
	}
	s.holders++ // so that the end of the old connection is not that of the session
	status := s.replace(ctx, c, info.ExpStatSN)
	s.mu.Unlock()
	if status != iscsi.StatusSuccess {
		s.release(c)
	}
	return status
}

// replace enters a connection under its CID, in place of one that has it. The
// caller holds s.mu, which is given up meanwhile. exp is up to where the initiator
// has the responses of the old one.
func (s *session) replace(ctx context.Context, c *conn, exp uint32) iscsi.LoginStatus {
	for {
		old := s.conns[c.cid]
		switch {
		case s.dropped != nil:
			return iscsi.StatusSessionDoesNotExist
		case old == nil && len(s.conns) >= s.params.MaxConnections:
			return iscsi.StatusTooManyConnections
		case old == nil:
			s.conns[c.cid] = c
			if s.trace != nil {
				s.tap(c)
			}
			s.acknowledgeOld(c.cid, exp)
			s.nudge()
			return iscsi.StatusSuccess
		}
		s.mu.Unlock()
		old.close(errReinstated)
		select {
		case <-old.left:
		case <-ctx.Done():
		}
		s.mu.Lock()
		if ctx.Err() != nil {
			return iscsi.StatusTargetError
		}
	}
}

// acknowledgeOld lets go of the tasks of connections that are over whose
// responses have arrived. The caller holds s.mu.
func (s *session) acknowledgeOld(cid uint16, exp uint32) {
	for _, c := range s.lingering {
		if c.cid != cid {
			continue
		}
		c.answered = slices.DeleteFunc(c.answered, func(t *task) bool {
			arrived := iscsi.SNLess(t.statSN, exp)
			if arrived {
				t.free()
			}
			return arrived
		})
	}
}

// release gives up a connection's hold on the session. The last one ends it.
func (s *session) release(c *conn) {
	s.mu.Lock()
	s.holders--
	last := s.holders == 0
	s.mu.Unlock()
	switch {
	case last:
		s.finish(c)
	case c.serving.Load():
		c.lostConnection()
	}
}

// detach ends what a connection that is over is to its session: its tasks are
// aborted, or wait to be taken over. The last one ends the session.
func (s *session) detach(c *conn) {
	s.mu.Lock()
	c.gone = true
	keep := s.keeps(c)
	if !keep {
		s.abort(func(t *task) bool { return t.c == c })
	}
	s.forgetKept(func(r *request) bool { return r.c == c })
	s.mu.Unlock()
	c.workers.Wait()
	s.mu.Lock()
	for s.worksFor(c) {
		s.taskEnded.Wait()
	}
	s.mu.Unlock()
	answered := c.out.end(keep)
	s.mu.Lock()
	c.answered = answered
	if s.conns[c.cid] == c {
		delete(s.conns, c.cid)
	}
	if keep {
		s.lingering = append(s.lingering, c)
	}
	close(c.left)
	if keep {
		s.linger(c)
	}
	s.mu.Unlock()
	s.release(c)
}

// keeps tells whether what a connection leaves behind is kept for its initiator
// to take up again. The caller holds s.mu.
func (s *session) keeps(c *conn) bool {
	return s.params.ErrorRecoveryLevel >= 2 && s.dropped == nil && c.serving.Load() &&
		!errors.Is(context.Cause(c.done), errLoggedOut)
}

// worksFor reports whether a task of the connection has not come to rest. The
// caller holds s.mu.
func (s *session) worksFor(c *conn) bool {
	for _, t := range s.tasks {
		if t.c == c && !t.resting() {
			return true
		}
	}
	return false
}

// linger waits for the tasks of a lost connection to be taken over, or for the
// session without a connection to get one, as long as the initiator has been
// promised (RFC 7143, 13.15 and 13.16), and aborts the tasks that are left. The
// caller holds s.mu.
func (s *session) linger(c *conn) {
	timer := time.NewTimer(time.Duration(s.params.DefaultTime2Wait+s.params.DefaultTime2Retain) * time.Second)
	defer timer.Stop()
	for s.dropped == nil && (len(s.conns) == 0 || s.leftBehind(c)) {
		s.mu.Unlock()
		done := false
		select {
		case <-timer.C:
			done = true
		case <-s.ending:
			done = true
		case <-c.v.ctx.Done():
			done = true
		case <-c.nudged:
		}
		s.mu.Lock()
		if done {
			break
		}
	}
	s.lingering = slices.DeleteFunc(s.lingering, func(l *conn) bool { return l == c })
	s.abort(func(t *task) bool { return t.c == c })
	for _, t := range c.answered {
		t.free()
	}
	c.answered = nil
}

// nudge has the connections that linger look again. The caller holds s.mu.
func (s *session) nudge() {
	for _, c := range s.lingering {
		select {
		case c.nudged <- struct{}{}:
		default:
		}
	}
}

// leftBehind reports whether a connection that is over has tasks, answered ones
// included. The caller holds s.mu.
func (s *session) leftBehind(c *conn) bool {
	if len(c.answered) > 0 {
		return true
	}
	for _, t := range s.tasks {
		if t.c == c {
			return true
		}
	}
	return false
}

// drop ends the session for a reason, of which the first counts.
func (s *session) drop(reason error) {
	s.mu.Lock()
	first := s.dropped == nil
	conns := s.markDropped(reason)
	if first && (errors.Is(reason, errDisconnected) || errors.Is(reason, errColdReset)) {
		conns = slices.DeleteFunc(conns, func(c *conn) bool { // those whose initiator can be told
			return c.serving.Load() && c.spawn(func() { c.farewell(reason) })
		})
	}
	s.mu.Unlock()
	for _, c := range conns {
		c.close(reason)
	}
}

// droppedFor returns why the session is to end, or nil.
func (s *session) droppedFor() error {
	select {
	case <-s.ending:
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.dropped
	default:
		return nil
	}
}

// markDropped says that the session is to end, and returns the connections to
// close. The caller holds s.mu.
func (s *session) markDropped(reason error) []*conn {
	if s.dropped == nil {
		s.dropped = reason
		close(s.ending)
	}
	return s.connections()
}

// connections returns the session's connections. The caller holds s.mu.
func (s *session) connections() []*conn {
	conns := make([]*conn, 0, len(s.conns))
	for _, c := range s.conns {
		conns = append(conns, c)
	}
	return conns
}
