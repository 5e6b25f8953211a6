package iscsi_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bootlun/bootlun/iscsi"
)

// exchange runs the two halves of a login against each other through their wire
// formats, without a network.
func exchange(t testing.TB, i *iscsi.InitiatorLogin, tg *iscsi.TargetLogin) (rounds int, initiator, target error) {
	t.Helper()
	for rounds = 1; rounds < 100; rounds++ {
		var b iscsi.BHS
		var req, gotReq iscsi.LoginRequest
		data := i.Next(&req)
		req.Encode(&b)
		if err := gotReq.Decode(&b); err != nil {
			t.Fatal(err)
		}
		if len(data) > 8192 {
			t.Fatalf("a request with %d bytes of data", len(data))
		}
		var resp, gotResp iscsi.LoginResponse
		data, target = tg.Receive(&gotReq, bytes.Clone(data), &resp)
		resp.Encode(&b)
		if err := gotResp.Decode(&b); err != nil {
			t.Fatal(err)
		}
		if len(data) > 8192 {
			t.Fatalf("a response with %d bytes of data", len(data))
		}
		var done bool
		done, initiator = i.Receive(&gotResp, bytes.Clone(data))
		if done || initiator != nil || target != nil {
			return rounds, initiator, target
		}
	}
	t.Fatal("the login does not end")
	return
}

