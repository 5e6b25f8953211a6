package initiator

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bootlun/bootlun/iscsi"
	"github.com/bootlun/bootlun/scsi"
)

// takeOver receives the request that gives the command to this connection, and
// answers it.
func (f *fake) takeOver(c iscsi.SCSICommand, expDataSN uint32, answer iscsi.TaskResponse) error {
	var r iscsi.TaskManagementRequest
	if err := f.request(&r); err != nil {
		return err
	}
	if r.Function != iscsi.TaskReassign || r.ReferencedITT != c.ITT || r.RefCmdSN != c.CmdSN || r.LUN != c.LUN || r.ExpDataSN != expDataSN || !r.Immediate {
		return fmt.Errorf("%+v", r)
	}
	return f.reply(&iscsi.TaskManagementResponse{ITT: r.ITT, Response: answer}, true)
}

// The connection is lost while a command runs that must not be executed twice; what
// the next connection's target says of the command decides on it.
func TestReassign(t *testing.T) {
	data := make([]byte, 1024)
	pattern(data, 0)
	for name, c := range map[string]struct {
		write bool
		first script // after it has the command
		then  func(f *fake, c iscsi.SCSICommand) error
		want  error // nil: success
	}{
		"read goes on": {
			first: nil,
			then: func(f *fake, c iscsi.SCSICommand) error {
				err := f.takeOver(c, 1, iscsi.TaskFunctionComplete)
				return errors.Join(err, f.part(c, 1, data), f.ended(c, 2))
			},
		},
		"write goes on": {
			write: true,
			then: func(f *fake, c iscsi.SCSICommand) error {
				err := f.takeOver(c, 0, iscsi.TaskFunctionComplete)
				ask := iscsi.R2T{ITT: c.ITT, TTT: 9, R2TSN: 3, BufferOffset: 512, DesiredLength: 512}
				if err = errors.Join(err, f.reply(&ask, false)); err != nil {
					return err
				}
				b, got, err := f.next()
				var out iscsi.DataOut
				if err = errors.Join(err, out.Decode(&b)); err == nil && (out.TTT != 9 || !bytes.Equal(got, data[512:])) {
					err = fmt.Errorf("%+v", out)
				}
				return errors.Join(err, f.good(c))
			},
		},
		"not received": {
			write: true,
			then: func(f *fake, c iscsi.SCSICommand) error {
				f.expCmdSN = c.CmdSN
				if err := f.takeOver(c, 0, iscsi.TaskDoesNotExist); err != nil {
					return err
				}
				again, err := f.command()
				if again.CmdSN != c.CmdSN || again.ITT != c.ITT {
					err = errors.Join(err, fmt.Errorf("%+v", again))
				}
				return errors.Join(err, f.good(again))
			},
		},
		"forgotten": {
			write: true,
			then: func(f *fake, c iscsi.SCSICommand) error {
				f.expCmdSN = c.CmdSN + 1
				return f.takeOver(c, 0, iscsi.TaskDoesNotExist)
			},
			want: ErrOutcomeUnknown,
		},
		"not supported": {
			write: true,
			then: func(f *fake, c iscsi.SCSICommand) error {
				return f.takeOver(c, 0, iscsi.TaskReassignNotSupported)
			},
			want: ErrOutcomeUnknown,
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var cmd iscsi.SCSICommand
				var result error
				targets := newFakes(t, func(f *fake) (err error) {
					cmd, err = f.command()
					if cmd.Read {
						err = errors.Join(err, f.part(cmd, 0, data))
					}
					return err
				}, func(f *fake) error {
					f.expCmdSN = cmd.CmdSN + 1
					result = c.then(f, cmd)
					return errors.Join(result, f.rest())
				})
				cfg := atLevel(targets, 2)
				cfg.Recovery.Limit = time.Minute
				s := dial(t, cfg)
				session := s.cur.Load()
				cdb, _ := scsi.Transfer{Op: scsi.OpCompareAndWrite, Blocks: 1}.CDB()
				do := Command{CDB: cdb, Out: data}
				if !c.write {
					do = Command{CDB: scsi.ReadCDB(0, 2), In: make([]byte, 1024)}
				}
				r, err := s.Execute(t.Context(), do)
				switch {
				case c.want != nil:
					if !errors.Is(err, c.want) {
						t.Errorf("err = %v", err)
					}
				case err != nil || r.Err() != nil || !c.write && !bytes.Equal(do.In, data):
					t.Errorf("%+v, %v", r, err)
				}
				if s.cur.Load() != session {
					t.Error("another session")
				}
				s.Close()
				if targets.wg.Wait(); result != nil {
					t.Error(result)
				}
			})
		})
	}
}

