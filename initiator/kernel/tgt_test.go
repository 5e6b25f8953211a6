//go:build linux && !386

package kernel

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/bootlun/bootlun/iscsi"
)

// tgt is a tgtd of the test's own on a loopback port.
type tgt struct {
	t       *testing.T
	control string // number of its control socket
	port    int
	targets int
}

// startTgt starts tgtd, or skips the test.
func startTgt(t *testing.T) *tgt {
	t.Helper()
	for _, program := range []string{"tgtd", "tgtadm"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("SKIP: needs %s (apt install tgt)", program)
		}
	}
	if os.Geteuid() != 0 {
		t.Skip("SKIP: tgtd needs root")
	}
	port := freePort(t)
	g := &tgt{t: t, control: strconv.Itoa(port%30000 + 1000), port: port}
	cmd := exec.Command("tgtd", "-f", "-C", g.control, "--iscsi", fmt.Sprintf("portal=127.0.0.1:%d", port))
	log, err := os.Create(filepath.Join(t.TempDir(), "tgtd.log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		if t.Failed() {
			text, _ := os.ReadFile(log.Name())
			t.Logf("tgtd said:\n%s", text)
		}
	})
	g.awaitReady()
	return g
}

// awaitReady asks until the daemon answers.
func (g *tgt) awaitReady() {
	g.t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for {
		out, err := g.try("--op", "show", "--mode", "sys")
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			g.t.Fatalf("tgtd does not answer: %v\n%s", err, out)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func (g *tgt) try(args ...string) (string, error) {
	out, err := exec.Command("tgtadm", append([]string{"-C", g.control, "--lld", "iscsi"}, args...)...).CombinedOutput()
	return string(out), err
}

func (g *tgt) adm(args ...string) {
	g.t.Helper()
	if out, err := g.try(args...); err != nil {
		g.t.Fatalf("tgtadm %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// target makes a target with the file as LUN 1, for everyone who proves to be user (if there is one), proving itself as
// outgoing (if there is one).
func (g *tgt) target(name, file string, user, outgoing iscsi.CHAPUser) {
	g.t.Helper()
	g.targets++
	tid := strconv.Itoa(g.targets)
	g.adm("--op", "new", "--mode", "target", "--tid", tid, "-T", name)
	g.adm("--op", "new", "--mode", "logicalunit", "--tid", tid, "--lun", "1", "-b", file)
	g.adm("--op", "bind", "--mode", "target", "--tid", tid, "-I", "ALL")
	for _, u := range []iscsi.CHAPUser{user, outgoing} {
		if u.IsZero() {
			continue
		}
		g.try("--op", "new", "--mode", "account", "--user", u.Name, "--password", u.Secret.Reveal()) // may be there already
		bind := []string{"--op", "bind", "--mode", "account", "--tid", tid, "--user", u.Name}
		if u == outgoing {
			bind = append(bind, "--outgoing")
		}
		g.adm(bind...)
	}
}

// set sets a parameter of the last target made.
func (g *tgt) set(key, value string) {
	g.t.Helper()
	g.adm("--op", "update", "--mode", "target", "--tid", strconv.Itoa(g.targets), "-n", key, "-v", value)
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// patternFile is a disk of that many bytes whose every sector begins with its number.
func patternFile(t *testing.T, size int64) string {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "disk"))
	if err != nil {
		t.Fatal(err)
	}
	for off := int64(0); off < size; off += 512 {
		if _, err := fmt.Fprintf(f, "sector %-504d\n", off/512); err != nil {
			t.Fatal(err)
		}
	}
	if end, err := f.Seek(0, io.SeekCurrent); err != nil || end != size {
		t.Fatalf("wrote %d bytes, %v", end, err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return f.Name()
}

var (
	tgtUser     = iscsi.CHAPUser{Name: "alice", Secret: "correct horse bat"}
	tgtOutgoing = iscsi.CHAPUser{Name: "thedisk", Secret: "staple of the tgt"}
)

// TestTgt logs in to a real target through the kernel made of sockets.
func TestTgt(t *testing.T) {
	g := startTgt(t)
	file := patternFile(t, 1<<20)
	g.target("iqn.2024-01.test:open", file, iscsi.CHAPUser{}, iscsi.CHAPUser{})
	g.target("iqn.2024-01.test:chap", file, tgtUser, iscsi.CHAPUser{})
	g.target("iqn.2024-01.test:mutual", file, tgtUser, tgtOutgoing)
	md5 := []iscsi.CHAPAlgorithm{iscsi.CHAPMD5}
	wrong := iscsi.CHAPUser{Name: "alice", Secret: "something wrong!"}
	for _, c := range []struct {
		name, target string
		chap         *iscsi.CHAPClient
		status       iscsi.LoginStatus
	}{
		{"open", "open", nil, 0},
		{"chap", "chap", &iscsi.CHAPClient{User: tgtUser}, 0},
		{"mutual", "mutual", &iscsi.CHAPClient{User: tgtUser, Target: tgtOutgoing}, 0},
		{"only MD5", "mutual", &iscsi.CHAPClient{User: tgtUser, Target: tgtOutgoing, Algorithms: md5}, 0},
		{"wrong secret", "chap", &iscsi.CHAPClient{User: wrong}, iscsi.StatusAuthenticationFailed},
		{"no such target", "absent", nil, iscsi.StatusTargetNotFound},
	} {
		t.Run(c.name, func(t *testing.T) {
			k := newFakeKernel(t)
			cfg := k.testConfig(fmt.Sprintf("127.0.0.1:%d", g.port))
			cfg.Target = "iqn.2024-01.test:" + c.target
			cfg.CHAP = c.chap
			s, err := Login(t.Context(), cfg)
			defer k.shut()
			if c.status == 0 {
				if err != nil || s.TPGT != 1 || s.Params.MaxSendDataSegmentLength < 8192 {
					t.Fatalf("%+v, %v", s, err)
				}
				return
			}
			var refused *iscsi.LoginError
			if !errors.As(err, &refused) || refused.Status != c.status || k.left() != 0 {
				t.Errorf("err = %v, %d sessions left; want status %v", err, k.left(), c.status)
			}
		})
	}
}
