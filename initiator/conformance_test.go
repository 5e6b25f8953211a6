package initiator

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bootlun/bootlun/iscsi"
	"github.com/bootlun/bootlun/scsi"
)

// Every field of the headers of commands is what RFC 7143, 11.3 wants.
func TestCommandFields(t *testing.T) {
	for name, c := range map[string]struct {
		offer iscsi.Offer
		cmd   Command
		flags byte // of the header's second byte
		data  int  // immediate
	}{
		"no data":           {iscsi.Offer{}, Command{CDB: scsi.TestUnitReadyCDB()}, 0x81, 0},
		"read":              {iscsi.Offer{}, Command{CDB: scsi.ReadCDB(7, 2), In: make([]byte, 1024)}, 0xc1, 0},
		"immediate data":    {iscsi.Offer{InitialR2T: true}, Command{CDB: scsi.WriteCDB(7, 2), Out: make([]byte, 1024)}, 0xa1, 1024},
		"no immediate data": {iscsi.Offer{InitialR2T: true, NoImmediateData: true}, Command{CDB: scsi.WriteCDB(7, 2), Out: make([]byte, 1024)}, 0xa1, 0},
		"unsolicited data":  {iscsi.Offer{NoImmediateData: true}, Command{CDB: scsi.WriteCDB(7, 2), Out: make([]byte, 1024)}, 0x21, 0},
		"some of it": {
			iscsi.Offer{InitialR2T: true, FirstBurstLength: 512},
			Command{CDB: scsi.WriteCDB(7, 2), Out: make([]byte, 1024)},
			0xa1, 512,
		},
	} {
		t.Run(name, func(t *testing.T) {
			var b iscsi.BHS
			var n int
			targets := newFakes(t, func(f *fake) error {
				var data []byte
				var err error
				b, data, err = f.next()
				n = len(data)
				var cmd iscsi.SCSICommand
				return errors.Join(err, cmd.Decode(&b), f.good(cmd), f.rest())
			})
			cfg := targets.config()
			cfg.Offer, c.cmd.LUN = c.offer, 3<<48
			s := dial(t, cfg)
			if _, err := s.Execute(soon(t), c.cmd); err != nil {
				t.Error(err)
			}
			s.Close()
			targets.wg.Wait()
			length := len(c.cmd.In) + len(c.cmd.Out)
			want := []byte{
				0x01, c.flags, 0, 0, 0, 0, byte(c.data >> 8), byte(c.data),
				0, 3, 0, 0, 0, 0, 0, 0,
				b[16], b[17], b[18], b[19], 0, 0, byte(length >> 8), byte(length),
				0, 0, 0, firstCmdSN, 0, 0, 0, 2, // two login responses came before
			}
			if want = append(want, c.cmd.CDB[:]...); !bytes.Equal(b[:], want) || n != c.data || b.ITT() == iscsi.ReservedTag {
				t.Errorf("header %x with %d bytes, want %x with %d", b, n, want, c.data)
			}
		})
	}
}

// ExpStatSN follows StatSN wherever that begins, CmdSN counts commands, and a window
// as large as can be is no trouble.
func TestSequenceNumbers(t *testing.T) {
	for _, first := range []uint32{0, 1, 1<<31 - 2, 1<<32 - 3} {
		t.Run(fmt.Sprint(first), func(t *testing.T) {
			const commands = 20
			var result error
			targets := newFakes(t, func(f *fake) error {
				f.window = 1<<31 - 1
				for i := range uint32(commands) {
					c, err := f.command()
					if c.CmdSN != firstCmdSN+i || c.ExpStatSN != f.statSN {
						err = errors.Join(err, fmt.Errorf("command %d: %+v, StatSN is %d", i, c, f.statSN))
					}
					if err = errors.Join(err, f.good(c)); err != nil {
						result = err
						return err
					}
				}
				return f.rest()
			})
			targets.statSN, targets.window = first, 1<<31-1
			s := dial(t, targets.config())
			for range commands {
				if _, err := s.Execute(soon(t), Command{}); err != nil {
					t.Error(err)
				}
			}
			s.Close()
			if targets.wg.Wait(); result != nil {
				t.Error(result)
			}
		})
	}
}

