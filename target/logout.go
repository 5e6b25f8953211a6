package target

import (
	"time"

	"github.com/bootlun/bootlun/iscsi"
)

// logout ends the session, or says why not (RFC 7143, 11.14).
func (c *conn) logout(r *request) error {
	var p iscsi.LogoutRequest
	if err := p.Decode(&r.bhs); err != nil {
		return err
	}
	resp := iscsi.LogoutResponse{ITT: p.ITT}
	switch {
	case p.Reason == iscsi.LogoutRecovery:
		resp.Response = iscsi.LogoutRecoveryNotSupported
	case p.Reason == iscsi.LogoutConnection && p.CID != c.sess.cid:
		resp.Response = iscsi.LogoutCIDNotFound
	case p.Reason > iscsi.LogoutRecovery:
		c.reject(r, iscsi.RejectInvalidField, "unknown logout reason")
		return nil
	}
	if resp.Response == iscsi.LogoutClosed {
		c.sess.abandon()
	}
	c.out.send(c.sess, &resp, nil)
	if resp.Response != iscsi.LogoutClosed {
		return nil
	}
	return errLoggedOut
}

// askToLogOut asks the initiator to end the session, as the server is about to
// after the given time (RFC 7143, 11.9.1).
func (c *conn) askToLogOut(within time.Duration) {
	if !c.serving.Load() {
		c.close(errShutdown)
		return
	}
	seconds := (within + time.Second - 1) / time.Second
	c.out.send(c.sess, &iscsi.AsyncMessage{
		Event:  iscsi.AsyncLogout,
		Param3: uint16(min(seconds, 1<<16-1)),
	}, nil)
	c.push()
}
