package initiator

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bootlun/bootlun/iscsi"
	"github.com/bootlun/bootlun/scsi"
)

// recovering is a configuration for fakes with Recovery.
func recovering(f *fakes) Config {
	cfg := f.config()
	cfg.Recovery.Limit = time.Minute
	return cfg
}

// inBubble is synctest.Test for a session of fakes, with the session and its LUN 0.
func inBubble(t *testing.T, edit func(*Config), scripts []script, do func(t *testing.T, f *fakes, l *LUN)) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakes(t, scripts...)
		cfg := recovering(f)
		if edit != nil {
			edit(&cfg)
		}
		s := dial(t, cfg)
		l := openLUN(t, s, 0)
		do(t, f, l)
		s.Close()
	})
}

// A read whose connection is lost is sent again after a new login with the same
// ISID, and what the device says first is taken.
func TestRecoverRead(t *testing.T) {
	first := zeroDisk{blocks: 100, before: cut(scsi.OpRead10)}
	then := zeroDisk{blocks: 200, attention: 3}
	inBubble(t, nil, []script{first.serveAll, then.serveAll}, func(t *testing.T, f *fakes, l *LUN) {
		if n, err := l.ReadAt(make([]byte, 4096), 512); n != 4096 || err != nil {
			t.Errorf("read %d, %v", n, err)
		}
		if len(f.isids) != 2 || f.isids[0] != f.isids[1] {
			t.Errorf("logins with ISIDs %v", f.isids)
		}
		if l.Size() != 200*512 {
			t.Errorf("size %d after the login, want the new one", l.Size())
		}
	})
}

// A command that may have been executed and must not be twice fails, and the
// session goes on.
func TestRecoverUnknown(t *testing.T) {
	first := zeroDisk{blocks: 100, before: cut(scsi.OpCompareAndWrite)}
	then := zeroDisk{blocks: 100}
	inBubble(t, nil, []script{first.serveAll, then.serveAll}, func(t *testing.T, _ *fakes, l *LUN) {
		cdb, _ := scsi.Transfer{Op: scsi.OpCompareAndWrite, Blocks: 1}.CDB()
		_, err := l.Session().Execute(t.Context(), Command{CDB: cdb, Out: make([]byte, 1024)})
		var lost *LostError
		if !errors.Is(err, ErrOutcomeUnknown) || !errors.Is(err, ErrConnectionLost) || !errors.As(err, &lost) {
			t.Errorf("err = %v", err)
		}
		if _, err := l.ReadAt(make([]byte, 512), 0); err != nil {
			t.Error(err)
		}
	})
}

// Calls wait for a connection until Limit, later ones do not wait, and when it is
// back they go on. The error tells the story.
func TestRecoverLimit(t *testing.T) {
	first := zeroDisk{blocks: 100, before: cut(scsi.OpRead10)}
	then := zeroDisk{blocks: 100}
	inBubble(t, nil, []script{first.serveAll, then.serveAll}, func(t *testing.T, f *fakes, l *LUN) {
		f.mu.Lock()
		f.refuse = func(string) error { return errors.New("cable is out") }
		f.mu.Unlock()
		start := time.Now()
		_, err := l.ReadAt(make([]byte, 512), 0)
		var lost *LostError
		if !errors.As(err, &lost) || !errors.Is(err, errLate) || len(lost.History) != maxHistory || time.Since(start) < time.Minute || time.Since(start) > 62*time.Second {
			t.Fatalf("after %v: %v", time.Since(start), err)
		}
		if m := err.Error(); !strings.Contains(m, "the target closed it") || !strings.Contains(m, "cable is out") {
			t.Errorf("no story: %v", m)
		}
		start = time.Now()
		if _, err := l.ReadAt(make([]byte, 512), 0); !errors.Is(err, errLate) || time.Since(start) != 0 {
			t.Errorf("the next after %v: %v", time.Since(start), err)
		}
		f.mu.Lock()
		f.refuse, f.scripts = nil, []script{then.serveAll}
		f.mu.Unlock()
		time.Sleep(time.Minute)
		if _, err := l.ReadAt(make([]byte, 512), 0); err != nil {
			t.Error(err)
		}
	})
}