func newInitiator(t testing.TB, cfg iscsi.InitiatorConfig) *iscsi.InitiatorLogin {
	t.Helper()
	if cfg.InitiatorName == "" {
		cfg.InitiatorName = testInitiator
	}
	if cfg.TargetName == "" && !cfg.Discovery {
		cfg.TargetName = tgtName
	}
	l, err := iscsi.NewInitiatorLogin(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestLogin(t *testing.T) {
	tests := []struct {
		name   string
		cfg    iscsi.InitiatorConfig
		access iscsi.Access
		rounds int
		same   func(initiator, target iscsi.Params) bool
	}{
		{name: "plain", rounds: 2, same: func(i, g iscsi.Params) bool {
			return !i.HeaderDigest && !i.InitialR2T && i.ImmediateData && i.MaxBurstLength == 1<<20 && i.FirstBurstLength == 262144
		}},
		{
			name: "the smaller value wins", rounds: 2,
			cfg: iscsi.InitiatorConfig{Offer: iscsi.Offer{
				MaxRecvDataSegmentLength: 4096, MaxBurstLength: 8192, FirstBurstLength: 1 << 20, MaxOutstandingR2T: 8,
				DefaultTime2Wait: 3, DefaultTime2Retain: 60, MaxConnections: 9, ErrorRecoveryLevel: 2, ProtocolLevel: 2,
			}},
			access: iscsi.Access{Offer: iscsi.Offer{
				MaxRecvDataSegmentLength: 65536, MaxBurstLength: 1 << 20, FirstBurstLength: 4096, MaxOutstandingR2T: 4,
				DefaultTime2Wait: 5, DefaultTime2Retain: 30, MaxConnections: 4, ErrorRecoveryLevel: 1, ProtocolLevel: 3,
			}},
			same: func(i, g iscsi.Params) bool {
				return i.MaxRecvDataSegmentLength == 4096 && i.MaxSendDataSegmentLength == 65536 && i.MaxBurstLength == 8192 &&
					i.FirstBurstLength == 4096 && i.MaxOutstandingR2T == 4 && i.DefaultTime2Wait == 5 &&
					i.DefaultTime2Retain == 30 && i.MaxConnections == 4 && i.ErrorRecoveryLevel == 1 && i.ProtocolLevel == 2
			},
		},
		{
			name: "booleans", rounds: 2,
			cfg:    iscsi.InitiatorConfig{Offer: iscsi.Offer{InitialR2T: true}},
			access: iscsi.Access{Offer: iscsi.Offer{NoImmediateData: true}},
			same:   func(i, g iscsi.Params) bool { return i.InitialR2T && !i.ImmediateData },
		},
		{
			name: "digests preferred and allowed", rounds: 2,
			cfg:    iscsi.InitiatorConfig{Offer: iscsi.Offer{HeaderDigest: iscsi.DigestPrefer, DataDigest: iscsi.DigestAllow}},
			access: iscsi.Access{Offer: iscsi.Offer{HeaderDigest: iscsi.DigestAllow, DataDigest: iscsi.DigestAllow}},
			same:   func(i, g iscsi.Params) bool { return i.HeaderDigest && !i.DataDigest },
		},
		{
			name: "digests required", rounds: 2,
			cfg:    iscsi.InitiatorConfig{Offer: iscsi.Offer{HeaderDigest: iscsi.DigestRequire, DataDigest: iscsi.DigestAllow}},
			access: iscsi.Access{Offer: iscsi.Offer{HeaderDigest: iscsi.DigestPrefer, DataDigest: iscsi.DigestRequire}},
			same:   func(i, g iscsi.Params) bool { return i.HeaderDigest && i.DataDigest },
		},
		{
			name: "discovery", rounds: 2,
			cfg:  iscsi.InitiatorConfig{Discovery: true},
			same: func(i, g iscsi.Params) bool { return i.MaxBurstLength == 262144 && i.InitialR2T },
		},
		{
			name: "join a session", rounds: 2,
			cfg:    iscsi.InitiatorConfig{TSIH: 77, CID: 2, Offer: iscsi.Offer{HeaderDigest: iscsi.DigestPrefer}},
			access: iscsi.Access{JoinSession: true, Offer: iscsi.Offer{HeaderDigest: iscsi.DigestPrefer}},
			same:   func(i, g iscsi.Params) bool { return i.HeaderDigest && i.MaxBurstLength == 262144 },
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.cfg.CmdSN, tt.cfg.InitiatorAlias = 1<<32-1, "a tester"
			tt.access.TargetAlias = "a disk"
			i := newInitiator(t, tt.cfg)
			cfg := targetConfig(tt.access)
			cfg.PortalGroupTag, cfg.StatSN, cfg.Window = 3, 1<<32-1, 16
			tg := iscsi.NewTargetLogin(cfg)
			rounds, ierr, terr := exchange(t, i, tg)
			if ierr != nil || terr != nil || rounds != tt.rounds || !i.Done() || !tg.Done() {
				t.Fatalf("%d rounds, initiator %v, target %v", rounds, ierr, terr)
			}
			ir, tr := i.Result(), tg.Result()
			mirrored := tr.Params
			mirrored.MaxRecvDataSegmentLength, mirrored.MaxSendDataSegmentLength =
				mirrored.MaxSendDataSegmentLength, mirrored.MaxRecvDataSegmentLength
			if ir.Params != mirrored || !tt.same(ir.Params, tr.Params) {
				t.Errorf("\ninitiator %+v\n   target %+v", ir.Params, tr.Params)
			}
			if ir.CmdSN != 1<<32-1 || ir.ExpCmdSN != ir.CmdSN || ir.MaxCmdSN != 14 || ir.ExpStatSN != tr.StatSN || ir.TSIH != 1 {
				t.Errorf("%+v", ir)
			}
			if tr.InitiatorName != testInitiator || tr.InitiatorAlias != "a tester" || tr.Discovery != tt.cfg.Discovery || tr.TSIH != 1 {
				t.Errorf("%+v", tr)
			}
			wantTag, wantAlias := 3, "a disk"
			if tt.cfg.Discovery {
				wantTag, wantAlias = iscsi.NoTag, ""
			}
			if ir.PortalGroupTag != wantTag || ir.TargetAlias != wantAlias {
				t.Errorf("tag %d, alias %q", ir.PortalGroupTag, ir.TargetAlias)
			}
		})
	}
}

func TestLoginCHAP(t *testing.T) {
	user := iscsi.CHAPUser{Name: "boot", Secret: "initiator secret"}
	storage := iscsi.CHAPUser{Name: "storage", Secret: "target secret 12"}
	other := iscsi.CHAPUser{Name: "other", Secret: "another secret"}
	server := &iscsi.CHAPServer{Users: []iscsi.CHAPUser{other, user}, Target: storage}
	md5 := []iscsi.CHAPAlgorithm{iscsi.CHAPMD5}
	sha := []iscsi.CHAPAlgorithm{iscsi.CHAPSHA3256, iscsi.CHAPSHA1}
	tests := []struct {
		name   string
		client *iscsi.CHAPClient
		server *iscsi.CHAPServer
		status iscsi.LoginStatus // of the refusal
		fails  error             // of the initiator's own
		method string
	}{
		{name: "one-way", client: &iscsi.CHAPClient{User: user}, server: server, method: "CHAP"},
		{name: "mutual", client: &iscsi.CHAPClient{User: user, Target: storage}, server: server, method: "CHAP"},
		{
			name:   "mutual, any name",
			client: &iscsi.CHAPClient{User: user, Target: iscsi.CHAPUser{Secret: storage.Secret}},
			server: server, method: "CHAP",
		},
		{name: "not wanted", client: &iscsi.CHAPClient{User: user}, method: "None"},
		{name: "mutual not given", client: &iscsi.CHAPClient{User: user, Target: storage}, status: iscsi.StatusAuthenticationFailed},
		{name: "missing", server: server, status: iscsi.StatusAuthenticationFailed},
		{
			name:   "wrong secret",
			client: &iscsi.CHAPClient{User: iscsi.CHAPUser{Name: "boot", Secret: "wrong"}},
			server: server, status: iscsi.StatusAuthenticationFailed,
		},
		{
			name:   "another user's secret",
			client: &iscsi.CHAPClient{User: iscsi.CHAPUser{Name: "boot", Secret: other.Secret}},
			server: server, status: iscsi.StatusAuthenticationFailed,
		},
		{
			name:   "unknown user",
			client: &iscsi.CHAPClient{User: iscsi.CHAPUser{Name: "nobody", Secret: user.Secret}},
			server: server, status: iscsi.StatusAuthenticationFailed,
		},
		{
			name: "no users", client: &iscsi.CHAPClient{User: user}, server: &iscsi.CHAPServer{},
			status: iscsi.StatusAuthenticationFailed,
		},
		{
			name:   "a user without a secret does not match an empty one",
			client: &iscsi.CHAPClient{User: iscsi.CHAPUser{Name: "boot", Secret: "x"}},
			server: &iscsi.CHAPServer{Users: []iscsi.CHAPUser{{Name: "boot"}}}, status: iscsi.StatusAuthenticationFailed,
		},
		{
			name:   "the target has another secret",
			client: &iscsi.CHAPClient{User: user, Target: iscsi.CHAPUser{Name: "storage", Secret: "not this one"}},
			server: server, fails: iscsi.ErrPeerNotAuthenticated,
		},
		{
			name:   "the target has another name",
			client: &iscsi.CHAPClient{User: user, Target: iscsi.CHAPUser{Name: "vault", Secret: storage.Secret}},
			server: server, fails: iscsi.ErrPeerNotAuthenticated,
		},
		{
			name:   "the target cannot prove itself",
			client: &iscsi.CHAPClient{User: user, Target: storage},
			server: &iscsi.CHAPServer{Users: []iscsi.CHAPUser{user}}, status: iscsi.StatusAuthenticationFailed,
		},
		{
			name:   "the target's secret is the user's",
			client: &iscsi.CHAPClient{User: user, Target: iscsi.CHAPUser{Name: "storage", Secret: "x"}},
			server: &iscsi.CHAPServer{Users: []iscsi.CHAPUser{user}, Target: user}, status: iscsi.StatusAuthenticationFailed,
		},
		{
			name:   "one algorithm in common",
			client: &iscsi.CHAPClient{User: user, Algorithms: []iscsi.CHAPAlgorithm{iscsi.CHAPMD5, iscsi.CHAPSHA1}},
			server: &iscsi.CHAPServer{Users: []iscsi.CHAPUser{user}, Algorithms: sha}, method: "CHAP",
		},
		{
			name:   "no algorithm in common",
			client: &iscsi.CHAPClient{User: user, Algorithms: md5},
			server: &iscsi.CHAPServer{Users: []iscsi.CHAPUser{user}, Algorithms: sha}, status: iscsi.StatusAuthenticationFailed,
		},
		{
			name: "an algorithm that is not known", client: &iscsi.CHAPClient{User: user},
			server: &iscsi.CHAPServer{Users: []iscsi.CHAPUser{user}, Algorithms: []iscsi.CHAPAlgorithm{9}},
			status: iscsi.StatusTargetError,
		},
	}
	for _, a := range iscsi.CHAPAlgorithms() {
		tests = append(tests, tests[1])
		last := &tests[len(tests)-1]
		last.name = "mutual " + a.String()
		last.client = &iscsi.CHAPClient{User: user, Target: storage, Algorithms: []iscsi.CHAPAlgorithm{a}}
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			i := newInitiator(t, iscsi.InitiatorConfig{CHAP: tt.client})
			tg := iscsi.NewTargetLogin(targetConfig(iscsi.Access{CHAP: tt.server}))
			_, ierr, terr := exchange(t, i, tg)
			var le *iscsi.LoginError
			switch {
			case tt.status != 0:
				if !errors.As(terr, &le) || le.Status != tt.status || tg.Done() {
					t.Errorf("target: %v, want %v", terr, tt.status)
				}
				if !errors.As(ierr, &le) || le.Status != tt.status || i.Done() {
					t.Errorf("initiator: %v, want %v", ierr, tt.status)
				}
			case tt.fails != nil:
				if !errors.Is(ierr, tt.fails) || i.Done() {
					t.Errorf("initiator: %v, want %v", ierr, tt.fails)
				}
			default:
				if ierr != nil || terr != nil || i.Result().AuthMethod != tt.method {
					t.Errorf("initiator %v, target %v, AuthMethod %q", ierr, terr, i.Result().AuthMethod)
				}
				if want := tt.method == "CHAP"; want != (tg.Result().CHAPUser == "boot") {
					t.Errorf("the target has proof of %q", tg.Result().CHAPUser)
				}
			}
			for _, err := range []error{ierr, terr} {
				if err != nil && strings.Contains(err.Error(), string(user.Secret)) {
					t.Errorf("the secret is in %v", err)
				}
			}
		})
	}
}

