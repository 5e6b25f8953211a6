//go:build linux && !386

package kernel

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bootlun/bootlun/iscsi"
)

// serveTarget serves logins, each on a connection of its own, and gives the portal's address. After a login it reads on until
// the connection ends.
func serveTarget(t *testing.T, network, host string, authorize func(iscsi.LoginInfo) iscsi.Access) string {
	t.Helper()
	l, err := net.Listen(network, net.JoinHostPort(host, "0"))
	if err != nil {
		t.Skipf("SKIP: cannot listen on %s: %v", host, err)
	}
	var conns sync.WaitGroup
	t.Cleanup(func() { l.Close(); conns.Wait() })
	conns.Go(func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			conns.Go(func() {
				defer nc.Close()
				conn := iscsi.NewConn(nc)
				_, err := iscsi.ServeLogin(context.Background(), conn, iscsi.TargetConfig{
					PortalGroupTag: 3,
					StatSN:         0xFFFFFFFE,
					Authorize:      authorize,
					Establish: func(iscsi.LoginInfo, iscsi.Params) (uint16, iscsi.LoginStatus) {
						return 9, iscsi.StatusSuccess
					},
				})
				if err != nil {
					return
				}
				serveLogout(conn)
			})
		}
	})
	return l.Addr().String()
}

// serveLogout answers a logout.
func serveLogout(conn *iscsi.Conn) {
	var bhs iscsi.BHS
	if _, err := conn.ReadPDU(&bhs); err != nil || bhs.Opcode() != iscsi.OpLogoutRequest {
		return
	}
	resp := iscsi.LogoutResponse{ITT: bhs.ITT()}
	resp.Encode(&bhs)
	if conn.WritePDU(&bhs, nil, nil) == nil {
		conn.Flush()
	}
}

func open(iscsi.LoginInfo) iscsi.Access {
	return iscsi.Access{TargetAlias: "disk of a test", Offer: iscsi.Offer{MaxOutstandingR2T: 3}}
}