func TestRecoverContext(t *testing.T) {
	first := zeroDisk{blocks: 100, before: cut(scsi.OpRead10)}
	inBubble(t, nil, []script{first.serveAll}, func(t *testing.T, f *fakes, l *LUN) {
		f.mu.Lock()
		f.refuse = func(string) error { return errors.New("cable is out") }
		f.mu.Unlock()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		start := time.Now()
		_, err := l.ReadAtContext(ctx, make([]byte, 512), 0)
		if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, ErrConnectionLost) || time.Since(start) != 10*time.Second {
			t.Errorf("after %v: %v", time.Since(start), err)
		}
	})
}

// Nothing goes to another disk that has come in the place of the one that was
// opened.
func TestRecoverOtherDisk(t *testing.T) {
	first := zeroDisk{blocks: 100, before: cut(scsi.OpWrite10)}
	then := zeroDisk{blocks: 100, name: "OTHER", before: func(_ *fake, c iscsi.SCSICommand) error {
		if c.Write {
			t.Error("written to another disk")
		}
		return nil
	}}
	inBubble(t, nil, []script{first.serveAll, then.serveAll}, func(t *testing.T, _ *fakes, l *LUN) {
		if _, err := l.WriteAt(make([]byte, 512), 0); !errors.Is(err, ErrOtherDisk) {
			t.Errorf("err = %v", err)
		}
	})
}

// A command that costs the connection each time is given up.
func TestRecoverNoEnd(t *testing.T) {
	poison := zeroDisk{blocks: 100, before: cut(scsi.OpRead10)}
	inBubble(t, func(c *Config) { c.Recovery.Repeats = 3 }, []script{poison.serveAll}, func(t *testing.T, f *fakes, l *LUN) {
		_, err := l.ReadAt(make([]byte, 512), 0)
		f.mu.Lock() // the next login is under way
		defer f.mu.Unlock()
		if !errors.Is(err, ErrConnectionLost) || len(f.isids) < 4 {
			t.Errorf("%d logins, %v", len(f.isids), err)
		}
	})
}

// A target that asks for a logout, or drops the connection, sees the session again
// after the time that it names.
func TestRecoverAsked(t *testing.T) {
	for name, m := range map[string]struct {
		message iscsi.AsyncMessage
		after   time.Duration
	}{
		"logout":   {iscsi.AsyncMessage{Event: iscsi.AsyncLogout, Param3: 10}, 0},
		"drop":     {iscsi.AsyncMessage{Event: iscsi.AsyncDropConnection, Param2: 7}, 7 * time.Second},
		"drop all": {iscsi.AsyncMessage{Event: iscsi.AsyncDropAllConnections, Param2: 3}, 3 * time.Second},
		"too long": {iscsi.AsyncMessage{Event: iscsi.AsyncDropConnection, Param2: 65535}, maxTimeToWait},
	} {
		t.Run(name, func(t *testing.T) {
			disk := zeroDisk{blocks: 100}
			asked := zeroDisk{blocks: 100, before: func(f *fake, c iscsi.SCSICommand) error {
				if c.CDB[0] == byte(scsi.OpRead10) {
					return f.reply(&m.message, true)
				}
				return nil
			}}
			patient := func(c *Config) { c.Recovery.Limit = time.Hour }
			inBubble(t, patient, []script{asked.serveAll, disk.serveAll}, func(t *testing.T, f *fakes, l *LUN) {
				start := time.Now()
				for range 2 {
					if _, err := l.ReadAt(make([]byte, 512), 0); err != nil {
						t.Error(err)
					}
					time.Sleep(2 * quiet) // the receiver hears of the logout
				}
				if took := time.Since(start); len(f.isids) != 2 || took < m.after || took > m.after+8*quiet {
					t.Errorf("%d logins, after %v", len(f.isids), time.Since(start))
				}
			})
		})
	}
}

// A connection on which the target has gone silent is noticed by pings.
func TestRecoverHalfOpen(t *testing.T) {
	silent := zeroDisk{blocks: 100, before: func(f *fake, c iscsi.SCSICommand) error {
		if c.CDB[0] != byte(scsi.OpRead10) {
			return nil
		}
		for {
			if _, _, err := f.next(); err != nil {
				return err
			}
		}
	}}
	disk := zeroDisk{blocks: 100}
	inBubble(t, nil, []script{silent.serveAll, disk.serveAll}, func(t *testing.T, _ *fakes, l *LUN) {
		start := time.Now()
		if _, err := l.ReadAt(make([]byte, 512), 0); err != nil || time.Since(start) > 12*time.Second {
			t.Errorf("after %v: %v", time.Since(start), err)
		}
	})
}

