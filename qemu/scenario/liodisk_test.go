package scenario_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bootlun/bootlun/initiator"
	"github.com/bootlun/bootlun/scsi"
)

// Two initiators contend for a disk, by the command.
func (l *lio) reservations(t *testing.T) {
	url := "iscsi://" + l.forward(t, lioPortal) + "/" + lioTarget + "/0"
	as := func(who string, args ...string) []string {
		return append([]string{"reserve", url, "--initiator", "iqn.2026-11.org.bootlun:" + who}, args...)
	}
	l.iscsi(t, as("a", "register", "--key", "0xa")...)
	l.iscsi(t, as("b", "register", "--key", "0xb")...)
	l.iscsi(t, as("a", "reserve", "--key", "0xa", "--type", "we")...)
	out := l.iscsi(t, as("b")...)
	for _, want := range []string{"reservation: Write Exclusive, key 0xa", "registered: key 0xb, iqn.2026-11.org.bootlun:b,i,0x80", "bootlun:a,i,0x80", "holds the reservation"} {
		if !strings.Contains(out, want) {
			t.Errorf("reserve: no %q in\n%s", want, out)
		}
	}
	cfg := l.config(lioPortal)
	cfg.Initiator += "-c"
	lun := l.open(t, cfg)
	if _, err := lun.WriteAt(make([]byte, 512), 0); !errors.Is(err, initiator.ErrReserved) {
		t.Errorf("a write of who may not: %v", err)
	}
	if _, err := lun.ReadAt(make([]byte, 512), 0); err != nil {
		t.Errorf("a read, which all may: %v", err)
	}
	l.iscsi(t, as("b", "preempt", "--key", "0xb", "--victim", "0xa", "--type", "ea")...)
	if out := l.iscsi(t, as("b")...); !strings.Contains(out, "Exclusive Access, key 0xb") || strings.Contains(out, "key 0xa") {
		t.Errorf("after preempt: %s", out)
	}
	if _, err := lun.ReadAt(make([]byte, 512), 0); !errors.Is(err, initiator.ErrReserved) {
		t.Errorf("a read of who may not: %v", err)
	}
	l.iscsi(t, as("b", "release", "--key", "0xb")...)
	l.iscsi(t, as("b", "register", "--old", "0xb", "--key", "0xbb", "--persist")...)
	l.iscsi(t, as("b", "clear", "--key", "0xbb")...)
	if out := l.iscsi(t, as("b")...); !strings.Contains(out, "reservation: none") || strings.Contains(out, "registered") {
		t.Errorf("after clear: %s", out)
	}
	if _, err := lun.WriteAt(make([]byte, 512), 0); err != nil {
		t.Errorf("a write when all is over: %v", err)
	}
}

