package target_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bootlun/bootlun/iscsi"
	"github.com/bootlun/bootlun/scsi"
)

// attacker is a connection of an initiator that means no good. Unlike client, it
// expects nothing, and its calls fail as soon as the server has had enough.
type attacker struct {
	nc   net.Conn
	conn *iscsi.Conn
	res  iscsi.InitiatorResult
	sn   uint32
	itt  uint32
}

// lair is where attackers come from and go to.
type lair struct {
	Addr string
	From net.IP
}

// dial connects, by way of an address of the attackers' own.
func (l *lair) dial(ctx context.Context) (*attacker, error) {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: l.From}}
	nc, err := d.DialContext(ctx, "tcp", l.Addr)
	if err != nil {
		return nil, err
	}
	context.AfterFunc(ctx, func() { nc.Close() })
	return &attacker{nc: nc, conn: iscsi.NewConn(nc), itt: 1}, nil
}

// login logs in as the attacker of a number.
func (l *lair) login(ctx context.Context, n int, opts ...loginOption) (*attacker, error) {
	a, err := l.dial(ctx)
	if err != nil {
		return nil, err
	}
	cfg := iscsi.InitiatorConfig{
		InitiatorName: fmt.Sprintf("%s%d", testInitiator, n), TargetName: testTarget, CmdSN: 1,
		ISID: iscsi.OUIISID([3]byte{0, 2, 3}, uint32(n)),
	}
	for _, o := range opts {
		o(&cfg)
	}
	if a.res, err = iscsi.Login(ctx, a.conn, cfg); err != nil {
		a.nc.Close()
		return nil, err
	}
	a.sn = a.res.CmdSN
	return a, nil
}

func (a *attacker) send(p iscsi.PDU, data []byte) error {
	var b iscsi.BHS
	p.Encode(&b)
	if err := a.conn.WritePDU(&b, nil, data); err != nil {
		return err
	}
	return a.conn.Flush()
}

// command sends the next command.
func (a *attacker) command(cdb scsi.CDB, in, out int, data []byte) error {
	p := iscsi.SCSICommand{
		Final: true, Attribute: iscsi.Simple, ITT: a.itt, CmdSN: a.sn, CDB: cdb,
		Read: in > 0, Write: out > 0, ExpectedLength: uint32(max(in, out)),
	}
	a.itt++
	a.sn++
	return a.send(&p, data)
}

// drain takes what comes until the end.
func (a *attacker) drain() { _, _ = io.Copy(io.Discard, a.nc) }