func TestLogin(t *testing.T) {
	k := newFakeKernel(t)
	portal := serveTarget(t, "tcp4", "127.0.0.1", open)
	cfg := k.testConfig(portal)
	cfg.Interface.HWAddress = net.HardwareAddr{0x52, 0x54, 0, 1, 2, 3}
	cfg.Boot = Boot{Root: "ibft", NIC: "ethernet0", Target: "target0"}
	cfg.Offer.MaxOutstandingR2T = 8
	k.noise = func(k *fakeKernel) { // another program's session fails meanwhile
		k.event(evConnError, 1, 0, 1011, nil)
		k.event(evRecvPDU, 1, 0, 0, make([]byte, 48))
	}
	s, err := Login(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer k.shut()
	if s.SID != 7 || s.Host != fakeHost || s.TPGT != 3 || s.Portal != portal || s.PersistentPortal != portal || s.State != "LOGGED_IN" {
		t.Errorf("session = %+v", s)
	}
	host, port, _ := net.SplitHostPort(portal)
	for p, want := range map[param]string{
		paramTargetName: cfg.Target, paramInitiatorName: cfg.Initiator, paramIfaceName: "default",
		paramPersistentAddress: host, paramPersistentPort: port, paramRecoveryTimeout: "86400",
		paramFastAbort: "1", paramAbortTimeout: "15", paramLUResetTimeout: "30", paramTgtResetTimeout: "30",
		paramPingTimeout: "0", paramRecvTimeout: "0", paramBootNIC: "ethernet0", paramBootTarget: "target0",
		paramTPGT: "3", paramERL: "0", paramMaxR2T: "4", paramExpStatSN: expStatSN(t, k),
		paramMaxRecvDLength: "262144", paramHeaderDigest: "0", paramDataDigest: "0", paramInitialR2T: "0", paramImmediateData: "1",
		paramDiscoverySession: "0",
	} {
		if got := k.params[uint32(p)]; got != want {
			t.Errorf("parameter %d = %q, want %q", p, got, want)
		}
	}
	if got := k.host[uint32(hostHWAddress)]; got != "52:54:00:01:02:03" {
		t.Errorf("hwaddress = %q", got)
	}
	checkOrder(t, k.called())
}

// expStatSN is what the target's next StatSN is, from how many responses it has sent; it starts shortly before the wrap.
func expStatSN(t *testing.T, k *fakeKernel) string {
	t.Helper()
	var sn uint32 = 0xFFFFFFFE
	for _, call := range k.called() {
		if strings.HasPrefix(call, "SEND_PDU") {
			sn++
		}
	}
	return fmt.Sprint(sn)
}

// checkOrder checks the sequence that the kernel insists on.
func checkOrder(t *testing.T, calls []string) {
	t.Helper()
	var kinds []string
	for _, c := range calls {
		kind, _, _ := strings.Cut(c, " ")
		if len(kinds) == 0 || kinds[len(kinds)-1] != kind {
			kinds = append(kinds, kind)
		}
	}
	want := "CREATE_SESSION CREATE_CONN BIND_CONN SET_PARAM SEND_PDU SET_PARAM START_CONN"
	if got := strings.Replace(strings.Join(kinds, " "), "SET_PARAM SET_HOST_PARAM", "SET_PARAM", 1); got != want {
		t.Errorf("calls in order\n %s\nwant\n %s", got, want)
	}
}

func TestLoginIPv6(t *testing.T) {
	k := newFakeKernel(t)
	portal := serveTarget(t, "tcp6", "::1", open)
	_, err := Login(t.Context(), k.testConfig(portal))
	if err != nil {
		t.Fatal(err)
	}
	k.shut()
	if got := k.params[uint32(paramPersistentAddress)]; got != "::1" {
		t.Errorf("persistent address = %q, want it without brackets", got)
	}
}

func TestLoginCHAP(t *testing.T) {
	server := &iscsi.CHAPServer{
		Users:  []iscsi.CHAPUser{{Name: "alice", Secret: "correct horse battery"}},
		Target: iscsi.CHAPUser{Name: "disk", Secret: "staple of the target"},
	}
	user := server.Users[0]
	chap := func(iscsi.LoginInfo) iscsi.Access { return iscsi.Access{CHAP: server} }
	for _, c := range []struct {
		name   string
		client *iscsi.CHAPClient
		want   string // in the error; empty for success
		status iscsi.LoginStatus
	}{
		{"one way", &iscsi.CHAPClient{User: user}, "", 0},
		{"mutual", &iscsi.CHAPClient{User: user, Target: server.Target}, "", 0},
		{"wrong secret", &iscsi.CHAPClient{User: iscsi.CHAPUser{Name: "alice", Secret: "something wrong!"}}, `CHAP name "alice"`, iscsi.StatusAuthenticationFailed},
		{"none", nil, "without CHAP", iscsi.StatusAuthenticationFailed},
		{"false target", &iscsi.CHAPClient{User: user, Target: iscsi.CHAPUser{Name: "disk", Secret: "not the target's own"}}, "prove", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			k := newFakeKernel(t)
			cfg := k.testConfig(serveTarget(t, "tcp4", "127.0.0.1", chap))
			cfg.CHAP = c.client
			var log bytes.Buffer
			cfg.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
			_, err := Login(t.Context(), cfg)
			k.shut()
			if c.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				if k.params[uint32(paramUsername)] != "alice" || k.params[uint32(paramPassword)] != user.Secret.Reveal() ||
					k.params[uint32(paramPasswordIn)] != c.client.Target.Secret.Reveal() {
					t.Error("the kernel was not told of the CHAP credentials")
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("err = %v, want %q in it", err, c.want)
			}
			var refused *iscsi.LoginError
			if c.status != 0 && (!errors.As(err, &refused) || refused.Status != c.status) {
				t.Errorf("err = %v, want status %v", err, c.status)
			}
			if text := err.Error() + log.String(); c.client != nil && strings.Contains(text, c.client.User.Secret.Reveal()) {
				t.Error("the secret shows in error or log")
			}
			if k.left() != 0 {
				t.Error("the failed login left a session")
			}
		})
	}
}

func TestLoginRedirect(t *testing.T) {
	for _, status := range []iscsi.LoginStatus{iscsi.StatusMovedTemporarily, iscsi.StatusMovedPermanently} {
		t.Run(status.String(), func(t *testing.T) {
			k := newFakeKernel(t)
			second := serveTarget(t, "tcp4", "127.0.0.1", open)
			to, err := iscsi.ParseTargetAddress(second)
			if err != nil {
				t.Fatal(err)
			}
			first := serveTarget(t, "tcp4", "127.0.0.1", func(iscsi.LoginInfo) iscsi.Access {
				return iscsi.Access{Status: status, Redirect: to}
			})
			s, err := Login(t.Context(), k.testConfig(first))
			if err != nil {
				t.Fatal(err)
			}
			defer k.shut()
			want := first
			if status == iscsi.StatusMovedPermanently {
				want = second
			}
			if s.Portal != second || s.PersistentPortal != want || k.left() != 1 {
				t.Errorf("at %s, persistent %s, %d sessions; want %s, %s, 1", s.Portal, s.PersistentPortal, k.left(), second, want)
			}
		})
	}
}

