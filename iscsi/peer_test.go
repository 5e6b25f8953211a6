package iscsi_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// program returns the path of a program, or skips the test.
func program(t *testing.T, name, pkg string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("SKIP: needs %s (apt install %s)", name, pkg)
	}
	return path
}

// run runs a program and returns what it printed. One that hangs, as libiscsi's do
// over an answer they do not expect, is ended.
func run(t *testing.T, name string, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
	if err != nil {
		err = fmt.Errorf("%s %s: %w\n%s", filepath.Base(name), strings.Join(args, " "), err, out)
	}
	return string(out), err
}

// tgtName is the target that every test's tgtd serves: LUN 1 is a disk of
// tgtBlocks blocks of 512 bytes that hold tgtPattern.
const (
	tgtName   = "iqn.2026-01.org.bootlun:peer"
	tgtBlocks = 2048
)

// tgtPattern is the content of tgt's disk: each block starts with its number.
func tgtPattern() []byte {
	disk := make([]byte, tgtBlocks*512)
	for i := range tgtBlocks {
		copy(disk[i*512:], fmt.Sprintf("block %d", i))
	}
	return disk
}

// tgt is a running tgtd of a test's own.
type tgt struct {
	addr    string // of its portal on loopback
	control string // its control number
}

// startTGT starts a tgtd with one target and waits until it answers.
func startTGT(t *testing.T) *tgt {
	t.Helper()
	daemon := program(t, "tgtd", "tgt")
	program(t, "tgtadm", "tgt")
	if os.Geteuid() != 0 {
		t.Skip("SKIP: tgtd needs root")
	}
	port := freePort(t)
	n, _ := strconv.Atoi(port)
	g := &tgt{addr: "127.0.0.1:" + port, control: strconv.Itoa(n & 0x7fff)} // control numbers have 15 bits
	cmd := exec.Command(daemon, "-f", "-C", g.control, "--iscsi", "portal="+g.addr)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		cmd.Wait()
		close(ended)
	}()
	t.Cleanup(func() {
		cmd.Process.Kill()
		<-ended
		for _, f := range []string{"/var/run/tgtd/socket." + g.control, "/var/run/tgtd/socket." + g.control + ".lock"} {
			os.Remove(f)
		}
	})
	// tgtadm takes a comma in the path, which t.TempDir may have, for a separator.
	dir, err := os.MkdirTemp("", "iscsi-tgt")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	disk := filepath.Join(dir, "disk")
	if err := os.WriteFile(disk, tgtPattern(), 0o600); err != nil {
		t.Fatal(err)
	}
	g.waitReady(t, ended)
	g.admin(t, "--mode", "target", "--op", "new", "--tid", "1", "--targetname", tgtName)
	g.admin(t, "--mode", "logicalunit", "--op", "new", "--tid", "1", "--lun", "1", "--backing-store", disk)
	g.admin(t, "--mode", "target", "--op", "bind", "--tid", "1", "--initiator-address", "ALL")
	return g
}

// waitReady asks the daemon for its state until it answers; it gives no sign of
// when its control socket is there.
func (g *tgt) waitReady(t *testing.T, ended <-chan struct{}) {
	t.Helper()
	for {
		_, err := run(t, "tgtadm", "-C", g.control, "--lld", "iscsi", "--mode", "target", "--op", "show")
		if err == nil {
			return
		}
		select {
		case <-ended:
			t.Fatalf("tgtd ended: %v", err)
		case <-t.Context().Done():
			t.Fatalf("tgtd does not come up: %v", err)
		default:
		}
	}
}

// admin runs tgtadm against the daemon.
func (g *tgt) admin(t *testing.T, args ...string) {
	t.Helper()
	if _, err := run(t, "tgtadm", append([]string{"-C", g.control, "--lld", "iscsi"}, args...)...); err != nil {
		t.Fatal(err)
	}
}

// account makes a CHAP account; outgoing is the target's own.
func (g *tgt) account(t *testing.T, user, secret string, outgoing bool) {
	t.Helper()
	g.admin(t, "--mode", "account", "--op", "new", "--user", user, "--password", secret)
	bind := []string{"--mode", "account", "--op", "bind", "--tid", "1", "--user", user}
	if outgoing {
		bind = append(bind, "--outgoing")
	}
	g.admin(t, bind...)
}

// set sets a key of the target.
func (g *tgt) set(t *testing.T, key, value string) {
	t.Helper()
	g.admin(t, "--mode", "target", "--op", "update", "--tid", "1", "--name", key, "--value", value)
}

// dial connects to the portal for the length of the test.
func dial(t *testing.T, addr string) net.Conn {
	t.Helper()
	var d net.Dialer
	nc, err := d.DialContext(t.Context(), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	return nc
}

// freePort returns a TCP port on loopback that nobody listens on.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
}