// A connection that cannot be made good costs the session, and the session recovers.
func TestReassignFails(t *testing.T) {
	for name, refuse := range map[string]struct {
		cable error
		login iscsi.LoginStatus
		took  time.Duration // at least
	}{
		"no way":     {cable: errors.New("cable is out"), took: 20 * time.Second},
		"no session": {login: iscsi.StatusSessionDoesNotExist},
	} {
		t.Run(name, func(t *testing.T) {
			first := zeroDisk{blocks: 100, before: cut(scsi.OpRead10)}
			then := zeroDisk{blocks: 100}
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				f := newFakes(t, first.serveAll, then.serveAll)
				cfg := atLevel(f, 2)
				cfg.Recovery.Limit = time.Hour
				f.access = func(in iscsi.LoginInfo) iscsi.Access {
					if in.TSIH != 0 {
						return iscsi.Access{Status: refuse.login}
					}
					return iscsi.Access{Offer: f.offer}
				}
				s := dial(t, cfg)
				l := openLUN(t, s, 0)
				f.mu.Lock()
				f.refuse = func(string) error {
					if time.Since(start) < refuse.took+5*time.Second {
						return refuse.cable
					}
					return nil
				}
				f.mu.Unlock()
				session := s.cur.Load()
				if _, err := l.ReadAt(make([]byte, 512), 0); err != nil {
					t.Error(err)
				}
				if took := time.Since(start); s.cur.Load() == session || took < refuse.took || took > refuse.took+20*time.Second {
					t.Errorf("after %v; another session: %v", took, s.cur.Load() != session)
				}
				s.Close()
			})
		})
	}
}

// A call whose context ends while its connection is being made again has its command
// aborted by the new one.
func TestAbortWithoutConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		var cmd iscsi.SCSICommand
		var functions []iscsi.TaskFunction
		f := newFakes(t, func(f *fake) (err error) {
			cmd, err = f.command()
			return err
		}, func(f *fake) error {
			for range 2 {
				var r iscsi.TaskManagementRequest
				if err := f.request(&r); err != nil {
					return err
				}
				if r.ReferencedITT == cmd.ITT && r.RefCmdSN == cmd.CmdSN {
					functions = append(functions, r.Function)
				}
				if err := f.reply(&iscsi.TaskManagementResponse{ITT: r.ITT}, true); err != nil {
					return err
				}
			}
			return f.rest()
		})
		cfg := atLevel(f, 2)
		s := dial(t, cfg)
		f.mu.Lock()
		f.refuse = func(string) error {
			if time.Since(start) < 3*time.Second {
				return errors.New("cable is out")
			}
			return nil
		}
		f.mu.Unlock()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := s.Execute(ctx, Command{CDB: scsi.WriteCDB(0, 1), Out: make([]byte, 512)})
		if !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, ErrConnectionLost) || time.Since(start) < 3*time.Second {
			t.Errorf("after %v: %v", time.Since(start), err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if f.wg.Wait(); !slices.Equal(functions, []iscsi.TaskFunction{iscsi.TaskReassign, iscsi.AbortTask}) {
			t.Errorf("functions %v", functions)
		}
	})
}

// several is a target of a session of several connections, whose commands are carried
// out in order of their numbers.
type several struct {
	mu   sync.Mutex
	exp  uint32
	next *sync.Cond
	seen []uint32 // by CID, commands
	told chan *fake
}

func newSeveral(n int) *several {
	s := &several{seen: make([]uint32, n), told: make(chan *fake, n), exp: firstCmdSN}
	s.next = sync.NewCond(&s.mu)
	return s
}