func TestLoginRedirectForEver(t *testing.T) {
	k := newFakeKernel(t)
	var self iscsi.TargetAddress
	portal := serveTarget(t, "tcp4", "127.0.0.1", func(iscsi.LoginInfo) iscsi.Access {
		return iscsi.Access{Status: iscsi.StatusMovedTemporarily, Redirect: self}
	})
	self, _ = iscsi.ParseTargetAddress(portal)
	_, err := Login(t.Context(), k.testConfig(portal))
	if err == nil || !strings.Contains(err.Error(), strconv.Itoa(maxRedirects)+" redirects") || k.left() != 0 {
		t.Errorf("err = %v, %d sessions left", err, k.left())
	}
}

// TestLoginTakesBack fails each call in turn and expects an error that names it, and no session.
func TestLoginTakesBack(t *testing.T) {
	portal := serveTarget(t, "tcp4", "127.0.0.1", open)
	for _, c := range []struct {
		call  string
		errno unix.Errno
		step  string
	}{
		{"CREATE_SESSION", unix.ENOMEM, "create the session"},
		{"CREATE_SESSION", unix.EPERM, "run as root"},
		{"CREATE_CONN", unix.ENOMEM, "create the session"},
		{"BIND_CONN", unix.EEXIST, "bind the connection"},
		{"SET_PARAM 15", unix.EINVAL, "set targetname"},
		{"SET_HOST_PARAM", unix.EINVAL, "set hwaddress"},
		{"SEND_PDU", unix.ENOTCONN, "log in"},
		{"SET_PARAM 16", unix.EINVAL, "set tpgt"},
		{"START_CONN", unix.EINVAL, "start the connection"},
	} {
		t.Run(c.call+" "+c.errno.Error(), func(t *testing.T) {
			k := newFakeKernel(t)
			k.fail[c.call] = c.errno
			cfg := k.testConfig(portal)
			cfg.Interface.HWAddress = net.HardwareAddr{2, 0, 0, 0, 0, 1}
			_, err := Login(t.Context(), cfg)
			var e *Error
			if !errors.As(err, &e) || !errors.Is(err, c.errno) {
				t.Fatalf("err = %v, want an *Error that wraps %v", err, c.errno)
			}
			if text := err.Error(); !strings.Contains(text, c.step) || !strings.Contains(text, portal) {
				t.Errorf("%q: want %q and the portal in it", text, c.step)
			}
			if k.left() != 0 {
				t.Errorf("a session is left after %v", k.called())
			}
		})
	}
}

// TestLoginSilence ends by the context when target or kernel says nothing.
func TestLoginSilence(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0") // connects, never answers
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, c := range []struct {
		name  string
		quiet eventType
		on    string // the call at which the wait is cut short
	}{
		{"target", 0, "SEND_PDU"},
		{"kernel", evCreateConn, "CREATE_CONN"},
	} {
		t.Run(c.name, func(t *testing.T) {
			k := newFakeKernel(t)
			k.silent[c.quiet] = true
			reason := errors.New("the operator gave up")
			ctx, cancel := context.WithCancelCause(t.Context())
			k.before = func(call string) {
				if strings.HasPrefix(call, c.on) {
					cancel(reason)
				}
			}
			_, err := Login(ctx, k.testConfig(l.Addr().String()))
			if !errors.Is(err, reason) {
				t.Errorf("err = %v, want %v", err, reason)
			}
			if c.quiet == 0 && k.left() != 0 {
				t.Error("a session is left")
			}
		})
	}
}

func TestLoginTimeout(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	k := newFakeKernel(t)
	cfg := k.testConfig(l.Addr().String())
	cfg.Timeouts.Login = 50 * time.Millisecond
	_, err = Login(t.Context(), cfg)
	if !errors.Is(err, context.DeadlineExceeded) || k.left() != 0 {
		t.Errorf("err = %v, %d sessions left", err, k.left())
	}
}

func TestLoginHangUp(t *testing.T) {
	k := newFakeKernel(t)
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var done sync.WaitGroup
	done.Go(func() {
		if c, err := l.Accept(); err == nil {
			c.Read(make([]byte, 1))
			c.Close()
		}
	})
	defer done.Wait()
	defer l.Close()
	_, err = Login(t.Context(), k.testConfig(l.Addr().String()))
	var cause connError
	if !errors.As(err, &cause) || cause != 1020 {
		t.Errorf("err = %v, want connection error 1020", err)
	}
}