// The next portal is tried when one does not answer, at first and later; a redirect
// for good is remembered.
func TestRecoverPortals(t *testing.T) {
	first := zeroDisk{blocks: 100, before: cut(scsi.OpRead10)}
	then := zeroDisk{blocks: 100}
	synctest.Test(t, func(t *testing.T) {
		f := newFakes(t, (*fake).rest, first.serveAll, then.serveAll)
		f.refuse = func(a string) error {
			if a == "fake:3260" {
				return errors.New("down")
			}
			return nil
		}
		cfg := recovering(f)
		cfg.Portals = []string{"second"}
		s := dial(t, cfg)
		l := openLUN(t, s, 0)
		f.mu.Lock()
		f.refuse = func(a string) error {
			if a == "second:3260" {
				return errors.New("down")
			}
			return nil
		}
		f.mu.Unlock()
		if _, err := l.ReadAt(make([]byte, 512), 0); err != nil {
			t.Error(err)
		}
		if want := []string{"fake:3260", "second:3260", "second:3260", "fake:3260"}; !slices.Equal(f.dials, want) || s.Portal() != "fake:3260" {
			t.Errorf("dialled %q", f.dials)
		}
		s.Close()
	})
}

// cutter is a Dialer whose connections a test cuts.
type cutter struct {
	net.Dialer
	wrap  bool // connections are not those of package net
	mu    sync.Mutex
	conns []net.Conn
}

func (c *cutter) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	nc, err := c.Dialer.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.wrap {
		c.conns = append(c.conns, nc)
		return struct{ net.Conn }{nc}, nil
	}
	again, err := nc.(*net.TCPConn).File() // a session takes a TCP connection over
	if err != nil {
		nc.Close()
		return nil, err
	}
	defer again.Close()
	handle, err := net.FileConn(again)
	c.conns = append(c.conns, handle)
	return nc, err
}

// cut ends all connections and returns how many there have been.
func (c *cutter) cut() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, nc := range c.conns {
		_ = nc.(interface{ CloseWrite() error }).CloseWrite() // fails if it is closed already
		nc.Close()
	}
	return len(c.conns)
}

// Connections to a tgt are cut ten times while data is written and read.
func TestTGTRecover(t *testing.T) {
	for name, wrap := range map[string]bool{"a TCP connection": false, "another stream": true} {
		t.Run(name, func(t *testing.T) { recoverFromCuts(t, &cutter{wrap: wrap}) })
	}
}

func recoverFromCuts(t *testing.T, c *cutter) {
	g := startTGT(t)
	tid := g.target(t, tgtTarget, diskFile(t, g.dir, "disk"))
	if err := g.Set(tid, "DefaultTime2Wait", "0"); err != nil {
		t.Fatal(err)
	}
	cfg := g.config(tgtTarget)
	cfg.Dialer, cfg.Recovery.Limit, cfg.Recovery.Repeats = c, time.Minute, 100
	s := dial(t, cfg)
	l := openLUN(t, s, 1)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	progress := make(chan struct{}, 1)
	for w := range 4 {
		wg.Go(func() {
			if err := rewrite(l, w, stop, progress); err != nil {
				t.Errorf("worker %d: %v", w, err)
			}
		})
	}
	for range 10 {
		for range 10 { // rounds of any worker in between
			<-progress
		}
		c.cut()
	}
	close(stop)
	wg.Wait()
	if n := c.cut(); n < 11 {
		t.Errorf("%d connections", n)
	}
}

// rewrite writes to its own part of a disk and reads back what it wrote.
func rewrite(l *LUN, worker int, stop, progress chan struct{}) error {
	const part = 128 << 10
	random := rand.New(rand.NewPCG(1, uint64(worker)))
	want, got := make([]byte, part), make([]byte, part)
	for {
		n := 1 + random.IntN(part)
		for i := range want[:n] {
			want[i] = byte(random.Uint32())
		}
		off := int64(worker) * part
		if _, err := l.WriteAt(want[:n], off); err != nil {
			return err
		}
		if _, err := l.ReadAt(got[:n], off); err != nil {
			return err
		}
		if !slices.Equal(want[:n], got[:n]) {
			return fmt.Errorf("%d bytes read back wrong", n)
		}
		select {
		case <-stop:
			return nil
		case progress <- struct{}{}:
		default:
		}
	}
}