// onMedium is how many bytes the disk's file takes in the guest.
func (l *lio) onMedium(t *testing.T) int64 {
	t.Helper()
	n, err := strconv.ParseInt(l.must("sync; stat -c %b /disks/open"), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n * 512
}

// UNMAP and WRITE SAME: what they leave, and what they free.
func (l *lio) thin(t *testing.T) {
	lun := l.open(t, l.config(lioPortal))
	if !lun.Capacity().Provisioned {
		t.Error("the disk does not say that it is thin")
	}
	const size = 16 << 20
	fill := func() int64 {
		t.Helper()
		if _, err := lun.WriteAt(noise("thin", size), 0); err != nil {
			t.Fatal(err)
		}
		return l.onMedium(t)
	}
	zeros := func(what string) {
		t.Helper()
		b := make([]byte, size)
		if _, err := lun.ReadAt(b, 0); err != nil || !bytes.Equal(b, make([]byte, size)) {
			t.Errorf("after %s there are other bytes than zeros (%v)", what, err)
		}
	}
	full := fill()
	if err := lun.Discard(t.Context(), 0, size); err != nil {
		t.Fatal(err)
	}
	zeros("UNMAP")
	if n := l.onMedium(t); n > full-size {
		t.Errorf("UNMAP left %d bytes of %d", n, full)
	}
	for _, unmap := range []bool{true, false} {
		full = fill()
		if err := lun.WriteZeroes(t.Context(), 0, size, unmap); err != nil {
			t.Fatal(err)
		}
		zeros(fmt.Sprintf("WriteZeroes, unmap %v", unmap))
		t.Logf("WriteZeroes with unmap %v: %d bytes on the medium, %d before", unmap, l.onMedium(t), full)
	}
}

// Access states are told, obeyed, and followed when they change.
func (l *lio) accessStates(t *testing.T) {
	set := func(group int, state scsi.AccessState) {
		t.Helper()
		l.must(fmt.Sprintf("echo %d >$core/open/alua/group%d/alua_access_state", state, group))
	}
	attentions := make(chan scsi.Sense, 100)
	one, two := l.config(lioPortal), l.config(lioPortalTwo)
	for _, cfg := range []*initiator.Config{&one, &two} {
		cfg.Recovery.Limit = time.Minute
	}
	lun, err := initiator.OpenPaths(t.Context(), initiator.Path{Session: l.dial(t, one)}, initiator.Path{Session: l.dial(t, two)})
	if err != nil {
		t.Fatal(err)
	}
	lun.OnAttention(func(s scsi.Sense) { attentions <- s })
	for _, states := range [][2]scsi.AccessState{
		{scsi.ActiveOptimized, scsi.ActiveNonOptimized}, {scsi.Standby, scsi.ActiveOptimized}, {scsi.ActiveNonOptimized, scsi.Unavailable}, {scsi.ActiveOptimized, scsi.ActiveOptimized},
	} {
		set(1, states[0])
		set(2, states[1])
		for i := range 4 { // each path tells of the change when it is used
			thereAndBack(t, lun, fmt.Sprint(states, i))
		}
		groups, err := lun.PortGroups(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, g := range groups {
			if g.ID > 0 && g.State != states[g.ID-1] {
				t.Errorf("group %d is %v, want %v", g.ID, g.State, states[g.ID-1])
			}
		}
		for i, p := range lun.Paths() {
			if p.Group != uint16(i+1) || p.State != states[i] {
				t.Errorf("path %d: group %d, %v, want %v", i, p.Group, p.State, states[i])
			}
		}
	}
	if len(attentions) == 0 {
		t.Error("no unit attention told of the changes")
	}
}

// A portal group that is switched off is a path lost; its return is used.
func (l *lio) portalGroups(t *testing.T) {
	one, two := l.config(lioPortal), l.config(lioPortalTwo)
	for _, cfg := range []*initiator.Config{&one, &two} {
		cfg.Recovery.Limit = 2 * time.Minute
	}
	lun, err := initiator.OpenPaths(t.Context(), initiator.Path{Session: l.dial(t, one)}, initiator.Path{Session: l.dial(t, two)})
	if err != nil {
		t.Fatal(err)
	}
	for _, group := range []string{"1", "2"} {
		enable := "$fabric/$open/tpgt_" + group + "/enable"
		l.must("echo 0 >" + enable)
		thereAndBack(t, lun, "without "+group)
		l.must("echo 1 >" + enable)
		for _, p := range lun.Paths() {
			if err := answers(t, p.Session); err != nil {
				t.Fatalf("portal group %s is back: %v", group, err)
			}
		}
		thereAndBack(t, lun, "with "+group)
	}
}

// answers waits until a session's target answers.
func answers(t *testing.T, s *initiator.Session) error {
	t.Helper()
	_, err := s.LUNs(t.Context())
	return err
}

// The target goes away altogether and comes back, while data is written and read.
func (l *lio) restarts(t *testing.T) {
	cfg := l.config(lioPortalTwo) // with digests
	cfg.Recovery.Limit = 5 * time.Minute
	lun := l.open(t, cfg)
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer stop()
	const part = 4 << 20
	rounds := make(chan time.Time, 1<<16)
	for i := range int64(4) {
		wg.Go(func() {
			for pass := 0; ctx.Err() == nil; pass++ {
				data := noise(fmt.Sprint("restart", i, pass), 256<<10)
				back := make([]byte, len(data))
				at := i*part + int64(pass%8)*(512<<10)
				if _, err := lun.WriteAt(data, at); err != nil {
					t.Errorf("write: %v", err)
					return
				}
				if _, err := lun.ReadAt(back, at); err != nil || !bytes.Equal(back, data) {
					t.Errorf("what is read is not what was written (%v)", err)
					return
				}
				rounds <- time.Now()
			}
		})
	}
	for n := range 5 {
		for range 20 { // I/O flows
			select {
			case <-rounds:
			case <-time.After(3 * time.Minute):
				t.Fatal("no I/O for three minutes")
			}
		}
		began := time.Now()
		l.must("lio_down")
		down := time.Now()
		l.must("lio_up")
		up := time.Now()
		for again := up; !again.After(up); {
			select {
			case again = <-rounds:
			case <-time.After(3 * time.Minute):
				t.Fatal("no I/O for three minutes")
			}
			if again.After(up) {
				t.Logf("restart %d: %v to end LIO, %v to start it, I/O again %v after that", n+1,
					down.Sub(began).Round(time.Millisecond), up.Sub(down).Round(time.Millisecond), again.Sub(up).Round(time.Millisecond))
			}
		}
	}
}

// LIO of Linux 6.1 says nothing when a disk grows; a new login finds it out.
func (l *lio) resize(t *testing.T) {
	cfg := l.config(lioPortal)
	cfg.Recovery.Limit = 5 * time.Minute
	lun := l.open(t, cfg)
	l.must(fmt.Sprintf("lio_down && lio_up %d", 2*lioSize))
	if _, err := lun.WriteAt(noise("far", 4096), lioSize); errors.Is(err, initiator.ErrOutOfRange) { // refused by what was known
		thereAndBack(t, lun, "larger")
		_, err = lun.WriteAt(noise("far", 4096), lioSize)
		if err != nil {
			t.Error(err)
		}
	} else if err != nil {
		t.Error(err)
	}
	if lun.Size() != 2*lioSize {
		t.Errorf("the disk has %d bytes, and should have %d", lun.Size(), 2*lioSize)
	}
}
