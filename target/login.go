package target

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/bootlun/bootlun/iscsi"
)

// login serves the login phase. After success c.sess is set, joined to its units
// and in the server's books; after an error it may be.
func (c *conn) login() error {
	ctx, cancel := context.WithTimeoutCause(c.done, c.srv.cfg.LoginTimeout,
		fmt.Errorf("the login took longer than %v", c.srv.cfg.LoginTimeout))
	defer cancel()
	res, err := iscsi.ServeLogin(ctx, c.pdu, iscsi.TargetConfig{
		Authorize: c.authorize,
		Establish: func(info iscsi.LoginInfo, params iscsi.Params) (uint16, iscsi.LoginStatus) {
			return c.establish(ctx, info, params)
		},
		PortalGroupTag: c.srv.cfg.PortalGroupTag,
		Window:         uint32(c.srv.cfg.QueueDepth),
	})
	if err != nil {
		return err
	}
	c.sess.mu.Lock()
	c.sess.user = res.CHAPUser
	c.sess.mu.Unlock()
	c.out.statSN = res.StatSN
	return nil
}

// authorize decides what a login must prove, before it proves it.
func (c *conn) authorize(info iscsi.LoginInfo) iscsi.Access {
	a := iscsi.Access{Offer: c.srv.cfg.Offer}
	if info.Discovery {
		a.CHAP = c.srv.cfg.DiscoveryCHAP
		return c.join(info, a)
	}
	t := c.srv.target(info.TargetName)
	if t == nil || !t.allows(info.InitiatorName) {
		a.Status = iscsi.StatusTargetNotFound
		a.Reason = fmt.Sprintf("target %q for initiator %q", info.TargetName, info.InitiatorName)
		return a
	}
	c.target = t
	settings := t.settings.Load()
	if settings.draining {
		a.Status = iscsi.StatusServiceUnavailable
		a.Reason = fmt.Sprintf("target %q is being drained", info.TargetName)
		return a
	}
	a.CHAP = settings.chap
	a.TargetAlias = settings.alias
	return c.join(info, a)
}

// join refuses a login to a session that exists: it has its one connection. One
// to a session that does not is refused by what follows.
func (c *conn) join(info iscsi.LoginInfo, a iscsi.Access) iscsi.Access {
	if info.TSIH == 0 {
		return a
	}
	c.srv.mu.Lock()
	defer c.srv.mu.Unlock()
	s := c.srv.sessions[info.TSIH]
	if s != nil && s.id.initiator == info.InitiatorName && s.id.isid == info.ISID {
		a.Status = iscsi.StatusTooManyConnections
		a.Reason = "a session has one connection"
	}
	return a
}

// establish makes the session of a login that has passed.
func (c *conn) establish(ctx context.Context, info iscsi.LoginInfo, params iscsi.Params) (uint16, iscsi.LoginStatus) {
	s := newSession(c, info, params)
	if status := c.srv.establish(ctx, s); status != iscsi.StatusSuccess {
		return 0, status
	}
	s.join()
	c.sess = s
	return s.tsih, iscsi.StatusSuccess
}

// began tells of a session that has begun.
func (c *conn) began() {
	s := c.sess
	c.log = c.log.With("initiator", s.id.initiator, "target", s.targetName(), "tsih", s.tsih)
	c.log.Info("logged in", "isid", s.id.isid.String(), "digests", s.digests())
	c.serving.Store(true)
	c.srv.cfg.Events(Event{Kind: LoginEvent, Session: s.info()})
}

// ended tells of its end.
func (c *conn) ended() {
	reason := context.Cause(c.done)
	level := slog.LevelWarn
	for _, usual := range []error{errLoggedOut, errPeerClosed, errShutdown, errDisconnected} {
		if errors.Is(reason, usual) {
			level = slog.LevelInfo
		}
	}
	c.log.Log(context.Background(), level, "session over", "reason", reason)
	c.srv.cfg.Events(Event{Kind: LogoutEvent, Session: c.sess.info(), Reason: reason})
}

// loginFailed tells of a login that did not succeed. Ports are scanned and
// probed, so that what never was a login is not worth a warning.
func (c *conn) loginFailed(err error) {
	var refused *iscsi.LoginError
	switch {
	case errors.As(err, &refused):
		c.log.Warn("login refused", "status", refused.Status.String(), "reason", refused.Reason)
	case c.heard.Load() == 0 && errors.Is(c.lost(err), errPeerClosed):
		c.log.Debug("closed before login")
	default:
		c.log.Info("login failed", "error", c.lost(err))
	}
}
