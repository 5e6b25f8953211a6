package initiator

import (
	"bytes"
	"context"
	"errors"
	"fmt"
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
		<-target.told
		second := <-target.told
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
