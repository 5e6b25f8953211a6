//go:build linux && !386

package kernel

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/bootlun/bootlun/iscsi"
)

// maxRedirects bounds how often targets may send a login elsewhere.
const maxRedirects = 8

// Login logs in and hands the session to the kernel. It follows redirects. Each attempt must end within Timeouts.Login and ctx.
// On failure nothing of the session is left; the error is an *Error.
func Login(ctx context.Context, config Config) (*Session, error) {
	cfg, err := config.withDefaults()
	if err != nil {
		return nil, at("log in", cfg.Target, cfg.Portal, err)
	}
	transport, err := transportHandle(cfg.Roots.Sys)
	if err != nil {
		return nil, at("log in", cfg.Target, cfg.Portal, err)
	}
	if err := refuseDouble(&cfg); err != nil {
		return nil, at("log in", cfg.Target, cfg.Portal, err)
	}
	l, err := cfg.openLink()
	if err != nil {
		return nil, at("log in", cfg.Target, cfg.Portal, err)
	}
	defer l.Close()
	return followRedirects(ctx, newControl(l, transport), &cfg, nil)
}

// refuseDouble finds a session that the new one would displace at the target or stand beside by mistake.
func refuseDouble(cfg *Config) error {
	sessions, err := Sessions(cfg.Roots)
	if err != nil {
		return err
	}
	portal, err := iscsi.ParseTargetAddress(cfg.Portal)
	if err != nil {
		return err
	}
	for _, s := range sessions {
		if s.Target == cfg.Target && s.Initiator == cfg.Initiator && s.Interface.Name == cfg.Interface.Name &&
			s.PersistentPortal == portal.HostPort() {
			return fmt.Errorf("%w: number %d", ErrSessionExists, s.SID)
		}
	}
	return nil
}

// followRedirects logs in wherever the target sends it: to a new session, or with again, to that one anew.
func followRedirects(ctx context.Context, ctl *control, cfg *Config, again *Session) (*Session, error) {
	addr, err := iscsi.ParseTargetAddress(cfg.Portal)
	if err != nil {
		return nil, err
	}
	persistent := addr
	for range maxRedirects {
		machine, err := iscsi.NewInitiatorLogin(iscsi.InitiatorConfig{
			InitiatorName: cfg.Initiator, TargetName: cfg.Target,
			ISID: cfg.ISID, CID: cid, CmdSN: firstCmdSN, CHAP: cfg.CHAP, Offer: cfg.Offer,
		})
		if err != nil {
			return nil, at("log in", cfg.Target, addr.HostPort(), err)
		}
		l := &login{ctl: ctl, cfg: cfg, machine: machine, addr: addr, persistent: persistent, again: again}
		s, err := l.run(ctx)
		var refused *iscsi.LoginError
		if !errors.As(err, &refused) || refused.Redirect.Host == "" {
			return s, err
		}
		cfg.Logger.Info("target redirects", "target", cfg.Target, "from", addr.HostPort(),
			"to", refused.Redirect.HostPort(), "status", refused.Status)
		addr = refused.Redirect
		if refused.Status == iscsi.StatusMovedPermanently {
			persistent = addr
		}
	}
	return nil, at("log in", cfg.Target, addr.HostPort(), fmt.Errorf("%d redirects in a row", maxRedirects))
}

// login is one attempt at one address.
type login struct {
	ctl              *control
	cfg              *Config
	machine          *iscsi.InitiatorLogin
	addr, persistent iscsi.TargetAddress

	again   *Session // whose connection is to be replaced; nil makes a session
	conn    net.Conn // until the kernel has it
	sid     uint32
	host    uint32
	made    bool // the kernel has the session
	hasConn bool // and its connection
	result  iscsi.InitiatorResult
}

// cid is the number of the one connection that a session of Linux has.
const cid = 0

