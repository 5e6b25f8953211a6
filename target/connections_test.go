package target_test

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/bootlun/bootlun/iscsi"
	"github.com/bootlun/bootlun/scsi"
	"github.com/bootlun/bootlun/target"
	"github.com/bootlun/bootlun/target/store"
)

// several has an initiator ask for sessions of several connections.
var several = offering(func(o *iscsi.Offer) { o.MaxConnections = 32 })

// joining has a login add a connection to the session of another.
func (c *client) joining(cid uint16) loginOption {
	return func(cfg *iscsi.InitiatorConfig) {
		cfg.ISID, cfg.TSIH, cfg.CID, cfg.CmdSN = c.res.ISID, c.res.TSIH, cid, c.cmdSN
	}
}

// TestTwoConnections carries out commands of one session by two connections.
func TestTwoConnections(t *testing.T) {
	addr, srv := serve(t, target.Config{Targets: []*target.Target{disk(store.NewMemory(diskSize))}})
	a := connect(t, addr, several).ready()
	if a.res.Params.MaxConnections != 8 {
		t.Errorf("MaxConnections=%d, want 8", a.res.Params.MaxConnections)
	}
	b := connect(t, addr, a.joining(7))
	if b.res.TSIH != a.res.TSIH {
		t.Errorf("TSIH %d, want %d", b.res.TSIH, a.res.TSIH)
	}
	if s := srv.Sessions(); len(s) != 1 || len(s[0].Connections) != 2 || s[0].Connections[1].CID != 7 {
		t.Errorf("sessions: %+v", s)
	}
	data := pattern(64<<10, 5)
	b.cmdSN, b.itt = a.cmdSN, 5000
	b.good(transfer(scsi.OpWrite10, 8, 128), 0, data)
	a.cmdSN = b.cmdSN
	if r := a.good(transfer(scsi.OpRead10, 8, 128), len(data), nil); !bytes.Equal(r.data, data) {
		t.Error("one connection does not read what the other wrote")
	}
}

// TestCmdSNAcrossConnections sends commands whose numbers interleave, the later
// ones first.
func TestCmdSNAcrossConnections(t *testing.T) {
	addr := serveDisk(t, store.NewMemory(diskSize))
	a := connect(t, addr, several).ready()
	b := connect(t, addr, a.joining(1))
	first := a.cmdSN
	write := func(c *client, off int, seed int) iscsi.SCSICommand {
		c.cmdSN = first + uint32(off)
		c.itt = 100 + uint32(off)
		cmd := c.newCommand(transfer(scsi.OpWrite10, 0, 1), 0, 512)
		c.send(&cmd, pattern(512, seed))
		return cmd
	}
	// Writes to one block: which one is the last is what the order decides.
	second, fourth := write(b, 1, 1), write(b, 3, 3)
	b.send(&iscsi.NOPOut{Immediate: true, ITT: 900, TTT: iscsi.ReservedTag, CmdSN: first, ExpStatSN: b.exp}, nil)
	var pong iscsi.NOPIn
	if b.expect(&pong); pong.ExpCmdSN != first { // nothing has been carried out
		t.Errorf("ExpCmdSN %d, want %d", pong.ExpCmdSN, first)
	}
	write0, write2 := write(a, 0, 0), write(a, 2, 2)
	for _, w := range []struct {
		c   *client
		cmd iscsi.SCSICommand
	}{{a, write0}, {b, second}, {a, write2}, {b, fourth}} {
		if r := w.c.finish(&w.cmd, nil); r.status != scsi.StatusGood {
			t.Errorf("CmdSN %d: %v", w.cmd.CmdSN, r.status)
		}
	}
	a.cmdSN = first + 4
	if r := a.good(transfer(scsi.OpRead10, 0, 1), 512, nil); !bytes.Equal(r.data, pattern(512, 3)) {
		t.Error("the last write was not carried out last")
	}
}

// TestAbortAcrossConnections aborts the tasks of one connection by another.
func TestAbortAcrossConnections(t *testing.T) {
	addr := serveDisk(t, store.NewMemory(diskSize))
	a := connect(t, addr, several, allByR2T).ready()
	b := connect(t, addr, a.joining(1))
	cmd, r2t := a.openWrite(0)
	b.cmdSN = a.cmdSN
	if r := b.manage(iscsi.AbortTaskSet, nil); r != iscsi.TaskFunctionComplete {
		t.Errorf("ABORT TASK SET: %v", r)
	}
	a.dataOut(&cmd, r2t.TTT, pattern(512, 1), 0, 512)
	a.ping()
	a.cmdSN = b.cmdSN
	if r := a.good(transfer(scsi.OpRead10, 0, 1), 512, nil); !bytes.Equal(r.data, make([]byte, 512)) {
		t.Error("the aborted write was carried out")
	}
}

