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
	c.cfg = c.srv.config()
	ctx, cancel := context.WithTimeoutCause(c.done, c.cfg.LoginTimeout,
		fmt.Errorf("the login took longer than %v", c.cfg.LoginTimeout))
	defer cancel()
	res, err := iscsi.ServeLogin(ctx, c.pdu, iscsi.TargetConfig{
		Authorize: c.authorize,
		Establish: func(info iscsi.LoginInfo, params iscsi.Params) (uint16, iscsi.LoginStatus) {
			return c.establish(ctx, info, params)
		},
		PortalGroupTag: c.v.group.Tag,
		Window:         uint32(c.cfg.QueueDepth),
	})
	if err != nil {
		return err
	}
	c.out.statSN = res.StatSN
	if c.erl > 0 {
		c.out.keepReplies(c.sess.depth)
	}
	return nil
}

// authorize decides what a login must prove, before it proves it.
func (c *conn) authorize(info iscsi.LoginInfo) iscsi.Access {
	a := iscsi.Access{Offer: c.cfg.Offer}
	if info.Discovery {
		a.CHAP = c.cfg.DiscoveryCHAP
		return c.join(info, a)
	}
	t := c.srv.target(info.TargetName)
	who := c.identity(&info)
	who.anyone = true // until it has proven who
	if t == nil || !t.allows(&who, c.v.group.Tag) {
		a.Status = iscsi.StatusTargetNotFound
		a.Reason = fmt.Sprintf("target %q for initiator %q", info.TargetName, info.InitiatorName)
		return a
	}
	c.target = t
	settings := t.settings.Load()
	switch {
	case settings.redirect != nil && !c.cameBy(settings.redirect.To):
		a.Redirect, a.Status = settings.redirect.To, iscsi.StatusMovedTemporarily
		a.Redirect.Tag = iscsi.NoTag
		if settings.redirect.Permanent {
			a.Status = iscsi.StatusMovedPermanently
		}
		return a
	case settings.draining:
		a.Status = iscsi.StatusServiceUnavailable
		a.Reason = fmt.Sprintf("target %q is being drained", info.TargetName)
		return a
	}
	a.CHAP = settings.chapFor(info.InitiatorName)
	a.TargetAlias = settings.alias
	return c.join(info, a)
}

// cameBy reports whether the connection has come by an address: then a redirection to
// it has been followed.
func (c *conn) cameBy(to iscsi.TargetAddress) bool {
	at, err := addrPort(c.nc.LocalAddr())
	return err == nil && at.String() == to.HostPort()
}

// identity is who the initiator of a login is.
func (c *conn) identity(info *iscsi.LoginInfo) identity {
	return identity{
		name: info.InitiatorName, addr: c.from, user: info.CHAPUser,
		anyone: info.Discovery && info.CHAPUser == "",
	}
}

// join looks for the session that a login names, to which it adds a connection.
// Without one that is the initiator's, the login is refused by what follows.
func (c *conn) join(info iscsi.LoginInfo, a iscsi.Access) iscsi.Access {
	if s := c.sessionOf(&info); s != nil {
		a.JoinSession, a.Window = true, s.window
	}
	return a
}

// sessionOf returns the session that a login names, nil if there is none.
func (c *conn) sessionOf(info *iscsi.LoginInfo) *session {
	c.srv.mu.Lock()
	defer c.srv.mu.Unlock()
	s := c.srv.sessions[info.TSIH]
	if s == nil || s.id != c.sessionID(info) {
		return nil
	}
	return s
}

// sessionID is the identity of the session that a login is for.
func (c *conn) sessionID(info *iscsi.LoginInfo) sessionID {
	id := sessionID{initiator: info.InitiatorName, isid: info.ISID, tag: c.v.group.Tag}
	if c.target != nil {
		id.target = c.target.name
	}
	return id
}

// establish makes the session of a login that has passed, or adds the connection
// to the one that it names.
func (c *conn) establish(ctx context.Context, info iscsi.LoginInfo, params iscsi.Params) (uint16, iscsi.LoginStatus) {
	c.cid, c.params = info.CID, params
	if who := c.identity(&info); c.target != nil && !c.target.allows(&who, c.v.group.Tag) {
		return 0, iscsi.StatusAuthorizationFailed
	}
	c.maxSend.Store(int64(params.MaxSendDataSegmentLength))
	if info.TSIH != 0 {
		s := c.sessionOf(&info)
		if s == nil {
			return 0, iscsi.StatusSessionDoesNotExist
		}
		c.erl = s.params.ErrorRecoveryLevel
		status := s.adopt(ctx, c, &info)
		if status == iscsi.StatusSuccess {
			c.sess = s
		}
		return s.tsih, status
	}
	c.erl = params.ErrorRecoveryLevel
	s := newSession(c, info, params)
	if status := c.srv.establish(ctx, s); status != iscsi.StatusSuccess {
		return 0, status
	}
	s.join()
	c.sess = s
	return s.tsih, iscsi.StatusSuccess
}

// began tells of a connection that has logged in, and with the first one of its
// session.
func (c *conn) began() {
	s := c.sess
	c.log = c.log.With("initiator", s.id.initiator, "target", s.targetName(), "tsih", s.tsih, "cid", c.cid)
	c.log.Info("logged in", "isid", s.id.isid.String(), "digests", c.digests())
	c.serving.Store(true)
	c.srv.loginsDone.Add(1)
	if !s.told.Swap(true) {
		c.cfg.Events(Event{Kind: LoginEvent, Session: s.info()})
	}
}

// lostConnection tells of the end of a connection that its session survives.
func (c *conn) lostConnection() {
	c.log.Info("connection over", "reason", context.Cause(c.done))
}

// ended tells of the end of the session whose last connection this was.
func (c *conn) ended() {
	c.sess.mu.Lock()
	reason := c.sess.dropped
	c.sess.mu.Unlock()
	if reason == nil {
		reason = context.Cause(c.done)
	}
	level := slog.LevelWarn
	for _, usual := range []error{errLoggedOut, errPeerClosed, errShutdown, errDisconnected} {
		if errors.Is(reason, usual) {
			level = slog.LevelInfo
		}
	}
	c.log.Log(context.Background(), level, "session over", "reason", reason)
	c.cfg.Events(Event{Kind: LogoutEvent, Session: c.sess.info(), Reason: reason})
}

// loginFailed tells of a login that did not succeed. Ports are scanned and
// probed, so that what never was a login is not worth a warning.
func (c *conn) loginFailed(err error) {
	var refused *iscsi.LoginError
	switch {
	case errors.As(err, &refused):
		c.srv.loginsRefused.Add(1)
		c.log.Warn("login refused", "status", refused.Status.String(), "reason", refused.Reason)
	case c.heard.Load() == 0 && errors.Is(c.lost(err), errPeerClosed):
		c.log.Debug("closed before login")
	default:
		c.log.Info("login failed", "error", c.lost(err))
	}
}
