package initiator

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bootlun/bootlun/iscsi"
	"github.com/bootlun/bootlun/scsi"
)

// expect wraps what a test checks of a command's outcome.
type expect struct {
	is      error  // errors.Is
	message string // in the error
	lives   bool   // the session is usable afterwards
	ok      bool   // there is no error
}

// What a target does to one command that reads or writes 1024 bytes.
func TestFaults(t *testing.T) {
	long := make([]byte, 1024)
	for name, c := range map[string]struct {
		write  bool
		script func(f *fake, c iscsi.SCSICommand) error
		want   expect
	}{
		"data beyond the buffer": {false, func(f *fake, c iscsi.SCSICommand) error {
			return f.data(c, 513, long[:512])
		}, expect{is: ErrProtocol, message: "512 bytes of data at 513 of a buffer of 1024"}},
		"data far beyond the buffer": {false, func(f *fake, c iscsi.SCSICommand) error {
			return f.data(c, 1<<32-1, long[:512])
		}, expect{is: ErrProtocol}},
		"data twice": {false, func(f *fake, c iscsi.SCSICommand) error {
			return errors.Join(f.data(c, 0, long[:512]), f.data(c, 256, long[:512]))
		}, expect{is: ErrProtocol, message: "overlaps"}},
		"data missing": {false, func(f *fake, c iscsi.SCSICommand) error {
			return errors.Join(f.data(c, 512, long[:512]), f.good(c))
		}, expect{is: ErrProtocol, message: "missing"}},
		"data out of order": {false, func(f *fake, c iscsi.SCSICommand) error {
			return errors.Join(f.data(c, 512, long[512:]), f.data(c, 0, long[:512]), f.good(c), f.rest())
		}, expect{ok: true, lives: true}},
		"data for a write": {true, func(f *fake, c iscsi.SCSICommand) error {
			return f.data(c, 0, long)
		}, expect{is: ErrProtocol, message: "of a buffer of 0"}},
		"data for nobody": {false, func(f *fake, c iscsi.SCSICommand) error {
			c.ITT += 1 << tagIndexBits
			return f.data(c, 0, long)
		}, expect{is: ErrProtocol, message: "which no command has"}},
		"a response for nobody": {false, func(f *fake, c iscsi.SCSICommand) error {
			c.ITT = iscsi.ReservedTag
			return f.good(c)
		}, expect{is: ErrProtocol, message: "which no command has"}},
		"a request beyond the data": {true, func(f *fake, c iscsi.SCSICommand) error {
			return f.reply(&iscsi.R2T{ITT: c.ITT, BufferOffset: 1000, DesiredLength: 25}, false)
		}, expect{is: ErrProtocol, message: "25 bytes at 1000 of 1024"}},
		"a request for nothing": {true, func(f *fake, c iscsi.SCSICommand) error {
			return f.reply(&iscsi.R2T{ITT: c.ITT}, false)
		}, expect{is: ErrProtocol}},
		"a request of a read": {false, func(f *fake, c iscsi.SCSICommand) error {
			return f.reply(&iscsi.R2T{ITT: c.ITT, DesiredLength: 1}, false)
		}, expect{is: ErrProtocol, message: "of 0 bytes of data"}},
		"a request for nobody": {true, func(f *fake, c iscsi.SCSICommand) error {
			return f.reply(&iscsi.R2T{ITT: c.ITT + 1, DesiredLength: 1}, false)
		}, expect{is: ErrProtocol, message: "which no command has"}},
		"cut between PDUs": {false, func(f *fake, c iscsi.SCSICommand) error {
			return f.data(c, 0, long[:512])
		}, expect{is: ErrConnectionLost, message: "the target closed it"}},
		"cut in a PDU": {false, func(f *fake, c iscsi.SCSICommand) error {
			var b iscsi.BHS
			(&iscsi.DataIn{ITT: c.ITT}).Encode(&b)
			b.SetDataSegmentLength(512)
			_, err := f.NetConn().Write(append(b[:], long[:100]...))
			return err
		}, expect{is: ErrConnectionLost, message: "unexpected EOF"}},
		"data too long": {false, func(f *fake, c iscsi.SCSICommand) error {
			return f.data(c, 0, make([]byte, 300_000))
		}, expect{is: iscsi.ErrDataTooLong}},
		"a stray login response": {false, func(f *fake, c iscsi.SCSICommand) error {
			return f.reply(&iscsi.LoginResponse{ITT: c.ITT}, true)
		}, expect{is: ErrProtocol, message: "unexpected Login"}},
		"rejected": {false, func(f *fake, c iscsi.SCSICommand) error {
			var b iscsi.BHS
			c.Encode(&b)
			return errors.Join(f.reply(&iscsi.Reject{Reason: iscsi.RejectInvalidField}, true, b[:]), f.rest())
		}, expect{message: "rejects the SCSI Command", lives: true}},
		"rejected without a header": {false, func(f *fake, c iscsi.SCSICommand) error {
			return f.reply(&iscsi.Reject{Reason: iscsi.RejectInvalidField}, true, long[:20])
		}, expect{is: ErrProtocol}},
		"data rejected": {true, func(f *fake, c iscsi.SCSICommand) error {
			var b iscsi.BHS
			(&iscsi.DataOut{ITT: c.ITT}).Encode(&b)
			return f.reply(&iscsi.Reject{Reason: iscsi.RejectDataDigest}, true, b[:])
		}, expect{is: ErrConnectionLost, message: "rejects the Data-Out"}},
		"target failure": {false, func(f *fake, c iscsi.SCSICommand) error {
			return errors.Join(f.reply(&iscsi.SCSIResponse{ITT: c.ITT, Response: iscsi.CommandTargetFailure}, true), f.rest())
		}, expect{message: "the target failed", lives: true}},
		"dropped": {false, func(f *fake, c iscsi.SCSICommand) error {
			return errors.Join(f.reply(&iscsi.AsyncMessage{Event: iscsi.AsyncDropConnection}, true), f.rest())
		}, expect{is: ErrConnectionLost, message: "the target drops it"}},
		"short sense": {false, func(f *fake, c iscsi.SCSICommand) error {
			return errors.Join(f.reply(&iscsi.SCSIResponse{ITT: c.ITT, Status: 2}, true, []byte{0, 18, 0x70}), f.rest())
		}, expect{ok: true, lives: true}},
		"long sense": {false, func(f *fake, c iscsi.SCSICommand) error {
			return errors.Join(f.reply(&iscsi.SCSIResponse{ITT: c.ITT, Status: 2}, true, bytes.Repeat([]byte{0xff}, 4096)), f.rest())
		}, expect{ok: true, lives: true}},
	} {
		t.Run(name, func(t *testing.T) {
			targets := newFakes(t, func(f *fake) error {
				cmd, err := f.command()
				if err != nil {
					return err
				}
				return c.script(f, cmd)
			})
			s := dial(t, targets.config())
			cmd := Command{CDB: scsi.ReadCDB(0, 2), In: make([]byte, 1024)}
			if c.write {
				cmd = Command{CDB: scsi.WriteCDB(0, 2), Out: make([]byte, 1024)}
			}
			_, err := s.Execute(soon(t), cmd)
			checkError(t, err, c.want)
			if lives := s.cur.Load().cause() == nil; lives != c.want.lives {
				t.Errorf("the session lives: %v", lives)
			}
			if c.want.lives {
				if err := s.Close(); err != nil {
					t.Errorf("close: %v", err)
				}
			} else if _, err := s.Execute(t.Context(), cmd); !errors.Is(err, ErrConnectionLost) {
				t.Errorf("the next command: %v", err)
			}
		})
	}
}

