package initiator

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/bootlun/bootlun/iscsi"
)

// CloseConnection logs one of several connections out of the session (RFC 7143,
// 11.14.1: close the connection). Connections are numbered from 0 in the order in
// which they were made. This one takes no more commands; when those that it has are
// done, it logs out, within Timeouts.Logout. If ctx ends before, the connection
// stays. The session goes on with the others; if it has to log in again, it makes
// all anew.
func (s *Session) CloseConnection(ctx context.Context, number int) error {
	n, err := s.nexus(ctx)
	if err == nil {
		err = n.closeConnection(ctx, number)
	}
	if err != nil {
		return s.wrap(fmt.Sprintf("close connection %d", number), err)
	}
	return nil
}

func (s *nexus) closeConnection(ctx context.Context, number int) error {
	l, err := s.dismiss(number)
	if err != nil {
		return err
	}
	select {
	case <-l.drained:
	case <-l.dead:
		return l.cause()
	case <-ctx.Done():
		l.stay()
		return context.Cause(ctx)
	}
	if err := l.sendLogout(iscsi.LogoutConnection); err != nil {
		return err
	}
	limit := time.AfterFunc(s.cfg.Timeouts.Logout, func() {
		l.fail(fmt.Errorf("no answer to the logout within %v", s.cfg.Timeouts.Logout))
	})
	defer limit.Stop()
	<-l.dead
	if answered, err := l.logoutAnswer(); answered {
		return err
	}
	if err := l.cause(); err != errLoggedOut {
		return err
	}
	return nil // it hung up without a word, which comes to the same
}

// logoutAnswer is what the target has answered to a logout, if it has; an error is
// that it did not agree.
func (l *link) logoutAnswer() (answered bool, err error) {
	select {
	case r := <-l.loggedOut:
		if r != iscsi.LogoutClosed {
			err = fmt.Errorf("the target answers: %v", r)
		}
		return true, err
	default:
		return false, nil
	}
}

// dismiss has a link take no more commands, unless it is the last that does.
func (s *nexus) dismiss(number int) (*link, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	links := s.connections()
	switch {
	case s.err != nil:
		return nil, s.err
	case number < 0 || number >= len(links) || links[number].away.Load():
		return nil, errors.New("the session has no such connection")
	case s.live() < 2:
		return nil, errors.New("it is the last one: close the session")
	}
	l := links[number]
	l.away.Store(true)
	l.leaving.Store(true)
	select {
	case <-l.drained: // of an earlier time
	default:
	}
	if l.open.Load() == 0 {
		signal(l.drained)
	}
	return l, nil
}

// stay undoes what dismiss has done.
func (l *link) stay() {
	l.s.mu.Lock()
	defer l.s.mu.Unlock()
	if l.err == nil {
		l.leaving.Store(false)
		l.away.Store(false)
		signal(l.s.opened)
	}
}