// Through a large window go as many commands as there are tasks.
func TestLargeWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		seen := 0
		targets := newFakes(t, func(f *fake) error {
			for {
				b, _, err := f.next()
				if err != nil {
					return nil
				}
				if b.Opcode() == iscsi.OpSCSICommand {
					seen++
				}
			}
		})
		targets.window = 1<<31 - 1
		cfg := targets.config()
		cfg.MaxCommands = 500
		cfg.Timeouts.Abort = time.Second
		s := dial(t, cfg)
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for range 600 {
			wg.Go(func() { s.Execute(ctx, Command{}) }) // which is given up
		}
		synctest.Wait()
		if seen != 500 {
			t.Errorf("%d commands in flight", seen)
		}
		cancel()
		wg.Wait()
		s.Close()
	})
}

// A connection that breaks is not made again before the time that was negotiated.
func TestTime2Wait(t *testing.T) {
	for _, level := range []int{0, 2} {
		t.Run(fmt.Sprint("level ", level), func(t *testing.T) {
			first := zeroDisk{blocks: 100, before: cut(scsi.OpTestUnitReady)}
			then := zeroDisk{blocks: 100}
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				var back time.Duration
				f := newFakes(t, first.serveAll, func(f *fake) error {
					back = time.Since(start)
					if level == 2 {
						var r iscsi.TaskManagementRequest
						if err := f.request(&r); err != nil {
							return err
						}
						if err := f.reply(&iscsi.TaskManagementResponse{ITT: r.ITT, Response: iscsi.TaskDoesNotExist}, true); err != nil {
							return err
						}
					}
					return then.serveAll(f)
				})
				cfg := atLevel(f, level)
				f.offer.DefaultTime2Wait, cfg.Recovery.Limit = 7, time.Minute
				s := dial(t, cfg)
				if r, err := s.Execute(t.Context(), Command{CDB: scsi.TestUnitReadyCDB()}); err != nil || r.Err() != nil {
					t.Errorf("%+v, %v", r, err)
				}
				s.Close()
				if f.wg.Wait(); back < 7*time.Second || back > 10*time.Second || len(f.isids) != 2 {
					t.Errorf("%d logins, the second after %v", len(f.isids), back)
				}
			})
		})
	}
}

// Of a session without a TSIH there is nothing to add a connection to.
func TestNoTSIH(t *testing.T) {
	f := newFakes(t, (&zeroDisk{blocks: 10}).serveAll)
	f.noTSIH = true
	cfg := atLevel(f, 2)
	cfg.Connections = 2
	s := dial(t, cfg)
	openLUN(t, s, 0)
	if n := s.Connections(); n != 1 || len(f.dials) != 1 {
		t.Errorf("%d connections, %d dialled", n, len(f.dials))
	}
	s.Close()
}

// A target that answers a login request with something else is not logged in to.
func TestWrongPDUAtLogin(t *testing.T) {
	for name, answer := range map[string]iscsi.PDU{
		"ping": &iscsi.NOPIn{ITT: iscsi.ReservedTag, TTT: 1}, "response": &iscsi.SCSIResponse{}, "request": &iscsi.LoginRequest{}, "text": &iscsi.TextResponse{Final: true},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := Config{Initiator: testInitiator, Target: fakeTarget, Portal: "fake", Dialer: dialerFunc(func() net.Conn {
				ours, theirs := net.Pipe()
				go func() {
					defer theirs.Close()
					var b iscsi.BHS
					conn := iscsi.NewConn(theirs)
					if _, err := conn.ReadPDU(&b); err != nil {
						return
					}
					answer.Encode(&b)
					conn.WritePDU(&b, nil)
					conn.Flush()
				}()
				return ours
			})}
			if s, err := Dial(soon(t), cfg); !errors.Is(err, iscsi.ErrLoginProtocol) {
				t.Errorf("err = %v", err)
				if err == nil {
					s.Close()
				}
			}
		})
	}
}

// dialerFunc is a Dialer.
type dialerFunc func() net.Conn

func (f dialerFunc) DialContext(context.Context, string, string) (net.Conn, error) { return f(), nil }
