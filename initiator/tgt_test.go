package initiator

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"testing"

	"github.com/bootlun/bootlun/iscsi"
	"github.com/bootlun/bootlun/scsi"
)

const tgtTarget = "iqn.2026-01.org.bootlun:tgt"

var (
	alice = iscsi.CHAPUser{Name: "alice", Secret: "alice's own secret"}
	bob   = iscsi.CHAPUser{Name: "bob", Secret: "bob's very other"}
)

func TestTGTDiscover(t *testing.T) {
	g := startTGT(t)
	g.target(t, tgtTarget+"-1")
	g.target(t, tgtTarget+"-2")
	records, err := Discover(t.Context(), g.config(""))
	if err != nil {
		t.Fatal(err)
	}
	if len(records) != 2 || records[0].Name != tgtTarget+"-1" || records[1].Name != tgtTarget+"-2" ||
		records[0].Addresses[0].HostPort() != g.Portal {
		t.Errorf("targets %+v", records)
	}
}

func TestTGTIPv6(t *testing.T) {
	if l, err := net.Listen("tcp", "[::1]:0"); err != nil {
		t.Skipf("SKIP: needs IPv6 on loopback: %v", err)
	} else {
		l.Close()
	}
	g := startTGTAt(t, "::1")
	g.target(t, tgtTarget, diskFile(t, g.dir, "disk"))
	records, err := Discover(t.Context(), g.config(""))
	if err != nil || len(records) != 1 || records[0].Addresses[0].HostPort() != g.Portal {
		t.Fatalf("targets %+v, %v", records, err)
	}
	exercise(t, openLUN(t, dial(t, g.config(tgtTarget)), 1))
}

// Logging in with every way of authentication, seen by a read.
func TestTGTLogin(t *testing.T) {
	g := startTGT(t)
	disk := diskFile(t, g.dir, "disk")
	g.target(t, tgtTarget, disk)
	chap := g.target(t, tgtTarget+"-chap", disk)
	g.account(t, chap, alice, false)
	mutual := g.target(t, tgtTarget+"-mutual", disk)
	g.account(t, mutual, alice, false)
	g.account(t, mutual, bob, true)
	must := iscsi.Offer{HeaderDigest: iscsi.DigestRequire, DataDigest: iscsi.DigestRequire}
	for _, c := range []struct {
		name, target string
		chap         *iscsi.CHAPClient
		offer        iscsi.Offer
		status       iscsi.LoginStatus
		err          error
	}{
		{name: "open"},
		{name: "digests", offer: must},
		{name: "no immediate data", offer: iscsi.Offer{NoImmediateData: true}},
		{name: "no unsolicited data", offer: iscsi.Offer{InitialR2T: true, NoImmediateData: true}},
		{name: "small", offer: iscsi.Offer{MaxRecvDataSegmentLength: 512, MaxBurstLength: 1024, FirstBurstLength: 512}},
		{name: "several R2T", offer: iscsi.Offer{MaxOutstandingR2T: 8, MaxBurstLength: 8192, InitialR2T: true}},
		{name: "CHAP", target: "-chap", chap: &iscsi.CHAPClient{User: alice}},
		{name: "CHAP, lone algorithm", target: "-chap", chap: &iscsi.CHAPClient{User: alice, Algorithms: []iscsi.CHAPAlgorithm{iscsi.CHAPMD5}}},
		{name: "CHAP, another order", target: "-chap", chap: &iscsi.CHAPClient{User: alice, Algorithms: []iscsi.CHAPAlgorithm{iscsi.CHAPSHA1, iscsi.CHAPMD5}}},
		{name: "CHAP with digests", target: "-chap", chap: &iscsi.CHAPClient{User: alice}, offer: must},
		{name: "mutual", target: "-mutual", chap: &iscsi.CHAPClient{User: alice, Target: bob}},
		{name: "wrong secret", target: "-chap", chap: &iscsi.CHAPClient{User: bob}, status: iscsi.StatusAuthenticationFailed},
		{
			name: "wrong proof", target: "-mutual", chap: &iscsi.CHAPClient{User: alice, Target: iscsi.CHAPUser{Name: "bob", Secret: "not what bob has"}},
			err: iscsi.ErrPeerNotAuthenticated,
		},
		{name: "no CHAP", target: "-chap", status: iscsi.StatusAuthenticationFailed},
		{name: "no such target", target: "-none", status: iscsi.StatusTargetNotFound},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := g.config(tgtTarget + c.target)
			cfg.CHAP, cfg.Offer = c.chap, c.offer
			s, err := Dial(t.Context(), cfg)
			if c.status != 0 || c.err != nil {
				var refused *iscsi.LoginError
				var e *Error
				if !errors.As(err, &e) || e.Portal != g.Portal || e.Target != cfg.Target ||
					c.status != 0 && (!errors.As(err, &refused) || refused.Status != c.status) ||
					c.err != nil && !errors.Is(err, c.err) {
					t.Fatalf("err = %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if p := s.Login().Params; c.offer == must && !(p.HeaderDigest && p.DataDigest) {
				t.Error("no digests")
			}
			exercise(t, openLUN(t, s, 1))
			if err := s.Close(); err != nil {
				t.Errorf("close: %v", err)
			}
		})
	}
}

