package initiator

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/bootlun/bootlun/internal/peers"
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

// tgt is a tgtd of a test's own.
type tgt struct {
	*peers.TGT
	dir string
}

// startTGT starts a tgtd without targets.
func startTGT(t testing.TB) *tgt {
	t.Helper()
	return startTGTAt(t, "127.0.0.1")
}

// startTGTAt is startTGT at another address of this machine.
func startTGTAt(t testing.TB, host string) *tgt {
	t.Helper()
	return &tgt{TGT: peers.TGTFor(t, host), dir: tempDir(t)}
}

func (g *tgt) admin(t testing.TB, args ...string) {
	t.Helper()
	if err := g.Admin(args...); err != nil {
		t.Fatal(err)
	}
}

// target makes a target with disks as LUN 1 and so on, and returns its number.
func (g *tgt) target(t testing.TB, name string, disks ...string) string {
	t.Helper()
	tid, err := g.Target(name, disks)
	if err != nil {
		t.Fatal(err)
	}
	return tid
}

// account has a target ask for a CHAP user, or prove itself as one.
func (g *tgt) account(t testing.TB, tid string, u iscsi.CHAPUser, outgoing bool) {
	t.Helper()
	if err := g.Account(tid, u.Name, u.Secret.Reveal(), outgoing); err != nil {
		t.Fatal(err)
	}
}

func (g *tgt) config(target string) Config {
	return Config{Initiator: testInitiator, Target: target, Portal: g.Portal}
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