// attacks are what one attacker does in one go; it is done again until the context
// ends. A nil error is a go of its own; what the network says does not matter.
var attacks = map[string]func(ctx context.Context, l *lair, n int) error{
	"connections without a word": func(ctx context.Context, l *lair, _ int) error {
		for range 100 {
			if _, err := l.dial(ctx); err != nil {
				return err
			}
		}
		return nil
	},
	"connections that close at once": func(ctx context.Context, l *lair, _ int) error {
		a, err := l.dial(ctx)
		if err != nil {
			return err
		}
		_ = a.nc.(*net.TCPConn).SetLinger(0)
		return a.nc.Close()
	},
	"garbage": func(ctx context.Context, l *lair, n int) error {
		a, err := l.dial(ctx)
		if err != nil {
			return err
		}
		defer a.nc.Close()
		junk := make([]byte, 64<<10)
		for i := range junk {
			junk[i] = byte(rand.Uint32())
		}
		junk[0] = byte(n) // all kinds of PDU
		_, err = a.nc.Write(junk)
		return err
	},
	"logins without an end": func(ctx context.Context, l *lair, _ int) error {
		a, err := l.dial(ctx)
		if err != nil {
			return err
		}
		defer a.nc.Close()
		go a.drain()
		for err == nil {
			err = a.send(&iscsi.LoginRequest{Continue: true, CurrentStage: iscsi.OperationalStage, ITT: 1}, make([]byte, 8000))
		}
		return nil
	},
	"logins to sessions that are not there": func(ctx context.Context, l *lair, n int) error {
		_, err := l.login(ctx, n, func(c *iscsi.InitiatorConfig) { c.TSIH = 0x4711 })
		var refused *iscsi.LoginError
		if errors.As(err, &refused) && refused.Status == iscsi.StatusSessionDoesNotExist {
			return nil
		}
		return fmt.Errorf("a login to no session: %w", err)
	},
	"sessions that come and go": func(ctx context.Context, l *lair, n int) error {
		a, err := l.login(ctx, n)
		if err != nil {
			return err
		}
		return a.nc.Close()
	},
	"a session that takes its own place": func(ctx context.Context, l *lair, _ int) error {
		a, err := l.login(ctx, 0) // all the same one, in each other's place
		if err != nil {
			return err
		}
		return a.command(transfer(scsi.OpRead10, 0, 64), 64*512, 0, nil)
	},
	"too long a PDU": func(ctx context.Context, l *lair, n int) error {
		a, err := l.login(ctx, n)
		if err != nil {
			return err
		}
		defer a.nc.Close()
		var b iscsi.BHS
		(&iscsi.NOPOut{ITT: 1, CmdSN: a.sn}).Encode(&b)
		b.SetDataSegmentLength(1<<24 - 1)
		_, _ = a.nc.Write(b[:])
		a.drain()
		return nil
	},
	"half a PDU": func(ctx context.Context, l *lair, n int) error {
		a, err := l.login(ctx, n)
		if err != nil {
			return err
		}
		var b iscsi.BHS
		p := iscsi.SCSICommand{Final: true, Write: true, ITT: 1, CmdSN: a.sn, ExpectedLength: 256 << 10, CDB: transfer(scsi.OpWrite10, 0, 512)}
		p.Encode(&b)
		b.SetDataSegmentLength(256 << 10)
		_, _ = a.nc.Write(append(b[:], make([]byte, 255<<10)...))
		return a.nc.Close()
	},
	"a byte now and then": func(ctx context.Context, l *lair, n int) error {
		a, err := l.login(ctx, n)
		if err != nil {
			return err
		}
		defer a.nc.Close()
		var b iscsi.BHS
		(&iscsi.NOPOut{ITT: 1, CmdSN: a.sn}).Encode(&b)
		b.SetDataSegmentLength(256 << 10)
		_, err = a.nc.Write(b[:])
		for ; err == nil; _, err = a.nc.Write([]byte{1}) {
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(10 * time.Millisecond):
			}
		}
		return nil
	},
	"data that is missing its end": func(ctx context.Context, l *lair, n int) error {
		a, err := l.login(ctx, n)
		if err != nil {
			return err
		}
		var b iscsi.BHS
		(&iscsi.NOPOut{ITT: 1, CmdSN: a.sn}).Encode(&b)
		b.SetDataSegmentLength(256 << 10)
		_, err = a.nc.Write(append(b[:], make([]byte, 255<<10)...))
		a.drain()
		return err
	},
	"data that does not come": func(ctx context.Context, l *lair, n int) error {
		a, err := l.login(ctx, n, allByR2T)
		if err != nil {
			return err
		}
		for range 128 {
			if err := a.command(transfer(scsi.OpWrite16, 0, 2048), 0, 1<<20, nil); err != nil {
				return err
			}
		}
		a.drain()
		return nil
	},
	"commands that come early": func(ctx context.Context, l *lair, n int) error {
		a, err := l.login(ctx, n)
		if err != nil {
			return err
		}
		defer a.nc.Close()
		a.sn++ // which never comes
		data := make([]byte, 256<<10)
		for range 127 {
			if err := a.command(transfer(scsi.OpWrite10, 0, 512), 0, 256<<10, data); err != nil {
				return nil
			}
		}
		a.drain()
		return nil
	},
	"wrong digests": func(ctx context.Context, l *lair, n int) error {
		a, err := l.login(ctx, n, offering(func(o *iscsi.Offer) {
			o.HeaderDigest, o.DataDigest, o.ErrorRecoveryLevel = iscsi.DigestRequire, iscsi.DigestRequire, n%3
		}))
		if err != nil {
			return err
		}
		defer a.nc.Close()
		go a.drain()
		wire := new(bytes.Buffer)
		spoiled := &attacker{conn: iscsi.NewConn(wire), sn: a.sn}
		spoiled.conn.SetDigests(true, true)
		for i := range 100 {
			wire.Reset()
			if err := spoiled.command(transfer(scsi.OpWrite10, 0, 8), 0, 4096, make([]byte, 4096)); err != nil {
				return err
			}
			wire.Bytes()[60+i] ^= 1 // of the data
			if _, err := a.nc.Write(wire.Bytes()); err != nil {
				return nil
			}
		}
		return nil
	},
	"wrong numbers": func(ctx context.Context, l *lair, n int) error {
		a, err := l.login(ctx, n, offering(func(o *iscsi.Offer) { o.ErrorRecoveryLevel = n % 3 }))
		if err != nil {
			return err
		}
		defer a.nc.Close()
		go a.drain()
		for i := range 300 {
			a.itt = rand.Uint32N(8)
			if i%2 == 0 {
				a.sn += rand.Uint32N(5) - 2
			}
			p := iscsi.SCSICommand{Write: true, ITT: a.itt, CmdSN: a.sn, ExpStatSN: rand.Uint32(), ExpectedLength: 64 << 10, CDB: transfer(scsi.OpWrite10, 0, 128)}
			out := iscsi.DataOut{ITT: a.itt, TTT: rand.Uint32N(8) - 1, DataSN: rand.Uint32N(3), BufferOffset: rand.Uint32N(9) * 8192}
			snack := iscsi.SNACK{Type: iscsi.SNACKType(rand.Uint32N(4)), ITT: a.itt, BegRun: rand.Uint32N(9), RunLength: rand.Uint32N(9)}
			err := errors.Join(a.send(&p, nil), a.send(&out, make([]byte, 8192)), a.send(&snack, nil))
			if err != nil {
				return nil
			}
		}
		return nil
	},
	"reads whose data is not taken": func(ctx context.Context, l *lair, n int) error {
		a, err := l.login(ctx, n)
		if err != nil {
			return err
		}
		for range 128 {
			if err := a.command(transfer(scsi.OpRead16, 0, 2048), 1<<20, 0, nil); err != nil {
				return err
			}
		}
		<-ctx.Done()
		return nil
	},
	"pings whose answers are not taken": func(ctx context.Context, l *lair, n int) error {
		a, err := l.login(ctx, n)
		for err == nil {
			err = a.send(&iscsi.NOPOut{ITT: a.itt, TTT: iscsi.ReservedTag, CmdSN: a.sn}, make([]byte, 256<<10))
			a.sn++
		}
		return nil
	},
	"answers that are not acknowledged": func(ctx context.Context, l *lair, n int) error {
		a, err := l.login(ctx, n, offering(func(o *iscsi.Offer) { o.ErrorRecoveryLevel = 2 }))
		if err != nil {
			return err
		}
		go a.drain()
		for err == nil {
			err = a.send(&iscsi.NOPOut{ITT: a.itt, TTT: iscsi.ReservedTag, CmdSN: a.sn, ExpStatSN: a.res.ExpStatSN}, make([]byte, 128<<10))
			a.sn++
		}
		<-ctx.Done()
		return nil
	},
	"half-closed connections": func(ctx context.Context, l *lair, n int) error {
		a, err := l.login(ctx, n)
		if err != nil {
			return err
		}
		for range 16 {
			if err := a.command(transfer(scsi.OpRead16, 0, 2048), 1<<20, 0, nil); err != nil {
				return err
			}
		}
		_ = a.nc.(*net.TCPConn).CloseWrite()
		if n%2 == 0 {
			a.drain()
			return a.nc.Close()
		}
		<-ctx.Done()
		return nil
	},
	"aborts and resets": func(ctx context.Context, l *lair, n int) error {
		a, err := l.login(ctx, n, allByR2T)
		if err != nil {
			return err
		}
		defer a.nc.Close()
		go a.drain()
		functions := []iscsi.TaskFunction{iscsi.AbortTask, iscsi.AbortTaskSet, iscsi.ClearTaskSet, iscsi.LogicalUnitReset, iscsi.TargetWarmReset}
		for i := range 500 {
			if err := a.command(transfer(scsi.OpWrite16, 0, 128), 0, 64<<10, nil); err != nil {
				return nil
			}
			p := iscsi.TaskManagementRequest{Immediate: true, Function: functions[i%5], ITT: a.itt, ReferencedITT: a.itt - 1, RefCmdSN: a.sn - 1, CmdSN: a.sn}
			a.itt++
			if err := a.send(&p, nil); err != nil {
				return nil
			}
		}
		return nil
	},
	"text without an end": func(ctx context.Context, l *lair, n int) error {
		a, err := l.login(ctx, n)
		if err != nil {
			return err
		}
		defer a.nc.Close()
		go a.drain()
		for i := range 1000 {
			p := iscsi.TextRequest{Continue: i%4 > 0, Final: i%4 == 0, ITT: a.itt, TTT: iscsi.ReservedTag, CmdSN: a.sn}
			a.sn++
			if err := a.send(&p, []byte("SendTargets=\x00X-A=b\x00X-C=d\x00X-E=f\x00")); err != nil {
				return nil
			}
		}
		return nil
	},
}

