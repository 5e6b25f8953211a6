package target_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/bootlun/bootlun/iscsi"
	"github.com/bootlun/bootlun/scsi"
	"github.com/bootlun/bootlun/target"
	"github.com/bootlun/bootlun/target/store"
)

const otherTarget = "iqn.2001-04.com.example:other"

func toTarget(name string) loginOption {
	return func(c *iscsi.InitiatorConfig) { c.TargetName = name }
}

// onLUN is the client's connection for another LUN.
func (c *client) onLUN(n int) *client {
	c.t.Helper()
	lun, err := iscsi.MakeLUN(n)
	if err != nil {
		c.t.Fatal(err)
	}
	c.lun = lun
	return c
}

// wantRefused expects a login to fail with a status.
func wantRefused(t *testing.T, addr string, want iscsi.LoginStatus, opts ...loginOption) {
	t.Helper()
	var refused *iscsi.LoginError
	if _, err := tryConnect(t, addr, opts...); !errors.As(err, &refused) || refused.Status != want {
		t.Errorf("login: %v, want status %v", err, want)
	}
}

func TestTargetsComeAndGo(t *testing.T) {
	addr, srv := serve(t, target.Config{Targets: []*target.Target{disk(store.NewMemory(diskSize))}})
	bystander := connect(t, addr).ready()
	wantRefused(t, addr, iscsi.StatusTargetNotFound, toTarget(otherTarget))
	other := &target.Target{Name: otherTarget, LUNs: []target.LUN{{Store: store.NewMemory(diskSize)}}}
	if err := srv.AddTarget(other); err != nil {
		t.Fatal(err)
	}
	if err := srv.AddTarget(other); !errors.Is(err, target.ErrExists) {
		t.Errorf("the same again: %v, want ErrExists", err)
	}
	connect(t, addr, toTarget(otherTarget)).ready()
	idle := connect(t, addr, toTarget(otherTarget), withISID(7))
	idle.ping() // the server is done with the login

	ended := make(chan error, 1)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	go func() { ended <- srv.RemoveTarget(ctx, otherTarget) }()
	var async iscsi.AsyncMessage
	idle.expect(&async)
	if async.Event != iscsi.AsyncLogout || async.Param3 == 0 || async.Param3 > 30 {
		t.Errorf("message %+v, want one that asks for a logout within 30 s", async)
	}
	idle.expectClosedAfter(cancel)
	if err := <-ended; err != nil {
		t.Error(err)
	}
	wantRefused(t, addr, iscsi.StatusTargetNotFound, toTarget(otherTarget))
	if err := srv.RemoveTarget(t.Context(), otherTarget); !errors.Is(err, target.ErrNoTarget) {
		t.Errorf("the same again: %v, want ErrNoTarget", err)
	}
	bystander.good(scsi.TestUnitReadyCDB(), 0, nil)
}

// expectClosedAfter expects the connection to stay until stop is called.
func (c *client) expectClosedAfter(stop func()) {
	c.t.Helper()
	c.ping()
	stop()
	c.expectDropped()
}

func TestDrainLetsNobodyIn(t *testing.T) {
	addr, srv := serve(t, target.Config{Targets: []*target.Target{disk(store.NewMemory(diskSize))}})
	c := connect(t, addr)
	c.ping() // the server is done with the login
	ended := make(chan error, 1)
	go func() { ended <- srv.Drain(t.Context(), testTarget) }()
	var async iscsi.AsyncMessage
	c.expect(&async)
	wantRefused(t, addr, iscsi.StatusServiceUnavailable, withISID(2))
	c.send(&iscsi.LogoutRequest{Immediate: true, Reason: iscsi.LogoutSession, ITT: c.itt, CmdSN: c.cmdSN, ExpStatSN: c.exp}, nil)
	c.expect(new(iscsi.LogoutResponse))
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if n := len(srv.Sessions()); n != 0 {
		t.Errorf("%d sessions, want none", n)
	}
	if err := srv.Resume(testTarget); err != nil {
		t.Fatal(err)
	}
	connect(t, addr).ready()
}

