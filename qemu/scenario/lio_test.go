package scenario_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bootlun/bootlun/initiator"
	"github.com/bootlun/bootlun/iscsi"
)

//go:embed testdata/lio.sh
var lioScript []byte

// What lio.sh makes: targets, and the portals of 10.77.0.1. One disk is behind two portal groups.
const (
	lioTarget      = "iqn.2026-11.org.bootlun:lio"
	lioCHAPTarget  = "iqn.2026-11.org.bootlun:lio-chap"
	lioPortal      = toolGuestAddr + ":3260" // portal group 1, with the next two
	lioPortal6     = "[fd77::1]:3260"
	lioPortalThird = toolGuestAddr + ":3270"
	lioPortalTwo   = toolGuestAddr + ":3261" // portal group 2, with digests
	lioPortalCHAP  = toolGuestAddr + ":3262"
	lioSize        = 64 << 20
)

// lioMutual are the flags to log in by mutual CHAP.
var lioMutual = []string{
	"--initiator", "iqn.2026-11.org.bootlun:mutual", "--chap-user", "alice", "--chap-secret-env", "ALICE", "--target-secret-env", "LIO",
}

// lio is Linux's target in a guest, and our initiator beside it.
type lio struct {
	*toolGuest
	program string // iscsi
}

// LIO, the target in Linux, serves our initiator from a guest: its library, its command, and its way into the kernel.
func TestLIO(t *testing.T) {
	if os.Getenv("BOOTLUN_TEST_LIO") == "" {
		t.Skip("SKIP: takes minutes: make test-lio runs it")
	}
	program := buildCommand(t, "iscsi")
	secrets := writeSecrets(t, map[string]string{"alice": "alice's secret", "lio": "secret of LIO's"})
	l := &lio{startToolGuest(t, 45*time.Minute, append(secrets, program, writeFile(t, "lio.sh", lioScript))...), program}
	l.must(". ./lio.sh; lio_load && lio_up")
	for _, test := range []struct {
		name string
		run  func(*lio, *testing.T)
	}{
		{"discovery", (*lio).discovery},
		{"logins", (*lio).logins},
		{"the command", (*lio).command},
		{"reservations", (*lio).reservations},
		{"thin provisioning", (*lio).thin},
		{"access states", (*lio).accessStates},
		{"a portal group goes and comes", (*lio).portalGroups},
		{"restarted under I/O", (*lio).restarts},
		{"another size", (*lio).resize},
		{"into the kernel", (*lio).kernel},
		{"a machine boots from it", (*lio).boot},
	} {
		l.subtest(t, test.name, func(t *testing.T) { test.run(l, t) })
	}
	if text := l.must("dmesg --level=emerg,alert,crit,err | grep -i -e 'iscsi' -e 'target' -e bug || true"); text != "" {
		t.Logf("what the guest's kernel had to say:\n%s", text)
	}
}

func (l *lio) config(portal string) initiator.Config {
	cfg := initiator.Config{Initiator: "iqn.2026-11.org.bootlun:tester", Target: lioTarget, Portal: portal, Dialer: l.host}
	if portal == lioPortalTwo {
		cfg.Offer.HeaderDigest, cfg.Offer.DataDigest = iscsi.DigestRequire, iscsi.DigestRequire
	}
	return cfg
}