// TestCHAPVectors checks the responses against ones that Python's hashlib made.
func TestCHAPVectors(t *testing.T) {
	for a, want := range map[iscsi.CHAPAlgorithm]string{
		iscsi.CHAPMD5:     "6239e6449036700c5bf9f421d64c8a63",
		iscsi.CHAPSHA1:    "8038bba187e5f852802b1d224da4fb848517a8b3",
		iscsi.CHAPSHA256:  "532e3d4201150ad7edf554baa8381ef8ff3c217109b99af01adf26dbfb128440",
		iscsi.CHAPSHA3256: "bb80035e14e05fb4d18882d5bb494c1ee91342a4984589ef1975741fde6ccf95",
	} {
		got := iscsi.CHAPResponse(a, 0x2a, "bootlun secret", []byte("0123456789abcdef"))
		if fmt.Sprintf("%x", got) != want {
			t.Errorf("%v: %x, want %s", a, got, want)
		}
	}
}

// TestLoginLongText makes both sides' first text longer than a PDU, and then the
// initiator's longer than what a target takes.
func TestLoginLongText(t *testing.T) {
	var items strings.Builder
	for n := 0; items.Len() < 20000; n++ {
		fmt.Fprintf(&items, "item-%d,", n)
	}
	long := items.String()
	i := newInitiator(t, iscsi.InitiatorConfig{InitiatorAlias: long[:10000]})
	tg := iscsi.NewTargetLogin(targetConfig(iscsi.Access{TargetAlias: long[:12000]}))
	rounds, ierr, terr := exchange(t, i, tg)
	if ierr != nil || terr != nil || rounds != 5 {
		t.Errorf("%d rounds, initiator %v, target %v", rounds, ierr, terr)
	}
	if i.Result().TargetAlias != long[:12000] || tg.Result().InitiatorAlias != long[:10000] {
		t.Error("an alias changed on the way")
	}
	i = newInitiator(t, iscsi.InitiatorConfig{InitiatorAlias: long})
	tg = iscsi.NewTargetLogin(targetConfig(iscsi.Access{}))
	_, ierr, terr = exchange(t, i, tg)
	var le *iscsi.LoginError
	if !errors.As(terr, &le) || le.Status != iscsi.StatusInitiatorError || ierr == nil {
		t.Errorf("initiator %v, target %v", ierr, terr)
	}
}