func TestDisconnectEndsOneSession(t *testing.T) {
	addr, srv := serve(t, target.Config{Targets: []*target.Target{disk(store.NewMemory(diskSize))}})
	stays, goes := connect(t, addr).ready(), connect(t, addr, withISID(2)).ready()
	now, cancel := context.WithCancel(t.Context())
	cancel()
	if err := srv.Disconnect(now, goes.res.TSIH); err != nil {
		t.Fatal(err)
	}
	goes.expectDropped()
	stays.ping()
	if err := srv.Disconnect(now, goes.res.TSIH); !errors.Is(err, target.ErrNoSession) {
		t.Errorf("the same again: %v, want ErrNoSession", err)
	}
}

func TestSettingsHoldForLaterLogins(t *testing.T) {
	addr, srv := serve(t, target.Config{Targets: []*target.Target{disk(store.NewMemory(diskSize))}})
	before := connect(t, addr).ready()
	user := iscsi.CHAPUser{Name: "tester", Secret: "a secret of sixteen"}
	withCHAP := func(c *iscsi.InitiatorConfig) { c.CHAP = &iscsi.CHAPClient{User: user} }
	set := func(chap *iscsi.CHAPServer, allowed ...string) {
		t.Helper()
		if err := srv.SetTarget(&target.Target{Name: testTarget, CHAP: chap, AllowedInitiators: allowed}); err != nil {
			t.Fatal(err)
		}
	}
	set(&iscsi.CHAPServer{Users: []iscsi.CHAPUser{user}})
	wantRefused(t, addr, iscsi.StatusAuthenticationFailed, withISID(2))
	connect(t, addr, withISID(2), withCHAP).ready()
	set(nil, "iqn.2001-04.com.stranger:*")
	wantRefused(t, addr, iscsi.StatusTargetNotFound, withISID(3))
	set(nil)
	connect(t, addr, withISID(3)).ready()
	before.good(scsi.TestUnitReadyCDB(), 0, nil)
	if err := srv.SetTarget(&target.Target{Name: testTarget, CHAP: &iscsi.CHAPServer{}}); err == nil {
		t.Error("CHAP without users is accepted")
	}
}

func TestLUNsComeAndGo(t *testing.T) {
	addr, srv := serve(t, target.Config{Targets: []*target.Target{disk(store.NewMemory(diskSize))}})
	c := connect(t, addr).ready()
	c.onLUN(5).bad(scsi.TestUnitReadyCDB(), 0, nil, scsi.KeyIllegalRequest, scsi.ASCLUNNotSupported)
	if err := srv.AddLUN(testTarget, target.LUN{Number: 5, Store: store.NewMemory(diskSize)}); err != nil {
		t.Fatal(err)
	}
	if err := srv.AddLUN(testTarget, target.LUN{Number: 5, Store: store.NewMemory(diskSize)}); !errors.Is(err, target.ErrExists) {
		t.Errorf("the same again: %v, want ErrExists", err)
	}
	c.onLUN(0).bad(scsi.TestUnitReadyCDB(), 0, nil, scsi.KeyUnitAttention, scsi.ASCReportedLUNsChanged)
	if got := c.luns(); fmt.Sprint(got) != "[0 5]" {
		t.Errorf("LUNs %v, want 0 and 5", got)
	}
	c.onLUN(5).ready()
	data := pattern(4096, 3)
	c.good(transfer(scsi.OpWrite16, 8, 8), 0, data)
	if err := srv.RemoveLUN(t.Context(), testTarget, 5); err != nil {
		t.Fatal(err)
	}
	c.bad(scsi.TestUnitReadyCDB(), 0, nil, scsi.KeyIllegalRequest, scsi.ASCLUNNotSupported)
	c.onLUN(0).bad(scsi.TestUnitReadyCDB(), 0, nil, scsi.KeyUnitAttention, scsi.ASCReportedLUNsChanged)
	if got := c.luns(); fmt.Sprint(got) != "[0]" {
		t.Errorf("LUNs %v, want 0", got)
	}
	if err := srv.RemoveLUN(t.Context(), testTarget, 5); !errors.Is(err, target.ErrNoLUN) {
		t.Errorf("the same again: %v, want ErrNoLUN", err)
	}
}

