//go:build linux && !386

package kernel

import (
	"bytes"
	"context"
	"errors"
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

// TestLoginCancelled ends by the context at each call, whenever it comes, and leaves nothing.
func TestLoginCancelled(t *testing.T) {
	silent, err := net.Listen("tcp4", "127.0.0.1:0") // connects, never answers
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	talking := serveTarget(t, "tcp4", "127.0.0.1", open)
	for call, portal := range map[string]string{
		"CREATE_SESSION": talking, "CREATE_CONN": talking, "BIND_CONN": talking, "SET_PARAM 15": talking,
		"SEND_PDU": silent.Addr().String(),
	} {
		t.Run(call, func(t *testing.T) {
			k := newFakeKernel(t)
			reason := errors.New("the operator gave up")
			ctx, cancel := context.WithCancelCause(t.Context())
			k.before = func(c string) {
				if strings.HasPrefix(c, call) {
					cancel(reason)
				}
			}
			if _, err := Login(ctx, k.testConfig(portal)); !errors.Is(err, reason) || k.left() != 0 {
				t.Errorf("err = %v, %d sessions left; want %v", err, k.left(), reason)
			}
		})
	}
}

func TestKernelSilence(t *testing.T) {
	k := newFakeKernel(t)
	k.silent[evCreateSession] = true
	l, err := k.open()
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctl := newControl(l, 1)
	ctl.patience = time.Millisecond
	if _, _, err := ctl.createSession(); !errors.Is(err, errNoAnswer) {
		t.Errorf("err = %v, want %v", err, errNoAnswer)
	}
}

func TestSendTooMuch(t *testing.T) {
	k := newFakeKernel(t)
	l, err := k.open()
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	err = newControl(l, 1).send(&iscsi.BHS{}, make([]byte, maxPDUData+1))
	if err == nil || len(k.called()) != 0 {
		t.Errorf("err = %v after %v; want an error before the kernel is asked", err, k.called())
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
		{"bad target", func(c *Config) { c.Target = "" }, "target name"},
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
	set := negotiated(&iscsi.InitiatorResult{Params: p, ExpStatSN: 1}, 1)
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