func TestInitiatorConfigErrors(t *testing.T) {
	user := iscsi.CHAPUser{Name: "boot", Secret: "initiator secret"}
	for name, cfg := range map[string]iscsi.InitiatorConfig{
		"no initiator name":  {TargetName: tgtName},
		"bad initiator name": {InitiatorName: "a\x00b", TargetName: tgtName},
		"no target name":     {InitiatorName: testInitiator},
		"bad target name":    {InitiatorName: testInitiator, TargetName: "a b"},
		"no CHAP name":       {CHAP: &iscsi.CHAPClient{User: iscsi.CHAPUser{Secret: "x"}}},
		"NUL in alias":       {InitiatorName: testInitiator, TargetName: tgtName, InitiatorAlias: "a\x00TargetName=b"},
		"NUL in CHAP name":   {CHAP: &iscsi.CHAPClient{User: iscsi.CHAPUser{Name: "a\x00b", Secret: "x"}}},
		"no CHAP secret":     {CHAP: &iscsi.CHAPClient{User: iscsi.CHAPUser{Name: "x"}}},
		"no target secret":   {CHAP: &iscsi.CHAPClient{User: user, Target: iscsi.CHAPUser{Name: "x"}}},
		"same secrets":       {CHAP: &iscsi.CHAPClient{User: user, Target: iscsi.CHAPUser{Name: "x", Secret: user.Secret}}},
		"unknown algorithm":  {CHAP: &iscsi.CHAPClient{User: user, Algorithms: []iscsi.CHAPAlgorithm{4}}},
	} {
		if cfg.CHAP != nil {
			cfg.InitiatorName, cfg.TargetName = testInitiator, tgtName
		}
		if l, err := iscsi.NewInitiatorLogin(cfg); err == nil {
			t.Errorf("%s: %v", name, l)
		} else if strings.Contains(err.Error(), string(user.Secret)) {
			t.Errorf("%s: the secret is in %v", name, err)
		}
	}
}