// attackLimit is the memory limit of a server under attack.
const attackLimit = 32 << 20

// attackPeak is how much memory its process may have in all: the limit; as much
// again, which the garbage collector lets pile up; and what it is without.
const attackPeak = 3*attackLimit + 32<<20

// TestAttacks has attackers do one thing wrong, many at a time, while a session
// of somebody else writes and reads. That one must not notice, and the server
// must come through within its memory, and keep nothing of the attackers.
// BOOTLUN_ATTACK_ROUNDS says how long each attack is: so many writes and reads (400,
// or 40 with the race detector).
func TestAttacks(t *testing.T) {
	rounds := 400
	if raceDetector {
		rounds = 40
	}
	rounds = sizeOf("BOOTLUN_ATTACK_ROUNDS", rounds)
	for name := range attacks {
		t.Run(name, func(t *testing.T) {
			c := startServer(t, bounds{MemoryLimit: attackLimit, MaxPendingLogins: 64})
			by := bystander{c: connect(t, c.addr(1), calmly).ready()}
			quiet := by.rate(t, func() bool { return by.rounds >= 100 })
			before, open := c.report(), c.descriptors()

			// Attackers have machines of their own, so that they get what is left of this one.
			s := start(t, role{Attack: &siege{name, lair{c.addr(1), net.IPv4(127, 0, 0, 66)}}}, "nice", "-n", "5", os.Args[0])
			goes, began := 0, by.rounds
			under := by.rate(t, func() bool {
				if by.rounds%16 == 0 {
					s.ask(&goes)
				}
				return by.rounds >= began+rounds && goes >= attackWidth
			})
			during := c.report()
			s.stop()
			c.settle(before, open)
			connect(t, c.addr(1), withISID(9)).ready() // the target is as it was

			peak := c.peak()
			t.Logf("beside %d goes: %.0f %% of its rate alone (%.0f/s); memory %d MiB, of it data %d MiB",
				goes, 100*under/quiet, quiet, peak>>20, during.Memory>>20)
			if peak > attackPeak && !raceDetector {
				t.Errorf("the server has taken %d MiB, want %d at most", peak>>20, attackPeak>>20)
			}
		})
	}
}

