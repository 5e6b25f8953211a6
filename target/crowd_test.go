package target_test

import (
	"context"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/bootlun/bootlun/iscsi"
	"github.com/bootlun/bootlun/scsi"
)

// openers is how many processes open connections: a descriptor limit of 20000 is
// enough for 100000 of them.
const openers = 8

// opening is what a child that opens connections is to do.
type opening struct {
	Lair lair
	N    int
}

// opened is what it has done.
type opened struct{ Open, Failed int64 }

// run opens connections and keeps them until the input ends.
func (o *opening) run() {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	var wg sync.WaitGroup
	var open, failed atomic.Int64
	wg.Go(func() {
		for range o.N {
			if _, err := o.Lair.dial(ctx); err != nil {
				failed.Add(1)
				continue
			}
			open.Add(1)
		}
	})
	answer(func() any { return opened{open.Load(), failed.Load()} })
	stop()
	wg.Wait()
}

// TestHalfOpenConnections opens connections, from several addresses, that say
// nothing and are not closed: the server holds as many as it is allowed to, others
// log in beside them, and nothing is left of them. BOOTLUN_HALF_OPEN says how many
// (2000); with BOOTLUN_HALF_OPEN_HELD the server is allowed to hold so many.
func TestHalfOpenConnections(t *testing.T) {
	n, held := sizeOf("BOOTLUN_HALF_OPEN", 2000), sizeOf("BOOTLUN_HALF_OPEN_HELD", 0)
	allowDescriptors(t, max(n/openers, held)+1000)
	c := startServer(t, bounds{MaxPendingLogins: held})
	by := bystander{c: connect(t, c.addr(1), calmly).ready()}
	quiet := by.rate(t, func() bool { return by.rounds >= 100 })
	before, open, memory := c.report(), c.descriptors(), c.resident()

	var children []*child
	for i := range openers {
		o := opening{lair{c.addr(1), net.IPv4(127, 0, 1, byte(1+i))}, n / openers}
		children = append(children, start(t, role{Open: &o}, "nice", "-n", "5", os.Args[0]))
	}
	var all opened
	began, most := by.rounds, 0
	under := by.rate(t, func() bool {
		all = opened{}
		for _, child := range children {
			var o opened
			child.ask(&o)
			all.Open, all.Failed = all.Open+o.Open, all.Failed+o.Failed
		}
		most = max(most, c.descriptors())
		return int(all.Open+all.Failed) == n/openers*openers && by.rounds >= began+100
	})
	if all.Failed > 0 {
		t.Errorf("%d connections failed", all.Failed)
	}
	connect(t, c.addr(1), withISID(9)).ready().nc.Close()
	t.Logf("%d half-open connections, at most %d descriptors of the server, memory %d MiB, %d MiB before; beside them %.0f %% of the rate alone (%.0f/s)",
		all.Open, most, c.peak()>>20, memory>>20, 100*under/quiet, quiet)
	if limit := memory + int64(max(held, 256))*halfOpenMemory + 32<<20; c.peak() > limit && !raceDetector {
		t.Errorf("the server has taken %d MiB, want %d at most", c.peak()>>20, limit>>20)
	}
	for _, child := range children {
		child.stop()
	}
	c.settle(before, open)
}

// halfOpenMemory is what a connection that has not logged in may cost.
const halfOpenMemory = 64 << 10

func calmly(c *iscsi.InitiatorConfig) { c.TargetName = calmTarget }

// allowDescriptors has the process have n descriptors, or skips the test.
func allowDescriptors(t *testing.T, n int) {
	t.Helper()
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	old := limit
	if limit.Cur >= uint64(n) {
		return
	}
	limit.Cur, limit.Max = uint64(n), max(limit.Max, uint64(n))
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Skipf("SKIP: needs %d file descriptors (ulimit -n): %v", n, err)
	}
	t.Cleanup(func() { _ = syscall.Setrlimit(syscall.RLIMIT_NOFILE, &old) }) // lower than it is: cannot fail
}