func checkError(t *testing.T, err error, want expect) {
	t.Helper()
	if want.ok {
		if err != nil {
			t.Errorf("err = %v", err)
		}
		return
	}
	var e *Error
	switch {
	case !errors.As(err, &e) || e.Target != fakeTarget || e.Portal != "fake:3260":
		t.Errorf("err = %v", err)
	case want.is != nil && !errors.Is(err, want.is), !strings.Contains(err.Error(), want.message):
		t.Errorf("err = %v, want %v, %q", err, want.is, want.message)
	case errors.Is(err, ErrConnectionLost) == want.lives:
		t.Errorf("err = %v, of a lost connection: %v", err, !want.lives)
	}
}

// The data of a write arrives as the target asks for it, in its order.
func TestRequestedData(t *testing.T) {
	want := make([]byte, 3000)
	pattern(want, 0)
	got := make([]byte, len(want))
	var burst [3]int
	targets := newFakes(t, func(f *fake) error {
		c, err := f.command()
		if err != nil {
			return err
		}
		for i, r := range []iscsi.R2T{
			{ITT: c.ITT, TTT: 7, R2TSN: 0, BufferOffset: 2000, DesiredLength: 1000},
			{ITT: c.ITT, TTT: 8, R2TSN: 1, BufferOffset: 0, DesiredLength: 1500},
			{ITT: c.ITT, TTT: 9, R2TSN: 2, BufferOffset: 1500, DesiredLength: 500},
		} {
			if err := f.reply(&r, false); err != nil {
				return err
			}
			for sn, final := uint32(0), false; !final; sn++ {
				b, data, err := f.next()
				if err != nil {
					return err
				}
				var out iscsi.DataOut
				if err := out.Decode(&b); err != nil {
					return err
				}
				if out.TTT != r.TTT || out.DataSN != sn {
					return fmt.Errorf("%+v", out)
				}
				copy(got[out.BufferOffset:], data)
				burst[i] += len(data)
				final = out.Final
			}
		}
		return errors.Join(f.good(c), f.rest())
	})
	cfg := targets.config()
	cfg.Offer = iscsi.Offer{InitialR2T: true, NoImmediateData: true}
	s := dial(t, cfg)
	r, err := s.Execute(soon(t), Command{CDB: scsi.WriteCDB(0, 6), Out: want})
	if err != nil || r.Err() != nil || !bytes.Equal(got, want) || burst != [3]int{1000, 1500, 500} {
		t.Errorf("%+v, %v, right: %v, bursts %v", r, err, bytes.Equal(got, want), burst)
	}
}