// run does the steps in order, and takes them back if one fails.
func (l *login) run(ctx context.Context) (s *Session, err error) {
	ctx, cancel := context.WithTimeout(ctx, l.cfg.Timeouts.Login)
	defer cancel()
	defer func() {
		if l.conn != nil {
			l.conn.Close()
		}
		if err != nil {
			l.undo()
		}
	}()
	for _, step := range []loginStep{
		{"connect", l.connect},
		l.prepare(),
		{"bind the connection", kernelStep(l.bind)},
		{"set the session's identity", kernelStep(l.identify)},
		{"log in", l.exchange},
		{"set what was negotiated", kernelStep(l.settle)},
		{"start the connection", kernelStep(l.start)},
	} {
		if err := step.do(ctx); err != nil {
			return nil, at(step.name, l.cfg.Target, l.addr.HostPort(), err)
		}
	}
	return l.session(), nil
}

// loginStep is one step, named for errors.
type loginStep struct {
	name string
	do   func(context.Context) error
}

// prepare has the kernel expect a connection: a new session's, or another one of a session that is there.
func (l *login) prepare() loginStep {
	if l.again == nil {
		return loginStep{"create the session", kernelStep(l.create)}
	}
	return loginStep{"stop the old connection", kernelStep(l.stop)}
}

// kernelStep is a step that waits for nobody but the kernel: ctx counts before it, not in it.
func kernelStep(do func() error) func(context.Context) error {
	return func(ctx context.Context) error {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return do()
	}
}

func (l *login) connect(ctx context.Context) (err error) {
	l.conn, err = l.cfg.Dialer.DialContext(ctx, "tcp", l.addr.HostPort())
	return err
}

// boundDialer binds to a network device unless its name is empty. Keep-alives are off: they would tear an idle connection
// down before its next use, with nobody there to make another.
func boundDialer(device string) Dialer {
	d := &net.Dialer{KeepAlive: -1}
	if device != "" {
		d.Control = func(_, _ string, c syscall.RawConn) error {
			var err error
			cerr := c.Control(func(fd uintptr) { err = unix.BindToDevice(int(fd), device) })
			if err = errors.Join(cerr, err); err != nil {
				return fmt.Errorf("bind to %s: %w", device, err)
			}
			return nil
		}
	}
	return d
}

// stop is done at each attempt: an earlier one may have bound a connection. What the kernel said of that one comes before the
// answer, so events count from here on.
func (l *login) stop() error {
	l.sid, l.host = l.again.SID, uint32(l.again.Host)
	err := l.ctl.stop(l.sid)
	l.ctl.watch(l.sid, cid)
	return err
}

func (l *login) create() (err error) {
	if l.sid, l.host, err = l.ctl.createSession(); err != nil {
		return err
	}
	l.made = true
	if err = l.ctl.createConn(l.sid, cid); err != nil {
		return err
	}
	l.hasConn = true
	return nil
}

// bind gives the socket to the kernel and lets go of it.
func (l *login) bind() error {
	sc, ok := l.conn.(syscall.Conn)
	if !ok {
		return fmt.Errorf("the dialer's connection (%T) has no file descriptor", l.conn)
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return err
	}
	cerr := raw.Control(func(fd uintptr) {
		err = l.ctl.do(encodeBindConn(l.ctl.transport, l.sid, cid, uint64(fd)))
	})
	if err = errors.Join(cerr, err); err != nil {
		return err
	}
	err = l.conn.Close()
	l.conn = nil
	return err
}

func (l *login) identify() error {
	for _, s := range identity(l.cfg, l.persistent) {
		if strings.ContainsRune(s.value, 0) {
			l.cfg.Logger.Warn("value with a zero byte cannot be told to the kernel: no other program can log in again", "name", s.name)
			continue
		}
		if err := l.ctl.set(l.sid, cid, s); err != nil {
			return err
		}
	}
	for _, h := range []struct {
		param hostParam
		name  string
		value string
	}{
		{hostNetDev, "netdev", l.cfg.Interface.NetDev},
		{hostHWAddress, "hwaddress", l.cfg.Interface.HWAddress.String()},
	} {
		if h.value == "" {
			continue
		}
		if err := l.ctl.do(encodeSetHostParam(l.ctl.transport, l.host, h.param, h.value)); err != nil {
			return fmt.Errorf("set %s: %w", h.name, err)
		}
	}
	return nil
}

