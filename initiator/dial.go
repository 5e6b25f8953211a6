package initiator

import (
	"context"
	"errors"
	"fmt"

	"github.com/bootlun/bootlun/iscsi"
)

const (
	// maxRedirects bounds how often targets may send a login elsewhere.
	maxRedirects = 8
	// firstCmdSN is the first command's number; any will do.
	firstCmdSN = 1
)

// Dial logs in and returns the session. It tries the portals in order and follows
// redirects. The login at each portal must end within Timeouts.Login and ctx, which
// does not matter afterwards. The caller must Close the session.
func Dial(ctx context.Context, config Config) (*Session, error) {
	cfg, err := config.withDefaults(false)
	if err != nil {
		return nil, cfg.wrap("log in", cfg.Portal, err)
	}
	way := cfg.way()
	l, err := way.login(ctx, &cfg, errand{cmdSN: firstCmdSN})
	if err != nil {
		return nil, err
	}
	s := newSession(&cfg, way)
	s.begin(ctx, l)
	return s, nil
}

// loggedIn is a connection after its login.
type loggedIn struct {
	conn   *iscsi.Conn
	addr   iscsi.TargetAddress
	result iscsi.InitiatorResult
}

// errand is what a login is for: a new session, for discovery or not, or with a TSIH
// another connection of one.
type errand struct {
	discovery        bool
	tsih, cid        uint16
	cmdSN, expStatSN uint32
}

func (e *errand) String() string {
	switch {
	case e.discovery:
		return "log in for discovery"
	case e.tsih != 0:
		return "log in another connection"
	}
	return "log in"
}

// way is the portals of a target.
type way struct {
	portals []iscsi.TargetAddress
	first   int // to be tried
}

// way returns the portals, which withDefaults has checked.
func (c *Config) way() *way {
	w := &way{}
	for _, p := range c.portals() {
		if a, err := iscsi.ParseTargetAddress(p); err == nil {
			w.portals = append(w.portals, a)
		}
	}
	return w
}

// login logs in at the first portal that lets it, which will then be the first to
// be tried again.
func (w *way) login(ctx context.Context, cfg *Config, e errand) (*loggedIn, error) {
	var errs []error
	for i := range w.portals {
		i = (w.first + i) % len(w.portals)
		l, err := follow(ctx, cfg, &w.portals[i], e)
		if err == nil {
			w.first = i
			return l, nil
		}
		if errs = append(errs, err); ctx.Err() != nil {
			break
		}
	}
	if len(errs) == 1 {
		return nil, errs[0]
	}
	return nil, &Error{Op: e.String() + fmt.Sprintf(" at %d portals", len(errs)), Target: cfg.Target, Err: errors.Join(errs...)}
}

// follow logs in at a portal or where it sends the login. A redirect for good
// changes the portal.
func follow(ctx context.Context, cfg *Config, portal *iscsi.TargetAddress, e errand) (*loggedIn, error) {
	addr, op := *portal, e.String()
	good := true // all redirects so far were
	for range maxRedirects + 1 {
		l, err := loginAt(ctx, cfg, addr, e)
		if err == nil {
			return l, nil
		}
		var refused *iscsi.LoginError
		if !errors.As(err, &refused) || refused.Redirect.Host == "" {
			return nil, cfg.wrap(op, addr.HostPort(), err)
		}
		cfg.Logger.Info("target redirects", "target", cfg.Target, "from", addr.HostPort(),
			"to", refused.Redirect.HostPort(), "status", refused.Status)
		addr = refused.Redirect
		if good = good && refused.Status == iscsi.StatusMovedPermanently; good {
			*portal = addr
		}
	}
	return nil, cfg.wrap(op, addr.HostPort(), fmt.Errorf("more than %d redirects in a row", maxRedirects))
}

// loginAt logs in at one address.
func loginAt(ctx context.Context, cfg *Config, addr iscsi.TargetAddress, e errand) (*loggedIn, error) {
	ctx, cancel := context.WithTimeout(ctx, cfg.Timeouts.Login)
	defer cancel()
	nc, err := cfg.Dialer.DialContext(ctx, "tcp", addr.HostPort())
	if err != nil {
		return nil, err
	}
	conn := iscsi.NewConn(newStream(nc))
	if cfg.Tap != nil {
		conn.SetTap(cfg.Tap(nc))
	}
	result, err := iscsi.Login(ctx, conn, iscsi.InitiatorConfig{
		InitiatorName: cfg.Initiator, TargetName: cfg.Target, Discovery: e.discovery,
		ISID: cfg.ISID, TSIH: e.tsih, CID: e.cid, CmdSN: e.cmdSN, ExpStatSN: e.expStatSN, CHAP: cfg.CHAP, Offer: cfg.Offer,
	})
	if err != nil {
		conn.Close()
		return nil, explain(cfg, err)
	}
	return &loggedIn{conn, addr, result}, nil
}

// explain adds which credentials a target refused.
func explain(cfg *Config, err error) error {
	var refused *iscsi.LoginError
	if !errors.As(err, &refused) || refused.Status != iscsi.StatusAuthenticationFailed {
		return err
	}
	if cfg.CHAP == nil {
		return fmt.Errorf("the target refused a login without CHAP: %w", err)
	}
	return fmt.Errorf("the target refused CHAP name %q: %w", cfg.CHAP.User.Name, err)
}