// What a command's end says of its length.
func TestResidual(t *testing.T) {
	for _, c := range []struct {
		sent     int
		response iscsi.SCSIResponse
		want     int
	}{
		{1024, iscsi.SCSIResponse{}, 0},
		{100, iscsi.SCSIResponse{Underflow: true, ResidualCount: 924}, 924},
		{100, iscsi.SCSIResponse{}, 924},                                 // it did not say
		{1024, iscsi.SCSIResponse{Underflow: true, ResidualCount: 1}, 1}, // it sent more than it means
		{1024, iscsi.SCSIResponse{Overflow: true, ResidualCount: 512}, -512},
		{0, iscsi.SCSIResponse{Underflow: true, ResidualCount: 1 << 31}, 1024},
	} {
		targets := newFakes(t, func(f *fake) error {
			cmd, err := f.command()
			if err == nil && c.sent > 0 {
				err = f.data(cmd, 0, make([]byte, c.sent))
			}
			c.response.ITT = cmd.ITT
			return errors.Join(err, f.reply(&c.response, true), f.rest())
		})
		s := dial(t, targets.config())
		r, err := s.Execute(soon(t), Command{CDB: scsi.ReadCDB(0, 2), In: make([]byte, 1024)})
		if err != nil || r.Residual != c.want {
			t.Errorf("%+v: residual %d, %v", c, r.Residual, err)
		}
		s.Close()
	}
}

// A command whose context ends is aborted, and the session goes on.
func TestAbort(t *testing.T) {
	var function iscsi.TaskFunction
	var referenced, tag uint32
	ctx, cancel := context.WithCancel(t.Context())
	targets := newFakes(t, func(f *fake) error {
		c, err := f.command()
		if err != nil {
			return err
		}
		tag = c.ITT
		cancel()
		b, _, err := f.next()
		if err != nil {
			return err
		}
		var req iscsi.TaskManagementRequest
		if err := req.Decode(&b); err != nil {
			return err
		}
		function, referenced = req.Function, req.ReferencedITT
		err = errors.Join(
			f.data(c, 0, make([]byte, 512)), // sent before the abort was seen
			f.reply(&iscsi.TaskManagementResponse{ITT: req.ITT}, true))
		if err != nil {
			return err
		}
		d := zeroDisk{blocks: 1000}
		return d.serveAll(f)
	})
	s := dial(t, targets.config())
	_, err := s.Execute(ctx, Command{CDB: scsi.ReadCDB(0, 2), In: make([]byte, 1024)})
	if !errors.Is(err, context.Canceled) || errors.Is(err, ErrConnectionLost) {
		t.Errorf("err = %v", err)
	}
	openLUN(t, s, 0)
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if function != iscsi.AbortTask || referenced != tag {
		t.Errorf("function %v of task 0x%x, want 0x%x", function, referenced, tag)
	}
}