// exchange carries the login's PDUs.
func (l *login) exchange(ctx context.Context) error {
	for done := false; !done; {
		var request iscsi.LoginRequest
		data := l.machine.Next(&request)
		resp, data, err := l.ask(ctx, &request, data)
		if err != nil {
			return err
		}
		if done, err = l.machine.Receive(resp, data); err != nil {
			return l.explain(err)
		}
	}
	l.result = l.machine.Result()
	return nil
}

func (l *login) ask(ctx context.Context, request *iscsi.LoginRequest, data []byte) (*iscsi.LoginResponse, []byte, error) {
	var bhs iscsi.BHS
	request.Encode(&bhs)
	bhs.SetDataSegmentLength(len(data))
	if err := l.ctl.send(&bhs, data); err != nil {
		return nil, nil, err
	}
	bhs, data, err := l.ctl.receive(ctx)
	if err != nil {
		return nil, nil, fmt.Errorf("wait for the login response: %w", err)
	}
	var resp iscsi.LoginResponse
	if err := resp.Decode(&bhs); err != nil {
		return nil, nil, err
	}
	return &resp, data, nil
}

// explain adds which credentials a target refused.
func (l *login) explain(err error) error {
	var refused *iscsi.LoginError
	if !errors.As(err, &refused) || refused.Status != iscsi.StatusAuthenticationFailed {
		return err
	}
	if l.cfg.CHAP == nil {
		return fmt.Errorf("the target refused a login without CHAP: %w", err)
	}
	return fmt.Errorf("the target refused CHAP name %q: %w", l.cfg.CHAP.User.Name, err)
}

func (l *login) settle() error {
	tpgt := l.result.PortalGroupTag
	if tpgt == iscsi.NoTag {
		tpgt = max(l.addr.Tag, 1) // it must say, but some do not; 1 is what others assume
	}
	l.result.PortalGroupTag = tpgt
	for _, s := range negotiated(&l.result, tpgt) {
		if err := l.ctl.set(l.sid, cid, s); err != nil {
			return err
		}
	}
	return nil
}

// start lets the disks' I/O flow. From then on the recovery timeout is out of reach of other programs' SET_PARAM: iscsid would
// put its own default of two minutes in the place of what a root disk needs. A write to sysfs still changes it.
func (l *login) start() error {
	if err := l.ctl.do(encodeConn(evStartConn, l.ctl.transport, l.sid, cid)); err != nil {
		return err
	}
	if err := setRecovery(l.cfg.Roots, l.sid, l.cfg.Timeouts.Replacement); err != nil {
		l.cfg.Logger.Warn("the recovery timeout is not protected from other programs", "session", l.sid, "err", err)
	}
	return nil
}

// stop ends a connection so that another can take its place. The kernel holds the disks' I/O back from now on.
func (c *control) stop(sid uint32) error {
	return c.do(encodeStopConn(c.transport, sid, cid, stopRecover))
}

// undo takes back what the kernel has of the attempt; nothing of a session that was there before.
func (l *login) undo() {
	if err := l.ctl.destroy(l.sid, l.hasConn, l.made); err != nil {
		l.cfg.Logger.Warn("a failed login left part of its session in the kernel", "session", l.sid, "err", err)
	}
}

// destroy ends a connection, if there is one, and its session.
func (c *control) destroy(sid uint32, conn, session bool) error {
	var errs []error
	if conn {
		errs = append(errs,
			c.do(encodeStopConn(c.transport, sid, cid, stopTerminate)),
			c.do(encodeConn(evDestroyConn, c.transport, sid, cid)))
	}
	if session {
		errs = append(errs, c.do(encodeDestroySession(c.transport, sid)))
	}
	return errors.Join(errs...)
}

func (l *login) session() *Session {
	return &Session{
		SID: l.sid, CID: cid, Host: int(l.host),
		Initiator: l.cfg.Initiator, Target: l.cfg.Target, TPGT: l.result.PortalGroupTag,
		Portal: l.addr.HostPort(), PersistentPortal: l.persistent.HostPort(),
		Interface: l.cfg.Interface, Params: l.result.Params, State: stateLoggedIn,
		ISID: l.cfg.ISID, LUN: l.cfg.LUN,
		cfg: *l.cfg,
	}
}