func (s *several) serve(f *fake) error {
	s.told <- f
	for {
		b, _, err := f.next()
		if err != nil {
			return nil // the initiator is gone
		}
		switch b.Opcode() {
		case iscsi.OpSCSICommand:
			s.mu.Lock()
			for b.CmdSN() != s.exp {
				s.next.Wait()
			}
			s.exp++
			s.seen[f.login.CID]++
			f.expCmdSN = s.exp
			s.next.Broadcast()
			err := f.reply(&iscsi.SCSIResponse{ITT: b.ITT()}, true)
			s.mu.Unlock()
			if err != nil {
				return err
			}
		case iscsi.OpNOPOut:
			if b.ITT() == iscsi.ReservedTag {
				continue // it wants no answer
			}
			if err := f.reply(&iscsi.NOPIn{ITT: b.ITT(), TTT: iscsi.ReservedTag}, true); err != nil {
				return err
			}
		case iscsi.OpLogoutRequest:
			s.mu.Lock()
			defer s.mu.Unlock()
			var r iscsi.LogoutRequest
			if err := r.Decode(&b); err != nil {
				return err
			}
			if r.Reason == iscsi.LogoutConnection && r.CID != f.login.CID {
				return fmt.Errorf("%+v", r)
			}
			return f.reply(&iscsi.LogoutResponse{ITT: b.ITT()}, true)
		}
	}
}

// Commands go by all connections, in one sequence of numbers.
func TestSeveralConnections(t *testing.T) {
	target := newSeveral(3)
	f := newFakes(t, target.serve)
	cfg := atLevel(f, 0)
	cfg.Connections, cfg.Portals = 3, []string{"second"}
	s := dial(t, cfg)
	var wg sync.WaitGroup
	for range 30 {
		wg.Go(func() {
			for range 20 {
				if r, err := s.Execute(soon(t), Command{}); err != nil || r.Err() != nil {
					t.Errorf("%+v, %v", r, err)
				}
			}
		})
	}
	wg.Wait()
	s.Close()
	target.mu.Lock()
	defer target.mu.Unlock()
	if n := target.seen; slices.Min(n) == 0 || n[0]+n[1]+n[2] != 600 {
		t.Errorf("commands by connection: %v", n)
	}
	if want := []string{"fake:3260", "second:3260", "fake:3260"}; !slices.Equal(f.dials, want) {
		t.Errorf("dialled %q", f.dials)
	}
}

// A target that takes no second connection has a session of one.
func TestTooManyConnections(t *testing.T) {
	f := newFakes(t, (&zeroDisk{blocks: 10}).serveAll)
	cfg := atLevel(f, 0)
	cfg.Connections = 3
	f.access = func(in iscsi.LoginInfo) iscsi.Access { return iscsi.Access{Offer: f.offer} }
	s := dial(t, cfg)
	openLUN(t, s, 0)
	if n := s.Connections(); n != 1 {
		t.Errorf("%d connections", n)
	}
	s.Close()
}

// When the target asks for the logout of one connection, or drops it after such a
// request, the session goes on, and gets another.
func TestOneConnectionLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		target := newSeveral(2)
		f := newFakes(t, target.serve)
		cfg := atLevel(f, 0)
		cfg.Connections = 2
		s := dial(t, cfg)
		session := s.cur.Load()
		second := <-target.told
		if other := <-target.told; other.login.CID == 1 {
			second = other
		}
		target.mu.Lock()
		err := second.reply(&iscsi.AsyncMessage{Event: iscsi.AsyncLogout, Param3: 10}, true)
		target.mu.Unlock()
		if err != nil {
			t.Fatal(err)
		}
		for range 10 {
			if r, err := s.Execute(t.Context(), Command{}); err != nil || r.Err() != nil {
				t.Errorf("%+v, %v", r, err)
			}
		}
		time.Sleep(time.Minute)
		if n := s.Connections(); n != 2 || s.cur.Load() != session || len(f.dials) != 3 {
			t.Errorf("%d connections, %d dialled, another session: %v", n, len(f.dials), s.cur.Load() != session)
		}
		if third := <-target.told; third.login.CID != 1 || third.login.TSIH != 1 {
			t.Errorf("logged in as %+v", third.login.LoginInfo)
		}
		s.Close()
	})
}

// One connection of several is logged out at our wish, and does not come back.
func TestCloseConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		target := newSeveral(3)
		f := newFakes(t, target.serve)
		cfg := atLevel(f, 2)
		cfg.Connections = 3
		s := dial(t, cfg)
		session := s.cur.Load()
		use := func() {
			t.Helper()
			for range 10 {
				if r, err := s.Execute(t.Context(), Command{}); err != nil || r.Err() != nil {
					t.Errorf("%+v, %v", r, err)
				}
			}
		}
		use()
		for _, number := range []int{1, 0} {
			if err := s.CloseConnection(t.Context(), number); err != nil {
				t.Fatal(err)
			}
			if err := s.CloseConnection(t.Context(), number); err == nil {
				t.Error("closed twice")
			}
			use()
		}
		for _, number := range []int{2, 3, -1} {
			if err := s.CloseConnection(t.Context(), number); err == nil {
				t.Errorf("connection %d closed", number)
			}
		}
		time.Sleep(time.Hour)
		use()
		if n := s.Connections(); n != 1 || s.cur.Load() != session || len(f.dials) != 3 {
			t.Errorf("%d connections, %d dialled, another session: %v", n, len(f.dials), s.cur.Load() != session)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
}