func (l *lio) dial(t *testing.T, cfg initiator.Config) *initiator.Session {
	t.Helper()
	s, err := initiator.Dial(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func (l *lio) open(t *testing.T, cfg initiator.Config) *initiator.LUN {
	t.Helper()
	lun, err := l.dial(t, cfg).OpenLUN(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	return lun
}

func (l *lio) discovery(t *testing.T) {
	for _, portal := range []string{lioPortal, lioPortal6} {
		records, err := initiator.Discover(t.Context(), l.config(portal))
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, r := range records {
			for _, a := range r.Addresses {
				got = append(got, a.String()+" "+r.Name)
			}
		}
		text := strings.Join(got, "\n")
		for _, want := range []string{
			lioPortal + ",1 " + lioTarget, lioPortal6 + ",1 " + lioTarget, lioPortalThird + ",1 " + lioTarget, lioPortalTwo + ",2 " + lioTarget,
			lioPortalCHAP + ",1 " + lioCHAPTarget,
		} {
			if !strings.Contains("\n"+text+"\n", "\n"+want+"\n") {
				t.Errorf("discovery at %s: no %q in\n%s", portal, want, text)
			}
		}
		if len(got) != 5 {
			t.Errorf("discovery at %s: %q", portal, got)
		}
	}
}

// Every way to log in, after which data goes both ways, or what a refusal looks like.
func (l *lio) logins(t *testing.T) {
	alice := iscsi.CHAPUser{Name: "alice", Secret: "alice's secret"}
	proof := iscsi.CHAPUser{Name: "lio", Secret: "secret of LIO's"}
	chap := func(who string, client iscsi.CHAPClient) func(*initiator.Config) {
		return func(c *initiator.Config) {
			c.Portal, c.Target, c.Initiator, c.CHAP = lioPortalCHAP, lioCHAPTarget, "iqn.2026-11.org.bootlun:"+who, &client
		}
	}
	digests := func(header, data iscsi.DigestChoice) func(*initiator.Config) {
		return func(c *initiator.Config) {
			c.Portal, c.Offer.HeaderDigest, c.Offer.DataDigest = lioPortalTwo, header, data
		}
	}
	type login struct {
		name    string
		set     func(*initiator.Config)
		refused iscsi.LoginStatus // 0: it succeeds
		broken  bool              // it ends without a status
	}
	tests := []login{
		{name: "open", set: func(*initiator.Config) {}},
		{name: "IPv6", set: func(c *initiator.Config) { c.Portal = lioPortal6 }},
		{name: "the first portal that answers", set: func(c *initiator.Config) { c.Portal, c.Portals = toolGuestAddr+":1", []string{lioPortalThird} }},
		{name: "both digests", set: digests(iscsi.DigestRequire, iscsi.DigestRequire)},
		{name: "both digests if the target wants them", set: digests(iscsi.DigestAllow, iscsi.DigestAllow)},
		{name: "long bursts", set: func(c *initiator.Config) { c.Offer.MaxOutstandingR2T = 8; c.Offer.InitialR2T = true }},
		{name: "no immediate data", set: func(c *initiator.Config) { c.Offer.NoImmediateData = true }},
		{name: "small data segments", set: func(c *initiator.Config) { c.Offer.MaxRecvDataSegmentLength = 4096 }},
		{name: "one-way CHAP", set: chap("one-way", iscsi.CHAPClient{User: alice})},
		{name: "mutual CHAP", set: chap("mutual", iscsi.CHAPClient{User: alice, Target: proof})},
		{name: "wrong secret", set: chap("one-way", iscsi.CHAPClient{User: iscsi.CHAPUser{Name: "alice", Secret: "something else"}}), refused: iscsi.StatusAuthenticationFailed},
		{name: "no CHAP where it is due", set: func(c *initiator.Config) { chap("one-way", iscsi.CHAPClient{})(c); c.CHAP = nil }, broken: true}, // LIO hangs up,
		{name: "the target does not prove itself", set: chap("one-way", iscsi.CHAPClient{User: alice, Target: proof}), broken: true},
		{name: "the target proves something else", set: chap("mutual", iscsi.CHAPClient{User: alice, Target: iscsi.CHAPUser{Secret: "another secret"}}), broken: true},
		{name: "an initiator that is not let in", set: chap("nobody", iscsi.CHAPClient{User: alice}), refused: iscsi.StatusAuthorizationFailed},
		{name: "no such target", set: func(c *initiator.Config) { c.Target += "-not" }, refused: iscsi.StatusServiceUnavailable}, // so LIO says,
	}
	for _, a := range iscsi.CHAPAlgorithms() {
		tests = append(tests, login{name: "mutual CHAP by " + a.String(), set: chap("mutual", iscsi.CHAPClient{User: alice, Target: proof, Algorithms: []iscsi.CHAPAlgorithm{a}})})
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg := l.config(lioPortal)
			tt.set(&cfg)
			s, err := initiator.Dial(t.Context(), cfg)
			if tt.refused != 0 || tt.broken {
				var refused *iscsi.LoginError
				if err == nil {
					s.Close()
				}
				if err == nil || !tt.broken && (!errors.As(err, &refused) || refused.Status != tt.refused) {
					t.Errorf("%v, want status %v (0 is an error of this side)", err, tt.refused)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			r := s.Login()
			if want := cfg.Portal == lioPortalTwo; r.Params.HeaderDigest != want || r.Params.DataDigest != want {
				t.Errorf("digests: %v, %v", r.Params.HeaderDigest, r.Params.DataDigest)
			}
			if (r.AuthMethod == "CHAP") != (cfg.CHAP != nil) {
				t.Errorf("authentication %s", r.AuthMethod)
			}
			lun, err := s.OpenLUN(t.Context(), 0)
			if err != nil {
				t.Fatal(err)
			}
			thereAndBack(t, lun, tt.name)
		})
	}
}

// noise is bytes that a name stands for.
func noise(name string, n int) []byte {
	var b []byte
	for i := uint64(0); len(b) < n; i++ {
		sum := sha256.Sum256(binary.BigEndian.AppendUint64([]byte(name), i))
		b = append(b, sum[:]...)
	}
	return b[:n]
}

// thereAndBack writes and reads what crosses bursts, segments and blocks.
func thereAndBack(t *testing.T, lun *initiator.LUN, name string) {
	t.Helper()
	data := noise(name, 1<<20+700)
	if _, err := lun.WriteAt(data, 300); err != nil {
		t.Fatal(err)
	}
	back := make([]byte, len(data))
	if _, err := lun.ReadAt(back, 300); err != nil || !bytes.Equal(back, data) {
		t.Errorf("what is read is not what was written (%v)", err)
	}
	if err := lun.Flush(t.Context()); err != nil {
		t.Error(err)
	}
}

// forward has a port of this machine's lead to a portal on the LAN, for programs.
func (l *lio) forward(t *testing.T, portal string) (address string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.WithoutCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			near, err := listener.Accept()
			if err != nil {
				return
			}
			far, err := l.host.DialContext(ctx, "tcp", portal)
			if err != nil {
				near.Close()
				continue
			}
			for _, way := range [][2]net.Conn{{near, far}, {far, near}} {
				wg.Go(func() {
					io.Copy(way[1], way[0])
					near.Close()
					far.Close()
				})
			}
		}
	})
	t.Cleanup(func() {
		listener.Close()
		wg.Wait()
	})
	return listener.Addr().String()
}

