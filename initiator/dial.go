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

// Dial logs in and returns the session. It follows redirects. The login at each
// portal must end within Timeouts.Login and ctx, which does not matter afterwards.
// The caller must Close the session.
func Dial(ctx context.Context, config Config) (*Session, error) {
	cfg, err := config.withDefaults(false)
	if err != nil {
		return nil, &Error{Op: "log in", Target: cfg.Target, Portal: cfg.Portal, Err: err}
	}
	l, err := login(ctx, &cfg, false)
	if err != nil {
		return nil, err
	}
	return newSession(&cfg, l), nil
}

// loggedIn is a connection after its login.
type loggedIn struct {
	conn   *iscsi.Conn
	addr   iscsi.TargetAddress
	result iscsi.InitiatorResult
}

// login connects and logs in, where the target sends it.
func login(ctx context.Context, cfg *Config, discovery bool) (*loggedIn, error) {
	op := "log in"
	if discovery {
		op = "log in for discovery"
	}
	addr, err := iscsi.ParseTargetAddress(cfg.Portal)
	if err != nil {
		return nil, &Error{Op: op, Target: cfg.Target, Portal: cfg.Portal, Err: err}
	}
	for range maxRedirects + 1 {
		l, err := loginAt(ctx, cfg, addr, discovery)
		if err == nil {
			return l, nil
		}
		var refused *iscsi.LoginError
		if !errors.As(err, &refused) || refused.Redirect.Host == "" {
			return nil, &Error{Op: op, Target: cfg.Target, Portal: addr.HostPort(), Err: err}
		}
		cfg.Logger.Info("target redirects", "target", cfg.Target, "from", addr.HostPort(),
			"to", refused.Redirect.HostPort(), "status", refused.Status)
		addr = refused.Redirect
	}
	return nil, &Error{
		Op: op, Target: cfg.Target, Portal: addr.HostPort(),
		Err: fmt.Errorf("more than %d redirects in a row", maxRedirects),
	}
}

// loginAt logs in at one address.
func loginAt(ctx context.Context, cfg *Config, addr iscsi.TargetAddress, discovery bool) (*loggedIn, error) {
	ctx, cancel := context.WithTimeout(ctx, cfg.Timeouts.Login)
	defer cancel()
	nc, err := cfg.Dialer.DialContext(ctx, "tcp", addr.HostPort())
	if err != nil {
		return nil, err
	}
	conn := iscsi.NewConn(nc)
	if cfg.Tap != nil {
		conn.SetTap(cfg.Tap(nc))
	}
	result, err := iscsi.Login(ctx, conn, iscsi.InitiatorConfig{
		InitiatorName: cfg.Initiator, TargetName: cfg.Target, Discovery: discovery,
		ISID: cfg.ISID, CmdSN: firstCmdSN, CHAP: cfg.CHAP, Offer: cfg.Offer,
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