// A target that never answers costs the connection, when the patience for aborting
// is over.
func TestNoAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		targets := newFakes(t, func(f *fake) error {
			for {
				if _, _, err := f.next(); err != nil {
					return nil // the initiator is gone
				}
			}
		})
		cfg := targets.config()
		cfg.Timeouts.Abort = 3 * time.Second
		s := dial(t, cfg)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		start := time.Now()
		_, err := s.Execute(ctx, Command{CDB: scsi.ReadCDB(0, 2), In: make([]byte, 1024)})
		if took := time.Since(start); !errors.Is(err, context.DeadlineExceeded) || took != 63*time.Second {
			t.Errorf("after %v: %v", took, err)
		}
		if err := s.cur.Load().cause(); !errors.Is(err, ErrConnectionLost) {
			t.Errorf("the session: %v", err)
		}
	})
}

// A target that takes no data costs the connection, too, even when nobody watches.
func TestNoRoom(t *testing.T) {
	for name, ctxTime := range map[string]time.Duration{"context": 10 * time.Second, "patience": time.Hour} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), ctxTime)
				defer cancel()
				targets := newFakes(t, func(f *fake) error {
					<-ctx.Done()
					return nil
				})
				s := dial(t, targets.config())
				start := time.Now()
				_, err := s.Execute(ctx, Command{CDB: scsi.WriteCDB(0, 2), Out: make([]byte, 1024)})
				if took := time.Since(start); !errors.Is(err, ErrConnectionLost) || took > 40*time.Second {
					t.Errorf("after %v: %v", took, err)
				}
				cancel()
			})
		})
	}
}

// The command window is respected, and waited for with the context.
func TestWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		seen := make(chan iscsi.BHS, 10)
		open := make(chan bool)
		targets := newFakes(t, func(f *fake) error {
			f.window = 0
			first, err := f.command()
			if err != nil {
				return err
			}
			if err := f.good(first); err != nil { // which closes the window
				return err
			}
			go func() { // reads on
				for {
					b, _, err := f.next()
					if err != nil {
						return
					}
					if b.Opcode() == iscsi.OpSCSICommand {
						seen <- b
					}
				}
			}()
			<-open
			f.window = 2
			if err := f.reply(&iscsi.NOPIn{ITT: iscsi.ReservedTag, TTT: iscsi.ReservedTag}, false); err != nil {
				return err
			}
			<-t.Context().Done()
			return nil
		})
		s := dial(t, targets.config())
		if _, err := s.Execute(t.Context(), Command{}); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		failed := make(chan error, 10)
		for range 10 {
			go func() {
				_, err := s.Execute(ctx, Command{})
				failed <- err
			}()
		}
		synctest.Wait()
		if len(seen) != 3 { // the login's window is four
			t.Errorf("%d commands sent through a window for 3", len(seen))
		}
		close(open)
		synctest.Wait()
		if len(seen) != 5 {
			t.Errorf("%d commands sent through a window for 5", len(seen))
		}
		cancel()
		for range 10 - 5 { // those not sent end at once, the others after an abort
			if err := <-failed; !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		}
		s.Close()
	})
}

func TestPing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var answer iscsi.NOPOut
		targets := newFakes(t, func(f *fake) error {
			if err := f.reply(&iscsi.NOPIn{ITT: iscsi.ReservedTag, TTT: 5, LUN: 3}, false); err != nil {
				return err
			}
			b, _, err := f.next()
			if err != nil {
				return err
			}
			if err := answer.Decode(&b); err != nil {
				return err
			}
			for range 3 { // the initiator's own
				if b, _, err = f.next(); err != nil {
					return err
				}
				if err := f.reply(&iscsi.NOPIn{ITT: b.ITT(), TTT: iscsi.ReservedTag}, true); err != nil {
					return err
				}
			}
			for err == nil {
				_, _, err = f.next()
			}
			return nil
		})
		cfg := targets.config()
		cfg.Timeouts.Ping = 10 * time.Second
		start := time.Now()
		s := dial(t, cfg)
		<-s.Done()
		if took := time.Since(start); took < 50*time.Second || took > 60*time.Second {
			t.Errorf("the session ended after %v", took)
		}
		_, err := s.Execute(t.Context(), Command{})
		if !errors.Is(err, ErrConnectionLost) || !strings.Contains(err.Error(), "silent") {
			t.Error(err)
		}
		if answer.TTT != 5 || answer.LUN != 3 || answer.ITT != iscsi.ReservedTag || !answer.Immediate {
			t.Errorf("answer %+v", answer)
		}
	})
}

