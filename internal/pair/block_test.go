package pair

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/bootlun/bootlun/initiator"
	"github.com/bootlun/bootlun/iscsi"
	"github.com/bootlun/bootlun/scsi"
	"github.com/bootlun/bootlun/target/store"
	"github.com/bootlun/bootlun/target/targettest"
)

const name = "iqn.2026-11.org.bootlun:pair"

// config logs in to a server, with recovery.
func config(s *targettest.Server) initiator.Config {
	return initiator.Config{
		Initiator: name, Target: s.Target, Portal: s.Portal,
		Recovery: initiator.Recovery{Limit: time.Minute},
	}
}

func open(t *testing.T, cfg initiator.Config) *initiator.LUN {
	t.Helper()
	s, err := initiator.Dial(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	l, err := s.OpenLUN(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// fill writes ones everywhere in the first n bytes.
func fill(t *testing.T, l *initiator.LUN, n int) {
	t.Helper()
	if _, err := l.WriteAt(bytes.Repeat([]byte{1}, n), 0); err != nil {
		t.Fatal(err)
	}
}

// checkZeros checks that of the first n bytes those from lo to hi are zero, and the
// others not.
func checkZeros(t *testing.T, l *initiator.LUN, n, lo, hi int) {
	t.Helper()
	p := make([]byte, n)
	if _, err := l.ReadAt(p, 0); err != nil {
		t.Fatal(err)
	}
	for i, b := range p {
		if (b == 0) != (i >= lo && i < hi) {
			t.Fatalf("byte %d is %d, zeros wanted from %d to %d", i, b, lo, hi)
		}
	}
}

func TestZeroesAndDiscard(t *testing.T) {
	l := open(t, config(targettest.NewServer(t)))
	const n = 4 << 20
	for _, r := range [][2]int{{0, n}, {512, 1024}, {5, 100}, {100, 3 << 20}, {1000, 1024}, {n - 7, n}, {3, 3}} {
		for _, unmap := range []bool{false, true} {
			fill(t, l, n)
			if err := l.WriteZeroes(t.Context(), int64(r[0]), int64(r[1]-r[0]), unmap); err != nil {
				t.Fatal(err)
			}
			checkZeros(t, l, n, r[0], r[1])
		}
	}
	fill(t, l, n)
	if err := l.Discard(t.Context(), 1<<20-100, 1<<20+200); err != nil { // whole blocks of it
		t.Fatal(err)
	}
	checkZeros(t, l, n, 1<<20, 2<<20)
	if mapped, run, err := l.Mapped(t.Context(), 1<<20); err != nil || mapped || run != 1<<20 {
		t.Errorf("mapped %v for %d bytes, %v", mapped, run, err)
	}
	if p := l.Provisioning(); !p.Unmap || !l.WriteCache() {
		t.Errorf("provisioning %+v, write cache %v", p, l.WriteCache())
	}
	if err := l.Discard(t.Context(), 0, l.Size()+1); !errors.Is(err, initiator.ErrOutOfRange) {
		t.Errorf("beyond the end: %v", err)
	}
}

// A disk that grows is larger when the device has said so.
func TestResize(t *testing.T) {
	path := filepath.Join(t.TempDir(), "disk")
	if err := os.WriteFile(path, make([]byte, targettest.Size), 0o600); err != nil {
		t.Fatal(err)
	}
	file, err := store.OpenFile(path, store.FileOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { file.Close() })
	srv := targettest.NewServer(t, targettest.Options{Store: file})
	l := open(t, config(srv))
	heard := make(chan scsi.Sense, 10)
	l.OnAttention(func(s scsi.Sense) { heard <- s })
	if _, err := srv.ResizeLUN(srv.Target, 0, 2*targettest.Size); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := l.ReadAt(make([]byte, 512), 0); err != nil {
			t.Fatal(err)
		}
	}
	if l.Size() != 2*targettest.Size {
		t.Errorf("size %d", l.Size())
	}
	if s := <-heard; s.ASC != scsi.ASCCapacityChanged {
		t.Errorf("heard %v", s)
	}
}

func TestReservations(t *testing.T) {
	srv := targettest.NewServer(t)
	cfg := config(srv)
	a := open(t, cfg)
	cfg.Initiator += ":other"
	b := open(t, cfg)
	ctx := t.Context()
	for i, step := range []func() error{
		func() error { return a.Register(ctx, 0, 1, false) },
		func() error { return b.Register(ctx, 0, 2, false) },
		func() error { return a.Reserve(ctx, 1, scsi.WriteExclusive) },
	} {
		if err := step(); err != nil {
			t.Fatalf("step %d: %v", i, err)
		}
	}
	if _, keys, err := b.ReservationKeys(ctx); err != nil || len(keys) != 2 {
		t.Errorf("keys %v, %v", keys, err)
	}
	if r, err := b.Reservation(ctx); err != nil || r.Key != 1 || r.Type != scsi.WriteExclusive {
		t.Errorf("reservation %+v, %v", r, err)
	}
	if _, list, err := a.Registrations(ctx); err != nil || len(list) != 2 {
		t.Errorf("registrations %+v, %v", list, err)
	}
	p := make([]byte, 512)
	if _, err := b.WriteAt(p, 0); !errors.Is(err, initiator.ErrReserved) {
		t.Errorf("write to a reserved disk: %v", err)
	}
	if err := b.Reserve(ctx, 2, scsi.WriteExclusive); !errors.Is(err, initiator.ErrReserved) {
		t.Errorf("reserve a reserved disk: %v", err)
	}
	// A reservation lasts over a new login.
	if err := srv.Disconnect(ctx, a.Session().Login().TSIH); err != nil {
		t.Fatal(err)
	}
	if _, err := a.WriteAt(p, 0); err != nil {
		t.Errorf("write by the holder after a new login: %v", err)
	}
	if err := b.Preempt(ctx, 2, 1, scsi.WriteExclusive, true); err != nil {
		t.Fatal(err)
	}
	if _, err := b.WriteAt(p, 0); err != nil {
		t.Error(err)
	}
	if _, err := a.WriteAt(p, 0); !errors.Is(err, initiator.ErrReserved) {
		t.Errorf("write by the one preempted: %v", err)
	}
	if err := b.Release(ctx, 2, scsi.WriteExclusive); err != nil {
		t.Error(err)
	}
	if err := b.ClearReservations(ctx, 2); err != nil {
		t.Error(err)
	}
	if _, keys, err := b.ReservationKeys(ctx); err != nil || len(keys) != 0 {
		t.Errorf("keys %v, %v", keys, err)
	}
}

// Every way of moving data: digests, R2Ts, orders.
func TestNegotiations(t *testing.T) {
	srv := targettest.NewServer(t)
	want := make([]byte, 1<<20+512)
	for i := range want {
		want[i] = byte(i * 7 >> 3)
	}
	for name, offer := range map[string]iscsi.Offer{
		"all R2T":      {InitialR2T: true, NoImmediateData: true, MaxBurstLength: 16384, MaxOutstandingR2T: 8},
		"immediate":    {InitialR2T: true, FirstBurstLength: 4096, MaxBurstLength: 8192},
		"unsolicited":  {NoImmediateData: true, FirstBurstLength: 65536},
		"any order":    {DataPDUAnyOrder: true, DataSequenceAnyOrder: true, MaxRecvDataSegmentLength: 4096, MaxBurstLength: 16384, MaxOutstandingR2T: 4, InitialR2T: true},
		"small":        {MaxRecvDataSegmentLength: 512, MaxBurstLength: 512, FirstBurstLength: 512},
		"with digests": {HeaderDigest: iscsi.DigestRequire, DataDigest: iscsi.DigestRequire, MaxBurstLength: 32768},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := config(srv)
			cfg.Offer = offer
			l := open(t, cfg)
			got := make([]byte, len(want))
			if _, err := l.WriteAt(want, 512*3); err != nil {
				t.Fatal(err)
			}
			if _, err := l.ReadAt(got, 512*3); err != nil || !bytes.Equal(got, want) {
				t.Errorf("read back: %v, right: %v", err, bytes.Equal(got, want))
			}
		})
	}
}