// TestLoginOverConn logs in over a connection, with digests, and uses it.
func TestLoginOverConn(t *testing.T) {
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	ic, tc := iscsi.NewConn(a), iscsi.NewConn(b)
	offer := iscsi.Offer{HeaderDigest: iscsi.DigestRequire, DataDigest: iscsi.DigestRequire, MaxRecvDataSegmentLength: 65536}
	served := make(chan error, 1)
	go func() {
		_, err := iscsi.ServeLogin(t.Context(), tc, targetConfig(iscsi.Access{Offer: offer}))
		if err == nil {
			var h iscsi.BHS
			(&iscsi.NOPIn{}).Encode(&h)
			err = errors.Join(tc.WritePDU(&h, nil, pattern(65536)), tc.Flush())
		}
		served <- err
	}()
	cfg := iscsi.InitiatorConfig{InitiatorName: testInitiator, TargetName: tgtName, Offer: offer}
	if _, err := iscsi.Login(t.Context(), ic, cfg); err != nil {
		t.Fatal(err)
	}
	var h iscsi.BHS
	if p, err := ic.ReadPDU(&h); err != nil || !bytes.Equal(p, pattern(65536)) {
		t.Errorf("after the login: %v", err)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
}

// TestLoginEndsWithContext: a peer that says nothing does not hold either side.
func TestLoginEndsWithContext(t *testing.T) {
	for _, side := range []string{"initiator", "target"} {
		synctest.Test(t, func(t *testing.T) {
			a, b := net.Pipe()
			defer a.Close()
			defer b.Close()
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			var err error
			if side == "initiator" {
				cfg := iscsi.InitiatorConfig{InitiatorName: testInitiator, TargetName: tgtName}
				_, err = iscsi.Login(ctx, iscsi.NewConn(a), cfg)
			} else {
				_, err = iscsi.ServeLogin(ctx, iscsi.NewConn(a), targetConfig(iscsi.Access{}))
			}
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%s: %v", side, err)
			}
			ended, cancel := context.WithCancel(t.Context())
			cancel()
			if _, err := iscsi.ServeLogin(ended, iscsi.NewConn(a), targetConfig(iscsi.Access{})); !errors.Is(err, context.Canceled) {
				t.Errorf("%s: %v", side, err)
			}
		})
	}
}

// TestServeLoginWrongPDU: what is no login request ends the login.
func TestServeLoginWrongPDU(t *testing.T) {
	c := iscsi.NewConn(half{bytes.NewReader(wire(t, false, false, nil, nil))})
	if _, err := iscsi.ServeLogin(t.Context(), c, targetConfig(iscsi.Access{})); !errors.Is(err, iscsi.ErrLoginProtocol) {
		t.Errorf("a NOP-Out before the login: %v", err)
	}
}