// TestAllegiance sends the data of a write by a connection that it does not
// belong to.
func TestAllegiance(t *testing.T) {
	addr := serveDisk(t, store.NewMemory(diskSize))
	a := connect(t, addr, several, allByR2T).ready()
	b := connect(t, addr, a.joining(1))
	cmd, r2t := a.openWrite(0)
	b.dataOut(&cmd, r2t.TTT, pattern(512, 9), 0, 512)
	b.ping()
	a.dataOut(&cmd, r2t.TTT, pattern(512, 1), 0, 512)
	if r := a.finish(&cmd, nil); r.status != scsi.StatusGood {
		t.Error(r.status)
	}
	if r := a.good(transfer(scsi.OpRead10, 0, 1), 512, nil); !bytes.Equal(r.data, pattern(512, 1)) {
		t.Error("the medium has what the wrong connection sent")
	}
}

// TestLostConnection loses one of a session's connections, in three ways: the
// session goes on, without the tasks of that connection.
func TestLostConnection(t *testing.T) {
	for name, lose := range map[string]func(t *testing.T, a, b *client){
		"closed": func(_ *testing.T, _, b *client) { b.nc.Close() },
		"logged out by itself": func(t *testing.T, a, b *client) {
			b.send(&iscsi.LogoutRequest{Reason: iscsi.LogoutConnection, CID: 3, ITT: 77, CmdSN: a.cmdSN, ExpStatSN: b.exp}, nil)
			a.cmdSN++
			var p iscsi.LogoutResponse
			if b.expect(&p); p.Response != iscsi.LogoutClosed {
				t.Errorf("%+v", p)
			}
			b.expectClosed()
		},
		"logged out by another": func(t *testing.T, a, b *client) {
			a.send(&iscsi.LogoutRequest{Reason: iscsi.LogoutConnection, CID: 3, ITT: 77, CmdSN: a.cmdSN, ExpStatSN: a.exp}, nil)
			a.cmdSN++
			var p iscsi.LogoutResponse
			if a.expect(&p); p.Response != iscsi.LogoutClosed {
				t.Errorf("%+v", p)
			}
			b.expectClosed()
		},
	} {
		t.Run(name, func(t *testing.T) {
			var ended []error
			addr, srv := serve(t, target.Config{
				Targets: []*target.Target{disk(store.NewMemory(diskSize))},
				Events: func(e target.Event) {
					if e.Kind == target.LogoutEvent {
						ended = append(ended, e.Reason)
					}
				},
			})
			a := connect(t, addr, several, allByR2T).ready()
			b := connect(t, addr, a.joining(3))
			b.cmdSN = a.cmdSN
			b.openWrite(0)
			a.cmdSN = b.cmdSN
			lose(t, a, b)
			a.good(transfer(scsi.OpRead10, 0, 1), 512, nil)
			for s := srv.Sessions(); len(s[0].Connections) > 1 || s[0].Tasks > 0; s = srv.Sessions() {
				time.Sleep(time.Millisecond)
			}
			if len(ended) > 0 {
				t.Errorf("the session has ended: %v", ended)
			}
			again := connect(t, addr, a.joining(3))
			again.cmdSN = a.cmdSN
			again.good(transfer(scsi.OpRead10, 0, 1), 512, nil)
		})
	}
}

// TestLogoutOfSession ends all connections by one request.
func TestLogoutOfSession(t *testing.T) {
	addr, srv := serve(t, target.Config{Targets: []*target.Target{disk(store.NewMemory(diskSize))}})
	a := connect(t, addr, several).ready()
	b := connect(t, addr, a.joining(1))
	c := connect(t, addr, a.joining(2))
	b.send(&iscsi.LogoutRequest{Immediate: true, Reason: iscsi.LogoutSession, ITT: 1, CmdSN: a.cmdSN}, nil)
	var p iscsi.LogoutResponse
	if b.expect(&p); p.Response != iscsi.LogoutClosed {
		t.Errorf("%+v", p)
	}
	for _, each := range []*client{a, b, c} {
		each.expectClosed()
	}
	for len(srv.Sessions()) > 0 {
		time.Sleep(time.Millisecond)
	}
	_, err := tryConnect(t, addr, a.joining(3))
	expectStatus(t, err, iscsi.StatusSessionDoesNotExist)
}