// exercise reads a disk that holds the pattern, and overwrites it in all kinds of
// ways with what it held.
func exercise(t *testing.T, l *LUN) {
	t.Helper()
	if l.Size() != diskSize || l.BlockSize() != 512 || l.WriteProtected() {
		t.Errorf("%d bytes, %d a block, write protected: %v", l.Size(), l.BlockSize(), l.WriteProtected())
	}
	for _, r := range []struct {
		off int64
		n   int
	}{
		{0, 512},
		{512, 4096},
		{1, 1},
		{511, 2},
		{100, 200},
		{1000, 5000},
		{4096, 100},
		{0, 3 << 20},
		{777, 1 << 20},
		{diskSize - 512, 512},
		{diskSize - 10, 10},
		{diskSize - 5000, 4999},
		{0, 0},
		{5, 0},
	} {
		for range 2 { // as it was, and as it was written
			want, got := make([]byte, r.n), make([]byte, r.n)
			pattern(want, r.off)
			if n, err := l.ReadAt(got, r.off); n != r.n || err != nil || !bytes.Equal(got, want) {
				t.Fatalf("read of %d bytes at %d: %d, %v, right: %v", r.n, r.off, n, err, bytes.Equal(got, want))
			}
			if n, err := l.WriteAt(want, r.off); n != r.n || err != nil {
				t.Fatalf("write of %d bytes at %d: %d, %v", r.n, r.off, n, err)
			}
		}
	}
	if err := l.Flush(t.Context()); err != nil {
		t.Error(err)
	}
	exerciseZeroes(t, l)
}

// exerciseZeroes makes parts of a disk zero and writes them again.
func exerciseZeroes(t *testing.T, l *LUN) {
	t.Helper()
	const size = 1 << 20
	was, got := make([]byte, size), make([]byte, size)
	pattern(was, 0)
	for _, r := range [][2]int{{0, size}, {512, 1024}, {5, 100}, {100, 70000}} {
		want := bytes.Clone(was)
		clear(want[r[0]:][:r[1]])
		if err := l.WriteZeroes(soon(t), int64(r[0]), int64(r[1]), true); err != nil {
			t.Fatal(err)
		}
		if _, err := l.ReadAt(got, 0); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%d zeros at %d: %v, right: %v", r[1], r[0], err, bytes.Equal(got, want))
		}
		if _, err := l.WriteAt(was, 0); err != nil {
			t.Fatal(err)
		}
	}
}

// What is written reads back, is where it belongs, and nothing else is touched.
func TestTGTWrite(t *testing.T) {
	g := startTGT(t)
	disk := diskFile(t, g.dir, "disk")
	g.target(t, tgtTarget, disk)
	l := openLUN(t, dial(t, g.config(tgtTarget)), 1)
	want := make([]byte, diskSize)
	pattern(want, 0)
	random := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		off := random.IntN(diskSize - 1)
		p := make([]byte, 1+random.IntN(min(diskSize-off, 1<<random.IntN(20))))
		for i := range p {
			p[i] = byte(random.Uint32())
		}
		copy(want[off:], p)
		if n, err := l.WriteAt(p, int64(off)); n != len(p) || err != nil {
			t.Fatal(n, err)
		}
	}
	if err := l.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, diskSize)
	if _, err := l.ReadAt(got, 0); err != nil {
		t.Fatal(err)
	}
	stored, err := os.ReadFile(disk)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) || !bytes.Equal(stored, want) {
		t.Errorf("read back right: %v; on the disk right: %v", bytes.Equal(got, want), bytes.Equal(stored, want))
	}
}

