//go:build linux && !386

package kernel

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"

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
