//go:build linux && !386

package kernel

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/bootlun/bootlun/internal/peers"
	"github.com/bootlun/bootlun/iscsi"
)

// tgt is a tgtd of the test's own.
type tgt struct {
	*peers.TGT
	t *testing.T
}

// startTgt starts tgtd, or skips the test.
func startTgt(t *testing.T) *tgt {
	t.Helper()
	return &tgt{TGT: peers.TGTFor(t, "127.0.0.1"), t: t}
}

// target makes a target with the file as LUN 1, for everyone who proves to be user (if there is one), proving itself as
// outgoing (if there is one), and returns its number.
func (g *tgt) target(name, file string, user, outgoing iscsi.CHAPUser) (tid string) {
	g.t.Helper()
	tid, err := g.Target(name, []string{file})
	if err != nil {
		g.t.Fatal(err)
	}
	for _, u := range []iscsi.CHAPUser{user, outgoing} {
		if u.IsZero() {
			continue
		}
		if err := g.Account(tid, u.Name, u.Secret.Reveal(), u == outgoing); err != nil {
			g.t.Fatal(err)
		}
	}
	return tid
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
			cfg := k.testConfig(g.Portal)
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