// Many goroutines, each with its own part of one disk, share blocks at the borders.
func TestTGTParallel(t *testing.T) {
	g := startTGT(t)
	g.target(t, tgtTarget, diskFile(t, g.dir, "disk"))
	cfg := g.config(tgtTarget)
	cfg.MaxCommands = 20 // fewer than what is wanted at once
	l := openLUN(t, dial(t, cfg), 1)
	const workers, part = 24, 100_001
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			off := int64(w * part)
			p := bytes.Repeat([]byte{byte(w + 1)}, part)
			if _, err := l.WriteAt(p, off); err != nil {
				t.Error(err)
			}
			got := make([]byte, part)
			if _, err := l.ReadAt(got, off); err != nil || !bytes.Equal(got, p) {
				t.Errorf("worker %d: %v", w, err)
			}
		})
	}
	wg.Wait()
	got := make([]byte, workers*part)
	if _, err := l.ReadAt(got, 0); err != nil {
		t.Fatal(err)
	}
	for i, b := range got {
		if int(b) != i/part+1 {
			t.Fatalf("byte %d is %d", i, b)
		}
	}
}

func TestTGTEdges(t *testing.T) {
	g := startTGT(t)
	disk := diskFile(t, g.dir, "disk")
	tid := g.target(t, tgtTarget, disk, disk)
	g.admin(t, "--mode", "logicalunit", "--op", "update", "--tid", tid, "--lun", "2", "--params", "readonly=1")
	s := dial(t, g.config(tgtTarget))
	luns, err := s.LUNs(t.Context())
	if err != nil || fmt.Sprint(luns) != "[0 1 2]" {
		t.Errorf("LUNs %v, %v", luns, err)
	}
	l := openLUN(t, s, 1)
	p := make([]byte, 1024)
	if n, err := l.ReadAt(p, diskSize-512); n != 512 || err != io.EOF {
		t.Errorf("read over the end: %d, %v", n, err)
	}
	if n, err := l.ReadAt(p, diskSize); n != 0 || err != io.EOF {
		t.Errorf("read at the end: %d, %v", n, err)
	}
	if n, err := l.WriteAt(p, diskSize-512); n != 0 || !errors.Is(err, ErrOutOfRange) {
		t.Errorf("write over the end: %d, %v", n, err)
	}
	if _, err := l.ReadAt(p, -1); err == nil {
		t.Error("read before the start")
	}
	readonly := openLUN(t, s, 2)
	if _, err := readonly.WriteAt(p, 0); !errors.Is(err, ErrWriteProtected) {
		t.Errorf("write to a read-only LUN: %v", err)
	}
	for _, none := range []iscsi.LUN{0, 7 << 48} { // tgt's LUN 0 is a controller
		if _, err := s.OpenLUN(t.Context(), none); !errors.Is(err, ErrNoLUN) {
			t.Errorf("open LUN %v: %v", none, err)
		}
	}
}

// A device's refusal comes back as sense data, also beneath LUN's methods.
func TestTGTSense(t *testing.T) {
	g := startTGT(t)
	g.target(t, tgtTarget, diskFile(t, g.dir, "disk"))
	s := dial(t, g.config(tgtTarget))
	l := openLUN(t, s, 1)
	r, err := s.Execute(t.Context(), Command{LUN: l.ID(), CDB: scsi.ReadCDB(diskSize/512, 1), In: make([]byte, 512)})
	if err != nil {
		t.Fatal(err)
	}
	var e *scsi.Error
	if !errors.As(r.Err(), &e) || e.Sense.ASC != scsi.ASCLBAOutOfRange {
		t.Errorf("read beyond the end: %v", r.Err())
	}
	if r, err = s.Execute(t.Context(), Command{LUN: l.ID(), CDB: scsi.Inquiry{Length: 255}.CDB(), In: make([]byte, 255)}); err != nil || r.Err() != nil || r.Residual <= 0 {
		t.Errorf("inquiry: %+v, %v", r, err)
	}
	l.blocks.Store(2 * l.blocks.Load()) // as if the disk had shrunk
	p := make([]byte, 4<<20)
	n, err := l.ReadAt(p, diskSize-2<<20)
	if !errors.As(err, &e) || e.Sense.ASC != scsi.ASCLBAOutOfRange || n != 2<<20 {
		t.Errorf("read over the end: %d, %v", n, err)
	}
}
