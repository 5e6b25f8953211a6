package target

import (
	"time"

	"github.com/bootlun/bootlun/iscsi"
)

// logout ends a connection or the session, or says why not (RFC 7143, 11.14).
func (c *conn) logout(r *request) error {
	var p iscsi.LogoutRequest
	if err := p.Decode(&r.bhs); err != nil {
		return err
	}
	s := c.sess
	switch {
	case p.Reason > iscsi.LogoutRecovery:
		c.reject(r, iscsi.RejectInvalidField, "unknown logout reason")
		return nil
	case p.Reason == iscsi.LogoutSession:
		s.mu.Lock()
		conns := s.markDropped(errLoggedOut)
		s.mu.Unlock()
		return c.logOut(&p, conns, errLoggedOut)
	case p.Reason == iscsi.LogoutRecovery && s.params.ErrorRecoveryLevel < 2:
		c.logoutResponse(&p, iscsi.LogoutRecoveryNotSupported)
		return nil
	}
	s.mu.Lock()
	named := s.conns[p.CID]
	s.mu.Unlock()
	switch {
	case named == nil:
		c.logoutResponse(&p, iscsi.LogoutCIDNotFound)
		return nil
	case p.Reason == iscsi.LogoutRecovery:
		return c.logOut(&p, []*conn{named}, errRecovery)
	}
	return c.logOut(&p, []*conn{named}, errLoggedOut)
}

// logOut ends connections for a reason and answers when they have ended. This
// one, if it is among them, ends after the answer.
func (c *conn) logOut(p *iscsi.LogoutRequest, conns []*conn, reason error) error {
	for _, other := range conns {
		if other != c {
			other.close(reason)
		}
	}
	c.sess.mu.Lock()
	defer c.sess.mu.Unlock()
	c.spawn(func() {
		self := false
		for _, other := range conns {
			if self = self || other == c; other == c {
				continue
			}
			select {
			case <-other.left:
			case <-c.done.Done(): // the other may be waiting for this one
			}
		}
		if self && reason == errLoggedOut {
			c.abandon()
			c.sess.letGo()
		}
		c.logoutResponse(p, iscsi.LogoutClosed)
		c.push()
		if self {
			c.close(reason)
		}
	})
	return nil
}

// letGo ends what a session that one connection is left of, which logs out, keeps
// others from: they are let in by the time that the initiator has its answer.
func (s *session) letGo() {
	s.mu.Lock()
	last := len(s.conns) == 1
	s.mu.Unlock()
	if !last || s.discovery() {
		return
	}
	for _, n := range *s.nexuses.Load() {
		n.u.mu.Lock()
		n.letGo()
		n.u.mu.Unlock()
	}
}

// logoutResponse answers.
func (c *conn) logoutResponse(p *iscsi.LogoutRequest, result iscsi.LogoutResult) {
	params := &c.sess.params
	c.out.send(c.sess, &iscsi.LogoutResponse{
		Response: result, ITT: p.ITT,
		Time2Wait: uint16(params.DefaultTime2Wait), Time2Retain: uint16(params.DefaultTime2Retain),
	}, nil)
}

// askToLogOut asks the initiator to end the session, as the server is about to
// after the given time (RFC 7143, 11.9.1).
func (c *conn) askToLogOut(within time.Duration) {
	if !c.serving.Load() {
		c.close(errShutdown)
		return
	}
	c.out.send(c.sess, &iscsi.AsyncMessage{Event: iscsi.AsyncLogout, Param3: seconds(within)}, nil)
	c.push()
}