// A connection whose commands do not end stays when patience does.
func TestCloseConnectionStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		held := make(chan struct{})
		f := newFakes(t, func(f *fake) error {
			c, err := f.command()
			<-held
			return errors.Join(err, f.good(c), f.rest())
		}, func(f *fake) error { return f.rest() })
		cfg := atLevel(f, 0)
		cfg.Connections = 2
		s := dial(t, cfg)
		done := make(chan error, 1)
		go func() {
			_, err := s.Execute(t.Context(), Command{})
			done <- err
		}()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := s.CloseConnection(ctx, 0); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("err = %v", err)
		}
		if n := s.Connections(); n != 2 {
			t.Errorf("%d connections", n)
		}
		close(held)
		if err := <-done; err != nil {
			t.Error(err)
		}
		if err := s.CloseConnection(t.Context(), 0); err != nil || s.Connections() != 1 {
			t.Errorf("%d connections, %v", s.Connections(), err)
		}
		s.Close()
	})
}

// A bit flips in a header: nothing says where the next one is, so the connection is
// given up at every level. At level 2 another takes its command over, below that the
// session is made anew.
func TestDamagedHeader(t *testing.T) {
	data := make([]byte, 1024)
	pattern(data, 0)
	for level := range 3 {
		t.Run(fmt.Sprintf("level %d", level), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var cmd iscsi.SCSICommand
				var failed [2]error
				targets := newFakes(t, func(f *fake) (err error) {
					cmd, err = f.command()
					err = errors.Join(err, f.part(cmd, 0, data), f.damagedHeader(cmd, 1, data))
					if b, _, more := f.next(); more == nil {
						err = errors.Join(err, fmt.Errorf("after a damaged header comes %v", b.Opcode()))
					}
					failed[0] = err
					return err
				}, func(f *fake) error {
					again, err := cmd, error(nil)
					if level == 2 {
						f.expCmdSN = cmd.CmdSN + 1
						err = f.takeOver(cmd, 1, iscsi.TaskFunctionComplete)
					} else if again, err = f.command(); err == nil {
						err = f.part(again, 0, data)
					}
					if joins := f.login.LoginInfo.TSIH != 0; joins != (level == 2) {
						err = errors.Join(err, fmt.Errorf("logged in as %+v", f.login.LoginInfo))
					}
					failed[1] = errors.Join(err, f.part(again, 1, data), f.ended(again, 2))
					return errors.Join(failed[1], f.rest())
				})
				cfg := atLevel(targets, level)
				cfg.Recovery.Limit = time.Minute
				cfg.Offer.HeaderDigest, targets.offer.HeaderDigest = iscsi.DigestRequire, iscsi.DigestAllow
				s := dial(t, cfg)
				do := Command{CDB: scsi.ReadCDB(0, 2), In: make([]byte, 1024)}
				if r, err := s.Execute(t.Context(), do); err != nil || r.Err() != nil || !bytes.Equal(do.In, data) {
					t.Errorf("%+v, %v", r, err)
				}
				s.Close()
				targets.wg.Wait()
				if err := errors.Join(failed[:]...); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// damagedHeader is part with a bit of the header flipped after the digest was made.
func (f *fake) damagedHeader(c iscsi.SCSICommand, sn uint32, p []byte) error {
	in := iscsi.DataIn{ITT: c.ITT, TTT: iscsi.ReservedTag, DataSN: sn, BufferOffset: 512 * sn}
	var b iscsi.BHS
	in.Encode(&b)
	b.SetResponseSN(f.statSN, f.expCmdSN, f.expCmdSN-1+f.window)
	b.SetDataSegmentLength(512)
	raw := binary.LittleEndian.AppendUint32(b[:], crc32.Checksum(b[:], crc32.MakeTable(crc32.Castagnoli)))
	raw[42] ^= 1
	_, err := f.NetConn().Write(append(raw, p[512*sn:][:512]...))
	return err
}