// luns asks which LUNs there are.
func (c *client) luns() []int {
	c.t.Helper()
	r := c.good(scsi.ReportLUNs{Length: 4096}.CDB(), 4096, nil)
	luns, _, err := scsi.ParseLUNs(r.data)
	if err != nil {
		c.t.Fatal(err)
	}
	var numbers []int
	for _, lun := range luns {
		n, _ := iscsi.LUN(lun).Number()
		numbers = append(numbers, n)
	}
	return numbers
}

// A LUN is removed under commands that do not end: they may, until the context
// ends, and no store is given back that one of them still uses.
func TestRemoveLUNWaitsForCommands(t *testing.T) {
	s := newGated(store.NewMemory(diskSize))
	addr, srv := serve(t, target.Config{Targets: []*target.Target{disk(s)}})
	c := connect(t, addr).ready()
	cmd := c.newCommand(transfer(scsi.OpRead16, 0, 8), 4096, 0)
	c.send(&cmd, nil)
	<-s.entered
	now, cancel := context.WithCancel(t.Context())
	cancel()
	if err := srv.RemoveLUN(now, testTarget, 0); !errors.Is(err, target.ErrStillInUse) {
		t.Errorf("removed under a command that is stuck: %v, want ErrStillInUse", err)
	}
	if err := srv.AddLUN(testTarget, target.LUN{Number: 1, Store: s}); err != nil {
		t.Fatal(err)
	}
	c.onLUN(1).ready()
	cmd = c.newCommand(transfer(scsi.OpRead16, 0, 8), 4096, 0)
	c.send(&cmd, nil)
	<-s.entered
	ended := make(chan error, 1)
	go func() { ended <- srv.RemoveLUN(t.Context(), testTarget, 1) }()
	close(s.gate)
	if r := c.finish(&cmd, nil); r.status != scsi.StatusGood || len(r.data) != 4096 {
		t.Errorf("the command under way: %v, %d bytes", r.status, len(r.data))
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestResizeTellsInitiators(t *testing.T) {
	path := filepath.Join(t.TempDir(), "disk.img")
	if err := os.WriteFile(path, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	file, err := store.OpenFile(path, store.FileOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { file.Close() })
	addr, srv := serve(t, target.Config{Targets: []*target.Target{disk(file)}})
	c := connect(t, addr).ready()
	for _, size := range []int64{3 << 20, 2 << 20} {
		if got, err := srv.ResizeLUN(testTarget, 0, size); err != nil || got != size {
			t.Fatalf("resized to %d, %v, want %d", got, err, size)
		}
		c.bad(scsi.TestUnitReadyCDB(), 0, nil, scsi.KeyUnitAttention, scsi.ASCCapacityChanged)
		blocks := uint64(size / 512)
		c.good(transfer(scsi.OpWrite16, blocks-1, 1), 0, bytes.Repeat([]byte{1}, 512))
		c.bad(transfer(scsi.OpRead16, blocks, 1), 512, nil, scsi.KeyIllegalRequest, scsi.ASCLBAOutOfRange)
	}
	if _, err := srv.ResizeLUN(testTarget, 0, 0); err != nil {
		t.Error(err)
	}
	c.good(scsi.TestUnitReadyCDB(), 0, nil) // nothing has changed
	if err := srv.AddLUN(testTarget, target.LUN{Number: 1, Store: store.NewMemory(diskSize)}); err != nil {
		t.Fatal(err)
	}
	if _, err := srv.ResizeLUN(testTarget, 1, 1<<20); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("resize of memory: %v, want ErrUnsupported", err)
	}
}
