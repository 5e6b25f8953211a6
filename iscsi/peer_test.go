package iscsi_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bootlun/bootlun/internal/peers"
)

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
	*peers.TGT
	tid string // of its only target
}

// startTGT starts a tgtd with one target.
func startTGT(t *testing.T) *tgt {
	t.Helper()
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
	g := &tgt{TGT: peers.TGTFor(t, "127.0.0.1")}
	g.tid, err = g.Target(tgtName, []string{disk})
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// admin runs tgtadm against the daemon.
func (g *tgt) admin(t *testing.T, args ...string) {
	t.Helper()
	if err := g.Admin(args...); err != nil {
		t.Fatal(err)
	}
}

// account makes a CHAP account; outgoing is the target's own.
func (g *tgt) account(t *testing.T, user, secret string, outgoing bool) {
	t.Helper()
	if err := g.Account(g.tid, user, secret, outgoing); err != nil {
		t.Fatal(err)
	}
}

// set sets a key of the target.
func (g *tgt) set(t *testing.T, key, value string) {
	t.Helper()
	if err := g.Set(g.tid, key, value); err != nil {
		t.Fatal(err)
	}
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