// attackWidth is how many attackers there are at a time.
const attackWidth = 48

// siege is what a child of attackers is to do.
type siege struct {
	Name string // in attacks
	Lair lair
}

// run has attackers at work until the input ends, and answers how often they have
// begun.
func (s *siege) run() {
	ctx, stop := context.WithCancel(context.Background())
	var goes atomic.Int64
	var wg sync.WaitGroup
	for n := range attackWidth {
		wg.Go(func() {
			for ctx.Err() == nil {
				goes.Add(1)
				within, done := context.WithCancel(ctx)
				err := attacks[s.Name](within, &s.Lair, n)
				done()
				var op *net.OpError
				if err != nil && !errors.As(err, &op) && !errors.Is(err, io.EOF) && ctx.Err() == nil {
					fmt.Fprintln(os.Stderr, err)
				}
			}
		})
	}
	answer(func() any { return goes.Load() })
	stop()
	wg.Wait()
}

// bystander writes and reads back, and minds.
type bystander struct {
	c      *client
	rounds int
}

// rate goes on until done, and returns the rounds a second of its own time.
func (b *bystander) rate(t *testing.T, done func() bool) float64 {
	t.Helper()
	first, took := b.rounds, time.Duration(0)
	for !done() {
		b.rounds++
		data, began := pattern(512*(1+b.rounds%128), b.rounds), time.Now()
		roundTrip(t, b.c, data, uint64(b.rounds%64)*256)
		took += time.Since(began)
	}
	return float64(b.rounds-first) / took.Seconds()
}