// TestLogoutOfBoth has two connections end the session at the same time.
func TestLogoutOfBoth(t *testing.T) {
	addr, srv := serve(t, target.Config{Targets: []*target.Target{disk(store.NewMemory(diskSize))}})
	for range 20 {
		a := connect(t, addr, several)
		b := connect(t, addr, a.joining(1))
		for _, c := range []*client{a, b} {
			c.send(&iscsi.LogoutRequest{Immediate: true, Reason: iscsi.LogoutSession, ITT: 1, CmdSN: a.cmdSN}, nil)
		}
		for _, c := range []*client{a, b} {
			c.drain()
		}
		for len(srv.Sessions()) > 0 {
			time.Sleep(time.Millisecond)
		}
	}
}

// drain receives until the connection ends.
func (c *client) drain() {
	_ = c.nc.SetReadDeadline(time.Now().Add(patience))
	for {
		var b iscsi.BHS
		if _, err := c.conn.ReadPDU(&b); isTimeout(err) {
			c.t.Fatal("the connection has not ended")
		} else if err != nil {
			return
		}
	}
}

// TestConnectionReinstated logs in with the CID of a connection that there is.
func TestConnectionReinstated(t *testing.T) {
	for _, level := range []loginOption{several, func(*iscsi.InitiatorConfig) {}} { // also of a session with one connection
		addr, srv := serve(t, target.Config{Targets: []*target.Target{disk(store.NewMemory(diskSize))}})
		a := connect(t, addr, level, allByR2T).ready()
		a.openWrite(0)
		again := connect(t, addr, a.joining(0))
		a.expectClosed()
		if s := srv.Sessions(); len(s) != 1 || len(s[0].Connections) != 1 || s[0].Tasks != 0 || s[0].TSIH != a.res.TSIH {
			t.Errorf("sessions: %+v", s)
		}
		again.cmdSN = a.cmdSN
		again.good(scsi.TestUnitReadyCDB(), 0, nil) // no unit attention: the nexus is the same
	}
}

// TestJoinRefused adds connections to sessions that do not take them.
func TestJoinRefused(t *testing.T) {
	addr, _ := serve(t, target.Config{Targets: []*target.Target{
		disk(store.NewMemory(diskSize)), {Name: testTarget + "2", LUNs: []target.LUN{{Store: store.NewMemory(diskSize)}}},
	}})
	a := connect(t, addr, offering(func(o *iscsi.Offer) { o.MaxConnections = 2 }))
	for name, tc := range map[string]struct {
		change func(*iscsi.InitiatorConfig)
		want   iscsi.LoginStatus
	}{
		"unknown TSIH":    {func(c *iscsi.InitiatorConfig) { c.TSIH = 0x4711 }, iscsi.StatusSessionDoesNotExist},
		"another ISID":    {func(c *iscsi.InitiatorConfig) { c.ISID = iscsi.OUIISID([3]byte{1, 2, 3}, 77) }, iscsi.StatusSessionDoesNotExist},
		"another target":  {func(c *iscsi.InitiatorConfig) { c.TargetName = testTarget + "2" }, iscsi.StatusSessionDoesNotExist},
		"another name":    {func(c *iscsi.InitiatorConfig) { c.InitiatorName = testInitiator + "x" }, iscsi.StatusSessionDoesNotExist},
		"discovery":       {discovering, iscsi.StatusSessionDoesNotExist},
		"of right values": {func(*iscsi.InitiatorConfig) {}, iscsi.StatusSuccess},
	} {
		_, err := tryConnect(t, addr, a.joining(1), tc.change)
		if tc.want == iscsi.StatusSuccess {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		t.Run(name, func(t *testing.T) { expectStatus(t, err, tc.want) })
	}
	b := connect(t, addr, a.joining(1))
	_, err := tryConnect(t, addr, a.joining(2))
	expectStatus(t, err, iscsi.StatusTooManyConnections)
	b.ping()
}

func expectStatus(t *testing.T, err error, want iscsi.LoginStatus) {
	t.Helper()
	var le *iscsi.LoginError
	if !errors.As(err, &le) || le.Status != want {
		t.Errorf("login: %v, want %v", err, want)
	}
}
