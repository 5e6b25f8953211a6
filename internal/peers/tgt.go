package peers

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
)

// TGT is a running tgtd (the Linux SCSI target framework).
type TGT struct {
	// Portal is its address and port.
	Portal string

	daemon  *daemon
	control string // its control number
	targets int
}

// StartTGT starts a tgtd without targets on a free port of an address of this
// machine. The caller stops it.
func StartTGT(ctx context.Context, host string) (*TGT, error) {
	path, err := find("tgtd", "tgt")
	if err != nil {
		return nil, err
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	n, _ := strconv.Atoi(port)
	g := &TGT{Portal: net.JoinHostPort(host, port), control: strconv.Itoa(n & 0x7fff)} // control numbers have 15 bits
	if g.daemon, err = start(path, "-f", "-C", g.control, "--iscsi", "portal="+g.Portal); err != nil {
		return nil, err
	}
	if err := g.daemon.await(ctx, func() error { return g.Admin("--mode", "target", "--op", "show") }); err != nil {
		g.Stop()
		return nil, err
	}
	return g, nil
}

// TGTFor starts a tgtd for the length of a test, or skips the test.
func TGTFor(t testing.TB, host string) *TGT {
	t.Helper()
	g, err := StartTGT(t.Context(), host)
	skipWithout(t, err)
	t.Cleanup(func() {
		g.Stop()
		if t.Failed() {
			t.Logf("tgtd said:\n%s", &g.daemon.said)
		}
	})
	return g
}

// Stop ends the daemon.
func (g *TGT) Stop() {
	g.daemon.stop()
	for _, suffix := range []string{"", ".lock"} {
		os.Remove("/var/run/tgtd/socket." + g.control + suffix)
	}
}

// PID is its process's number.
func (g *TGT) PID() int { return g.daemon.cmd.Process.Pid }

// Dump returns what tgt-admin makes of the daemon's state: a targets.conf.
func (g *TGT) Dump() ([]byte, error) {
	path, err := find("tgt-admin", "tgt")
	if err != nil {
		return nil, err
	}
	return exec.Command(path, "-C", g.control, "--dump").Output()
}

// Admin runs tgtadm against the daemon.
func (g *TGT) Admin(args ...string) error {
	args = append([]string{"-C", g.control, "--lld", "iscsi"}, args...)
	if out, err := exec.Command("tgtadm", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("tgtadm %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return nil
}

// Target makes a target for everybody, with disks (files) as LUN 1 and so on and
// both digests on for those who want them, and returns its number. Paths must
// have no comma, which tgtadm takes for a separator. lunArgs are added to what
// makes each LUN.
func (g *TGT) Target(name string, disks []string, lunArgs ...string) (tid string, err error) {
	g.targets++
	tid = strconv.Itoa(g.targets)
	steps := [][]string{{"--mode", "target", "--op", "new", "--tid", tid, "--targetname", name}}
	for i, disk := range disks {
		lun := []string{"--mode", "logicalunit", "--op", "new", "--tid", tid, "--lun", strconv.Itoa(i + 1), "--backing-store", disk}
		steps = append(steps, append(lun, lunArgs...))
	}
	steps = append(steps, []string{"--mode", "target", "--op", "bind", "--tid", tid, "--initiator-address", "ALL"})
	for _, args := range steps {
		if err := g.Admin(args...); err != nil {
			return "", err
		}
	}
	for _, digest := range []string{"HeaderDigest", "DataDigest"} {
		if err := g.Set(tid, digest, "CRC32C,None"); err != nil {
			return "", err
		}
	}
	return tid, nil
}

// Set sets a negotiated key of a target.
func (g *TGT) Set(tid, key, value string) error {
	return g.Admin("--mode", "target", "--op", "update", "--tid", tid, "--name", key, "--value", value)
}

// Account has a target ask for a CHAP user, or, outgoing, prove itself as one.
func (g *TGT) Account(tid, user, secret string, outgoing bool) error {
	_ = g.Admin("--mode", "account", "--op", "new", "--user", user, "--password", secret) // may be there already
	bind := []string{"--mode", "account", "--op", "bind", "--tid", tid, "--user", user}
	if outgoing {
		bind = append(bind, "--outgoing")
	}
	return g.Admin(bind...)
}