// TestSessionsComeAndGo has sessions log in, use their disk, and go: by a logout,
// by closing the connection, with commands under way, or by being taken the place
// of. When they are gone the server is as it was. BOOTLUN_SESSIONS says how many
// (1000).
func TestSessionsComeAndGo(t *testing.T) {
	n := sizeOf("BOOTLUN_SESSIONS", 1000)
	c := startServer(t, bounds{})
	l := lair{c.addr(1), net.IPv4(127, 0, 0, 1)}
	connect(t, c.addr(1), calmly).ready()
	before, open := c.report(), c.descriptors()
	comeAndGo(t, &l, 200) // so that pools are filled
	c.settle(before, open)
	before.Heap = c.report().Heap
	memory := c.resident()
	comeAndGo(t, &l, n)
	c.settle(before, open)
	after := c.report()
	t.Logf("after %d sessions: heap %d KiB, %d KiB before; resident %d KiB, %d KiB before",
		n, after.Heap>>10, before.Heap>>10, c.resident()>>10, memory>>10)
	if after.Heap > before.Heap+8<<20 {
		t.Errorf("the heap has grown from %d to %d KiB", before.Heap>>10, after.Heap>>10)
	}
}

// comeAndGo has n sessions come and go, some at a time.
func comeAndGo(t *testing.T, l *lair, n int) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context()) // closes what is left
	defer stop()
	var wg sync.WaitGroup
	var next atomic.Int64
	for w := range 8 {
		wg.Go(func() {
			for i := next.Add(1); i <= int64(n) && !t.Failed(); i = next.Add(1) {
				// Of every five, the last takes the place of the one that stays.
				a, err := l.login(ctx, w)
				if err != nil {
					t.Errorf("login %d: %v", i, err)
					return
				}
				if err := a.leave(int(i % 5)); err != nil {
					t.Errorf("session %d: %v", i, err)
				}
				if i%5 != 0 {
					a.nc.Close()
				}
			}
		})
	}
	wg.Wait()
}

// leave uses the session, and begins to end it in one of several ways.
func (a *attacker) leave(how int) error {
	switch how {
	case 1:
		return a.command(transfer(scsi.OpRead16, 0, 2048), 1<<20, 0, nil)
	case 2:
		return a.command(transfer(scsi.OpWrite16, 0, 2048), 0, 1<<20, make([]byte, 4096))
	case 3:
		if err := a.send(&iscsi.LogoutRequest{Reason: iscsi.LogoutSession, ITT: 1, CmdSN: a.sn}, nil); err != nil {
			return err
		}
		var b iscsi.BHS
		_, err := a.conn.ReadPDU(&b)
		return err
	}
	return nil
}

// TestManyReinstate has as many sessions as there may be lose their connections
// without the server noticing, as machines do that lose power at once, and log in
// again: each in its own place, and the others' come through. BOOTLUN_REINSTATE
// says how many (500).
func TestManyReinstate(t *testing.T) {
	n := sizeOf("BOOTLUN_REINSTATE", 500)
	allowDescriptors(t, 3*n+1000)
	c := startServer(t, bounds{MaxSessions: n + 1})
	by := bystander{c: connect(t, c.addr(1), calmly).ready()}
	l := lair{c.addr(1), net.IPv4(127, 0, 0, 1)}
	for round := range 3 {
		var wg sync.WaitGroup
		var done atomic.Int64
		for w := range 16 {
			wg.Go(func() {
				for i := w; i < n && !t.Failed(); i += 16 {
					a, err := l.login(t.Context(), i)
					if err == nil {
						err = a.command(transfer(scsi.OpWrite16, 0, 2048), 0, 1<<20, nil) // whose data does not come
					}
					if err != nil {
						t.Errorf("login %d of round %d: %v", i, round, err)
					}
					done.Add(1)
				}
			})
		}
		by.rate(t, func() bool { return int(done.Load()) == n || t.Failed() })
		wg.Wait()
		if got := c.report().Sessions; got != n+1 {
			t.Errorf("%d sessions after round %d, want %d", got, round, n+1)
		}
	}
	t.Logf("%d sessions, each with a write under way: memory %d MiB", n, c.resident()>>20)
}