// A target that keeps answers until they are confirmed is told when nothing else is
// sent, once.
func TestConfirm(t *testing.T) {
	for level := range 3 {
		synctest.Test(t, func(t *testing.T) {
			var seen []iscsi.NOPOut
			var want uint32
			targets := newFakes(t, func(f *fake) error {
				c, err := f.command()
				if err = errors.Join(err, f.good(c)); err != nil {
					return err
				}
				want = f.statSN
				for {
					b, _, err := f.next()
					if err != nil {
						return nil // the initiator is gone
					}
					switch b.Opcode() {
					case iscsi.OpLogoutRequest:
						return f.reply(&iscsi.LogoutResponse{ITT: b.ITT()}, true)
					case iscsi.OpNOPOut:
						var p iscsi.NOPOut
						if err := p.Decode(&b); err != nil {
							return err
						}
						seen = append(seen, p)
					default:
						return fmt.Errorf("%v", b.Opcode())
					}
				}
			})
			cfg := atLevel(targets, level)
			cfg.Timeouts.Ping = -1
			s := dial(t, cfg)
			if r, err := s.Execute(t.Context(), Command{}); err != nil || r.Err() != nil {
				t.Fatalf("%+v, %v", r, err)
			}
			time.Sleep(time.Minute)
			s.Close()
			targets.wg.Wait()
			switch {
			case level == 0 && len(seen) == 0:
			case level == 0 || len(seen) != 1:
				t.Errorf("level %d: %+v", level, seen)
			case !seen[0].Immediate || seen[0].ITT != iscsi.ReservedTag || seen[0].TTT != iscsi.ReservedTag || seen[0].CmdSN != firstCmdSN+1 || seen[0].ExpStatSN != want:
				t.Errorf("level %d: %+v, ExpStatSN is to be %d", level, seen[0], want)
			}
		})
	}
}

// When the target asks for a logout, commands in flight are finished first.
func TestAskedToLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		targets := newFakes(t, func(f *fake) error {
			c, err := f.command()
			if err != nil {
				return err
			}
			if err := f.reply(&iscsi.AsyncMessage{Event: iscsi.AsyncLogout, Param3: 60}, true); err != nil {
				return err
			}
			time.Sleep(10 * time.Second)
			return errors.Join(f.good(c), f.rest())
		})
		s := dial(t, targets.config())
		start := time.Now()
		if r, err := s.Execute(t.Context(), Command{}); err != nil || r.Err() != nil {
			t.Error(err)
		}
		<-s.Done()
		if took := time.Since(start); took < 10*time.Second || took > 10*time.Second+2*quiet {
			t.Errorf("logged out after %v", took)
		}
		if _, err := s.Execute(t.Context(), Command{}); !errors.Is(err, errAsked) || !errors.Is(err, ErrConnectionLost) {
			t.Error(err)
		}
		s.Close()
	})
}

func TestClose(t *testing.T) {
	t.Run("with a command in flight", func(t *testing.T) {
		started := make(chan bool)
		targets := newFakes(t, func(f *fake) error {
			_, err := f.command()
			close(started)
			return errors.Join(err, f.rest())
		})
		s := dial(t, targets.config())
		ended := make(chan error)
		go func() {
			_, err := s.Execute(t.Context(), Command{})
			ended <- err
		}()
		<-started
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if err := <-ended; !errors.Is(err, ErrClosed) {
			t.Error(err)
		}
		if _, err := s.Execute(t.Context(), Command{}); !errors.Is(err, ErrClosed) {
			t.Error(err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Run("without an answer", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			targets := newFakes(t, func(f *fake) error {
				for {
					if _, _, err := f.next(); err != nil {
						return nil // the initiator is gone
					}
				}
			})
			s := dial(t, targets.config())
			if err := s.Close(); err == nil || !strings.Contains(err.Error(), "no answer to the logout within 2s") {
				t.Error(err)
			}
		})
	})
}

// Unit attentions are taken, a device without READ CAPACITY(16) and VPD pages will
// do, and a device that has no end of attentions is given up.
func TestAttentions(t *testing.T) {
	for attentions, ok := range map[int]bool{0: true, 5: true, maxAttentions + 1: false} {
		targets := newFakes(t, (&zeroDisk{blocks: 10, attention: attentions}).serveAll)
		s := dial(t, targets.config())
		l, err := s.OpenLUN(soon(t), 0)
		var e *scsi.Error
		switch {
		case !ok && errors.As(err, &e):
		case err != nil || !ok:
			t.Errorf("%d attentions: %v", attentions, err)
		default:
			if n, err := l.ReadAt(make([]byte, 100), 5000); n != 100 || err != nil || l.Size() != 5120 {
				t.Errorf("read: %d, %v", n, err)
			}
		}
		s.Close()
	}
}