func TestLoginBefore(t *testing.T) {
	k := newFakeKernel(t)
	good := k.testConfig("127.0.0.1:1")
	for _, c := range []struct {
		name   string
		change func(*Config)
		want   string
	}{
		{"no transport", func(c *Config) { c.Roots.Sys = t.TempDir() }, "load module iscsi_tcp"},
		{"no initiator", func(c *Config) { c.Initiator = "" }, "initiator name"},
		{"bad target", func(c *Config) { c.Target = "disk" }, "target name"},
		{"no portal", func(c *Config) { c.Portal = "" }, "portal"},
		{"nobody listens", func(*Config) {}, "no target listens there"},
		{"no such device", func(c *Config) { c.Interface.NetDev = "none0" }, "bind to none0"},
		{"not a socket", func(c *Config) { c.Dialer = pipeDialer{} }, "no file descriptor"},
		{"no module", func(c *Config) { c.openLink = func() (link, error) { return nil, unix.EPROTONOSUPPORT } }, "scsi_transport_iscsi"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := good
			c.change(&cfg)
			_, err := Login(t.Context(), cfg)
			var e *Error
			if !errors.As(err, &e) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("err = %v, want %q in it", err, c.want)
			}
			if k.left() != 0 {
				t.Error("a session is left")
			}
		})
	}
}

type pipeDialer struct{}

func (pipeDialer) DialContext(context.Context, string, string) (net.Conn, error) {
	a, _ := net.Pipe()
	return a, nil
}

// TestBoundSocketIsClosed checks that Login keeps no descriptor of the connection.
func TestBoundSocketIsClosed(t *testing.T) {
	k := newFakeKernel(t)
	d := &recordingDialer{}
	cfg := k.testConfig(serveTarget(t, "tcp4", "127.0.0.1", open))
	cfg.Dialer = d
	if _, err := Login(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	defer k.shut()
	if err := d.conn.SetDeadline(time.Now()); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the program's side of the connection is still open (%v)", err)
	}
}

type recordingDialer struct{ conn net.Conn }

func (d *recordingDialer) DialContext(ctx context.Context, network, address string) (c net.Conn, err error) {
	d.conn, err = (&net.Dialer{}).DialContext(ctx, network, address)
	return d.conn, err
}

func TestZeroByteInSecret(t *testing.T) {
	var log bytes.Buffer
	k := newFakeKernel(t)
	user := iscsi.CHAPUser{Name: "alice", Secret: "with\x00zero byte in it"}
	cfg := k.testConfig(serveTarget(t, "tcp4", "127.0.0.1", func(iscsi.LoginInfo) iscsi.Access {
		return iscsi.Access{CHAP: &iscsi.CHAPServer{Users: []iscsi.CHAPUser{user}}}
	}))
	cfg.CHAP = &iscsi.CHAPClient{User: user}
	cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
	if _, err := Login(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	defer k.shut()
	if _, set := k.params[uint32(paramPassword)]; set || !strings.Contains(log.String(), "password") {
		t.Errorf("password set: %v; log: %s", set, &log)
	}
}

func TestSettingValues(t *testing.T) {
	for d, want := range map[time.Duration]string{-1: "-1", 0: "0", 120 * time.Second: "120"} {
		if got := replacementSeconds(d); got != want {
			t.Errorf("replacementSeconds(%v) = %s, want %s", d, got, want)
		}
	}
	for n, want := range map[int]int{0: 1, 1: 1, 2: 2, 3: 4, 5: 8, 16: 16} {
		if got := powerOfTwo(n); got != want {
			t.Errorf("powerOfTwo(%d) = %d, want %d", n, got, want)
		}
	}
	p := iscsi.DefaultParams()
	p.FirstBurstLength = 2 * p.MaxBurstLength
	set := negotiated(p, 1, 1, "")
	i := slices.IndexFunc(set, func(s setting) bool { return s.param == paramFirstBurst })
	if set[i].value != strconv.Itoa(p.MaxBurstLength) {
		t.Errorf("first burst %s is more than the maximum %d", set[i].value, p.MaxBurstLength)
	}
}

func TestRemedyOfPermission(t *testing.T) {
	err := at("log in", "iqn.2024-01.test:disk", "[::1]:3260", os.ErrPermission)
	want := "log in to iqn.2024-01.test:disk at [::1]:3260: permission denied: run as root in the initial namespaces"
	if err.Error() != want {
		t.Errorf("%q, want %q", err, want)
	}
}