// iscsi runs the command on this machine.
func (l *lio) iscsi(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), l.program, args...)
	cmd.Env = append(os.Environ(), "ALICE=alice's secret", "LIO=secret of LIO's")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("iscsi %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

func (l *lio) command(t *testing.T) {
	portal, chap := l.forward(t, lioPortal), l.forward(t, lioPortalCHAP)
	if out := l.iscsi(t, "discover", portal); !strings.Contains(out, lioPortal6+",1 "+lioTarget+"\n") {
		t.Errorf("discover: %s", out)
	}
	url := "iscsi://" + portal + "/" + lioTarget + "/0"
	out := strings.Join(strings.Fields(l.iscsi(t, "info", url)), " ")
	for _, want := range []string{"LIO-ORG FILEIO", "naa.6001405", "64 MiB", "thin yes", "Port group 1 active", "Port group 2 active", "Reached by " + lioPortalTwo + ",2"} {
		if !strings.Contains(out, want) {
			t.Errorf("info: no %q in\n%s", want, out)
		}
	}
	if out := l.iscsi(t, append([]string{"info", "iscsi://alice@" + chap + "/" + lioCHAPTarget}, lioMutual...)...); !strings.Contains(out, "authentication CHAP") || strings.Contains(out, "ecret") {
		t.Errorf("info with mutual CHAP: %s", out)
	}
	image, back := writeFile(t, "image", noise("image", 9<<20), make([]byte, 20<<20), noise("end", 3<<20)), filepath.Join(t.TempDir(), "back")
	l.iscsi(t, "copy", image, url)
	l.iscsi(t, "verify", url, image)
	l.iscsi(t, "copy", url, back)
	want, err1 := os.ReadFile(image)
	got, err2 := os.ReadFile(back)
	if err := errors.Join(err1, err2); err != nil || len(got) != lioSize || !bytes.Equal(got[:len(want)], want) {
		t.Errorf("what comes back is not what was copied (%v)", err)
	}
	t.Logf("%s", l.iscsi(t, "bench", "--time", "3s", url))
}
