package initiator

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bootlun/bootlun/iscsi"
	"github.com/bootlun/bootlun/scsi"
)

// queueModel has a queue read and write a disk in ways of its choosing, and checks what is
// read. No two requests in flight touch the same slice of the disk.
func queueModel(t *testing.T, l *LUN, requests int, between func(done int)) {
	t.Helper()
	const slots, part = 16, 128 << 10
	model := make([]byte, slots*part)
	if _, err := l.ReadAt(model, 0); err != nil {
		t.Fatal(err)
	}
	q := l.Queue(t.Context())
	defer q.Close()
	random := rand.New(rand.NewPCG(1, 2))
	type pending struct {
		p     []byte
		off   int
		write bool
	}
	var all [slots]pending
	ask := func(i int) {
		n, skip := 512*(1+random.IntN(8)), 512*random.IntN(64)
		switch random.IntN(8) {
		case 0: // not whole blocks
			n, skip = 1+random.IntN(5000), random.IntN(5000)
		case 1:
			n, skip = part, 0
		}
		r := pending{p: make([]byte, n), off: i*part + skip, write: random.IntN(2) == 0}
		if all[i] = r; !r.write {
			q.Read(r.p, int64(r.off), i)
			return
		}
		for j := range r.p {
			r.p[j] = byte(random.Uint32())
		}
		q.Write(r.p, int64(r.off), i)
	}
	for i := range slots {
		ask(i)
	}
	done := 0
	for c, ok := q.Next(); ok; c, ok = q.Next() {
		r := all[c.Tag]
		if c.Err != nil || c.N != len(r.p) {
			t.Fatalf("%d bytes at %d: %+v", len(r.p), r.off, c)
		}
		if r.write {
			copy(model[r.off:], r.p)
		} else if !bytes.Equal(r.p, model[r.off:][:len(r.p)]) {
			t.Fatalf("%d bytes at %d are not what was written", len(r.p), r.off)
		}
		if done++; done+slots <= requests {
			ask(c.Tag)
		}
		between(done)
	}
	if done != requests {
		t.Errorf("%d of %d requests", done, requests)
	}
	got := make([]byte, len(model))
	if _, err := l.ReadAt(got, 0); err != nil || !bytes.Equal(got, model) {
		t.Errorf("the disk is not as written: %v", err)
	}
}

func TestTGTQueue(t *testing.T) {
	g := startTGT(t)
	g.target(t, tgtTarget, diskFile(t, g.dir, "disk"))
	for name, change := range map[string]func(*Config){
		"plain":           func(*Config) {},
		"digests":         func(c *Config) { c.Offer.HeaderDigest, c.Offer.DataDigest = iscsi.DigestRequire, iscsi.DigestRequire },
		"requested data":  func(c *Config) { c.Offer.InitialR2T, c.Offer.NoImmediateData = true, true },
		"few commands":    func(c *Config) { c.MaxCommands = 3 },
		"another stream":  func(c *Config) { c.Dialer = &cutter{wrap: true} },
		"short transfers": func(c *Config) { c.Offer.MaxBurstLength, c.Offer.MaxRecvDataSegmentLength = 8192, 4096 },
	} {
		t.Run(name, func(t *testing.T) {
			cfg := g.config(tgtTarget)
			change(&cfg)
			queueModel(t, openLUN(t, dial(t, cfg), 1), 1000, func(int) {})
		})
	}
}

// What a queue is asked for comes also when its connections are cut.
func TestTGTQueueRecovers(t *testing.T) {
	g := startTGT(t)
	tid := g.target(t, tgtTarget, diskFile(t, g.dir, "disk"))
	if err := g.Set(tid, "DefaultTime2Wait", "0"); err != nil {
		t.Fatal(err)
	}
	c := &cutter{}
	cfg := g.config(tgtTarget)
	cfg.Dialer, cfg.Recovery.Limit, cfg.Recovery.Repeats = c, time.Minute, 100
	queueModel(t, openLUN(t, dial(t, cfg), 1), 500, func(done int) {
		if done%100 == 0 {
			c.cut()
		}
	})
	if n := c.cut(); n < 4 {
		t.Errorf("%d connections", n)
	}
}

func TestTGTQueueErrors(t *testing.T) {
	g := startTGT(t)
	g.target(t, tgtTarget, diskFile(t, g.dir, "disk"))
	l := openLUN(t, dial(t, g.config(tgtTarget)), 1)
	q := l.Queue(t.Context())
	defer q.Close()
	if c, ok := q.Next(); ok {
		t.Errorf("an empty queue: %+v", c)
	}
	p := make([]byte, 1024)
	q.Read(p, diskSize-512, 0)
	q.Write(p, diskSize-512, 1)
	q.Read(p, -512, 2)
	q.Read(nil, 0, 3)
	for want, c := range []Completion{{0, 512, io.EOF}, {1, 0, ErrOutOfRange}, {2, 0, errNegative}, {3, 0, nil}} {
		if got, ok := q.Next(); !ok || got.Tag != want || got.N != c.N || !errors.Is(got.Err, c.Err) {
			t.Errorf("%+v, want %+v", got, c)
		}
	}
}

// A target that says nothing does not keep a queue from ending with its context, or
// from being closed.
func TestQueueEnds(t *testing.T) {
	for name, end := range map[string]func(*testing.T, *Queue, context.CancelFunc){
		"context": func(t *testing.T, q *Queue, cancel context.CancelFunc) {
			time.AfterFunc(time.Second, cancel)
			for range 2 {
				if c, ok := q.Next(); !ok || !errors.Is(c.Err, context.Canceled) {
					t.Errorf("%+v %v", c, ok)
				}
			}
		},
		"close": func(t *testing.T, q *Queue, _ context.CancelFunc) {
			q.Read(make([]byte, 512), 4096, 2)
			if c, ok := q.Next(); !ok || c.Tag != 2 || c.Err != nil {
				t.Errorf("%+v %v", c, ok)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				aborted := 0
				f := newFakes(t, (&zeroDisk{blocks: 64}).deaf(&aborted))
				l := openLUN(t, dial(t, f.config()), 0)
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				q := l.Queue(ctx)
				q.Read(make([]byte, 512), 0, 0)
				q.Read(make([]byte, 512), 512, 1)
				end(t, q, cancel)
				q.Close()
				if q.Len() != 0 {
					t.Errorf("%d requests left", q.Len())
				}
				l.Session().Close()
				synctest.Wait()
				if aborted != 2 {
					t.Errorf("%d commands were aborted", aborted)
				}
			})
		})
	}
}

// deaf is serveAll that does not answer reads of the first 8 blocks, and counts what
// is aborted.
func (d *zeroDisk) deaf(aborted *int) script {
	return func(f *fake) error {
		for {
			b, _, err := f.next()
			if err != nil {
				return err
			}
			switch b.Opcode() {
			case iscsi.OpSCSICommand:
				var c iscsi.SCSICommand
				err = c.Decode(&b)
				cdb := scsi.CDB(c.CDB)
				if r, _ := scsi.ParseTransfer(&cdb); cdb.Op() == scsi.OpRead10 && r.LBA < 8 {
					continue
				}
				err = errors.Join(err, d.serve(f, c))
			case iscsi.OpTaskManagementRequest:
				*aborted++
				err = f.reply(&iscsi.TaskManagementResponse{ITT: b.ITT()}, true)
			case iscsi.OpLogoutRequest:
				return f.reply(&iscsi.LogoutResponse{ITT: b.ITT()}, true)
			}
			if err != nil {
				return err
			}
		}
	}
}
