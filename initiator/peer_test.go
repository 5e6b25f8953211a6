package initiator

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

	"github.com/bootlun/bootlun/iscsi"
)

const testInitiator = "iqn.2026-01.org.bootlun:initiator-test"

// diskSize is the size of the disks that the tests' targets serve.
const diskSize = 16 << 20

// pattern fills p with what the byte at each offset of a test disk is.
func pattern(p []byte, off int64) {
	for i := range p {
		o := off + int64(i)
		p[i] = byte(o) ^ byte(o>>9) ^ byte(o>>17)
	}
}

// program returns the path of a program, or skips the test.
func program(t testing.TB, name, pkg string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("SKIP: needs %s (apt install %s)", name, pkg)
	}
	return path
}

// freePort returns a TCP port on loopback that nobody listens on.
func freePort(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
}

// tempDir is a directory whose name has no character that the peers' settings take
// for a separator.
func tempDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "bootlun-initiator")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// diskFile makes a disk image that holds the pattern.
func diskFile(t testing.TB, dir, name string) string {
	t.Helper()
	p := make([]byte, diskSize)
	pattern(p, 0)
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, p, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// daemon runs a target's program until the test ends.
func daemon(t testing.TB, name string, args ...string) (ended <-chan struct{}) {
	t.Helper()
	cmd := exec.Command(name, args...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		cmd.Wait()
		close(done)
	}()
	t.Cleanup(func() {
		cmd.Process.Kill()
		<-done
	})
	return done
}

// tgt is a tgtd of a test's own.
type tgt struct {
	portal  string
	control string // its control number
	dir     string
	targets int
}

// startTGT starts a tgtd without targets.
func startTGT(t testing.TB) *tgt {
	t.Helper()
	return startTGTAt(t, "127.0.0.1")
}

// startTGTAt is startTGT at another address of this machine.
func startTGTAt(t testing.TB, host string) *tgt {
	t.Helper()
	path := program(t, "tgtd", "tgt")
	program(t, "tgtadm", "tgt")
	if os.Geteuid() != 0 {
		t.Skip("SKIP: tgtd needs root")
	}
	port := freePort(t)
	n, _ := strconv.Atoi(port)
	// Control numbers have 15 bits.
	g := &tgt{portal: net.JoinHostPort(host, port), control: strconv.Itoa(n & 0x7fff), dir: tempDir(t)}
	t.Cleanup(func() {
		for _, f := range []string{"/var/run/tgtd/socket." + g.control, "/var/run/tgtd/socket." + g.control + ".lock"} {
			os.Remove(f)
		}
	})
	ended := daemon(t, path, "-f", "-C", g.control, "--iscsi", "portal="+g.portal)
	for g.try("--mode", "target", "--op", "show") != nil { // it gives no sign of being ready
		select {
		case <-ended:
			t.Fatal("tgtd ended")
		case <-t.Context().Done():
			t.Fatal("tgtd does not come up")
		default:
		}
	}
	return g
}

func (g *tgt) try(args ...string) error {
	args = append([]string{"-C", g.control, "--lld", "iscsi"}, args...)
	if out, err := exec.Command("tgtadm", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("tgtadm %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return nil
}

func (g *tgt) admin(t testing.TB, args ...string) {
	t.Helper()
	if err := g.try(args...); err != nil {
		t.Fatal(err)
	}
}

// target makes a target with disks as LUN 1 and so on, and returns its number.
func (g *tgt) target(t testing.TB, name string, disks ...string) string {
	t.Helper()
	g.targets++
	tid := strconv.Itoa(g.targets)
	g.admin(t, "--mode", "target", "--op", "new", "--tid", tid, "--targetname", name)
	for i, disk := range disks {
		g.admin(t, "--mode", "logicalunit", "--op", "new", "--tid", tid, "--lun", strconv.Itoa(i+1), "--backing-store", disk)
	}
	for _, digest := range []string{"HeaderDigest", "DataDigest"} {
		g.admin(t, "--mode", "target", "--op", "update", "--tid", tid, "--name", digest, "--value", "CRC32C,None")
	}
	g.admin(t, "--mode", "target", "--op", "bind", "--tid", tid, "--initiator-address", "ALL")
	return tid
}

// account has a target ask for a CHAP user, or prove itself as one.
func (g *tgt) account(t testing.TB, tid string, u iscsi.CHAPUser, outgoing bool) {
	t.Helper()
	g.try("--mode", "account", "--op", "new", "--user", u.Name, "--password", u.Secret.Reveal()) // may exist
	bind := []string{"--mode", "account", "--op", "bind", "--tid", tid, "--user", u.Name}
	if outgoing {
		bind = append(bind, "--outgoing")
	}
	g.admin(t, bind...)
}

func (g *tgt) config(target string) Config {
	return Config{Initiator: testInitiator, Target: target, Portal: g.portal}
}

// dial logs in for the length of the test.
func dial(t testing.TB, cfg Config) *Session {
	t.Helper()
	s, err := Dial(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func openLUN(t testing.TB, s *Session, n int) *LUN {
	t.Helper()
	id, err := iscsi.MakeLUN(n)
	if err != nil {
		t.Fatal(err)
	}
	l, err := s.OpenLUN(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// soon is a context for what must not hang.
func soon(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}
