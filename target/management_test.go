package target_test

import (
	"bytes"
	"testing"

	"github.com/bootlun/bootlun/iscsi"
	"github.com/bootlun/bootlun/scsi"
	"github.com/bootlun/bootlun/target"
	"github.com/bootlun/bootlun/target/store"
)

// manage sends a task management request and returns the response.
func (c *client) manage(f iscsi.TaskFunction, change func(*iscsi.TaskManagementRequest)) iscsi.TaskResponse {
	c.t.Helper()
	itt := c.sendManage(f, change)
	var resp iscsi.TaskManagementResponse
	if c.expect(&resp); resp.ITT != itt {
		c.t.Errorf("response to task %d, want %d", resp.ITT, itt)
	}
	return resp.Response
}

func (c *client) sendManage(f iscsi.TaskFunction, change func(*iscsi.TaskManagementRequest)) (itt uint32) {
	c.t.Helper()
	p := iscsi.TaskManagementRequest{
		Immediate: true, Function: f, LUN: c.lun, ITT: c.itt, ReferencedITT: iscsi.ReservedTag, CmdSN: c.cmdSN, ExpStatSN: c.exp,
	}
	c.itt++
	if change != nil {
		change(&p)
	}
	c.send(&p, nil)
	return p.ITT
}

func naming(cmd *iscsi.SCSICommand) func(*iscsi.TaskManagementRequest) {
	return func(p *iscsi.TaskManagementRequest) { p.ReferencedITT, p.RefCmdSN = cmd.ITT, cmd.CmdSN }
}

// openWrite starts a write that waits for data, which is asked for.
func (c *client) openWrite(lba uint64) (iscsi.SCSICommand, iscsi.R2T) {
	c.t.Helper()
	cmd := c.newCommand(transfer(scsi.OpWrite10, lba, 1), 0, 512)
	c.send(&cmd, nil)
	var p iscsi.R2T
	c.expect(&p)
	return cmd, p
}

var allByR2T = offering(func(o *iscsi.Offer) { o.InitialR2T, o.NoImmediateData = true, true })

func TestAbortWaitingTask(t *testing.T) {
	c := connect(t, serveDisk(t, store.NewMemory(diskSize)), allByR2T).ready()
	cmd, r2t := c.openWrite(0)
	if r := c.manage(iscsi.AbortTask, naming(&cmd)); r != iscsi.TaskFunctionComplete {
		t.Errorf("ABORT TASK: %v", r)
	}
	c.dataOut(&cmd, r2t.TTT, pattern(512, 1), 0, 512) // too late
	if r := c.manage(iscsi.AbortTask, naming(&cmd)); r != iscsi.TaskDoesNotExist {
		t.Errorf("ABORT TASK again: %v", r)
	}
	if got := c.good(transfer(scsi.OpRead10, 0, 1), 512, nil); !bytes.Equal(got.data, make([]byte, 512)) {
		t.Error("the aborted write was carried out")
	}
	c.itt = cmd.ITT // may be used again
	roundTrip(t, c, pattern(512, 1), 0)
}

// TestAbortRunningTask aborts a task that the store is busy with: the response
// comes when the store is done with it, and the task has none.
func TestAbortRunningTask(t *testing.T) {
	for name, function := range map[string]iscsi.TaskFunction{
		"ABORT TASK": iscsi.AbortTask, "ABORT TASK SET": iscsi.AbortTaskSet, "CLEAR TASK SET": iscsi.ClearTaskSet,
		"LOGICAL UNIT RESET": iscsi.LogicalUnitReset, "TARGET WARM RESET": iscsi.TargetWarmReset,
	} {
		t.Run(name, func(t *testing.T) {
			g := newGated(store.NewMemory(diskSize))
			c := connect(t, serveDisk(t, g)).ready()
			cmd := c.newCommand(transfer(scsi.OpWrite10, 0, 1), 0, 512)
			c.send(&cmd, pattern(512, 1))
			<-g.entered
			itt := c.sendManage(function, naming(&cmd))
			c.ping() // nothing else comes before
			close(g.gate)
			var resp iscsi.TaskManagementResponse
			if c.expect(&resp); resp.ITT != itt || resp.Response != iscsi.TaskFunctionComplete {
				t.Errorf("%+v", resp)
			}
			c.ping()
		})
	}
}

// TestAbortFutureTask aborts a command that has not arrived: when it does, it is
// not carried out.
func TestAbortFutureTask(t *testing.T) {
	c := connect(t, serveDisk(t, store.NewMemory(diskSize))).ready()
	late := c.newCommand(transfer(scsi.OpWrite10, 0, 1), 0, 512)
	next := c.newCommand(scsi.TestUnitReadyCDB(), 0, 0)
	c.send(&next, nil) // waits for its turn
	if r := c.manage(iscsi.AbortTask, naming(&late)); r != iscsi.TaskFunctionComplete {
		t.Errorf("ABORT TASK: %v", r)
	}
	if r := c.finish(&next, nil); r.status != scsi.StatusGood {
		t.Errorf("the command after it: %v", r.status)
	}
	c.send(&late, pattern(512, 1))
	c.ping()
	if got := c.good(transfer(scsi.OpRead10, 0, 1), 512, nil); !bytes.Equal(got.data, make([]byte, 512)) {
		t.Error("the aborted write was carried out")
	}
}

func TestResetReachesOthers(t *testing.T) {
	addr := serveDisk(t, store.NewMemory(diskSize))
	a := connect(t, addr, withISID(1), allByR2T).ready()
	b := connect(t, addr, withISID(2), allByR2T).ready()
	_, _ = a.openWrite(0)
	_, _ = b.openWrite(8)
	if r := a.manage(iscsi.LogicalUnitReset, nil); r != iscsi.TaskFunctionComplete {
		t.Errorf("LOGICAL UNIT RESET: %v", r)
	}
	for _, c := range []*client{a, b} {
		c.bad(scsi.TestUnitReadyCDB(), 0, nil, scsi.KeyUnitAttention, scsi.ASCDeviceReset)
		c.good(scsi.TestUnitReadyCDB(), 0, nil)
	}
	if r := b.manage(iscsi.TargetWarmReset, nil); r != iscsi.TaskFunctionComplete {
		t.Errorf("TARGET WARM RESET: %v", r)
	}
	for _, c := range []*client{a, b} {
		c.bad(scsi.TestUnitReadyCDB(), 0, nil, scsi.KeyUnitAttention, scsi.ASCBusReset)
	}
	if r := b.manage(iscsi.TargetColdReset, nil); r != iscsi.TaskFunctionComplete {
		t.Errorf("TARGET COLD RESET: %v", r)
	}
	a.expectDropped()
	b.expectDropped()
}

// TestAbortTaskSetSparesOthers aborts what one session does on one unit, and
// nothing else.
func TestAbortTaskSetSparesOthers(t *testing.T) {
	addr, _ := serve(t, target.Config{Targets: []*target.Target{{Name: testTarget, LUNs: []target.LUN{
		{Number: 0, Store: store.NewMemory(diskSize)}, {Number: 1, Store: store.NewMemory(diskSize)},
	}}}})
	a := connect(t, addr, withISID(1), allByR2T).ready()
	b := connect(t, addr, withISID(2), allByR2T).ready()
	a.lun, _ = iscsi.MakeLUN(1)
	a.ready()
	onOther, r2tOther := a.openWrite(0)
	a.lun = 0
	_, _ = a.openWrite(0)
	ofB, r2tB := b.openWrite(0)
	if r := a.manage(iscsi.AbortTaskSet, nil); r != iscsi.TaskFunctionComplete {
		t.Errorf("ABORT TASK SET: %v", r)
	}
	a.dataOut(&onOther, r2tOther.TTT, make([]byte, 512), 0, 512)
	if r := a.finish(&onOther, nil); r.status != scsi.StatusGood {
		t.Errorf("on the other unit: %v", r.status)
	}
	b.dataOut(&ofB, r2tB.TTT, make([]byte, 512), 0, 512)
	if r := b.finish(&ofB, nil); r.status != scsi.StatusGood {
		t.Errorf("of the other session: %v", r.status)
	}
}

func TestManagementRefused(t *testing.T) {
	c := connect(t, serveDisk(t, store.NewMemory(diskSize))).ready()
	noLUN := func(p *iscsi.TaskManagementRequest) { p.LUN, _ = iscsi.MakeLUN(7) }
	for _, tc := range []struct {
		f      iscsi.TaskFunction
		change func(*iscsi.TaskManagementRequest)
		want   iscsi.TaskResponse
	}{
		{iscsi.LogicalUnitReset, noLUN, iscsi.TaskLUNDoesNotExist},
		{iscsi.AbortTaskSet, noLUN, iscsi.TaskLUNDoesNotExist},
		{iscsi.AbortTask, nil, iscsi.TaskDoesNotExist},
		{iscsi.TaskReassign, nil, iscsi.TaskReassignNotSupported},
		{iscsi.ClearACA, nil, iscsi.TaskFunctionNotSupported},
		{iscsi.QueryTask, nil, iscsi.TaskFunctionNotSupported},
	} {
		if got := c.manage(tc.f, tc.change); got != tc.want {
			t.Errorf("%v: %v, want %v", tc.f, got, tc.want)
		}
	}
	c.good(scsi.TestUnitReadyCDB(), 0, nil)
}

// TestOrderedTasks expects an ORDERED task to wait for those before it and to be
// waited for by those after it, but not by a HEAD OF QUEUE one.
func TestOrderedTasks(t *testing.T) {
	g := newGated(store.NewMemory(diskSize))
	c := connect(t, serveDisk(t, g)).ready()
	send := func(cdb scsi.CDB, in int, a iscsi.TaskAttribute) iscsi.SCSICommand {
		p := c.newCommand(cdb, in, 0)
		p.Attribute = a
		c.send(&p, nil)
		return p
	}
	before := send(transfer(scsi.OpRead10, 0, 1), 512, iscsi.Simple)
	<-g.entered
	ordered := send(scsi.TestUnitReadyCDB(), 0, iscsi.Ordered)
	after := send(scsi.TestUnitReadyCDB(), 0, iscsi.Simple)
	aborted := send(scsi.TestUnitReadyCDB(), 0, iscsi.Simple)
	head := send(scsi.TestUnitReadyCDB(), 0, iscsi.HeadOfQueue)
	if r := c.finish(&head, nil); r.status != scsi.StatusGood {
		t.Errorf("HEAD OF QUEUE: %v", r.status)
	}
	if r := c.manage(iscsi.AbortTask, naming(&aborted)); r != iscsi.TaskFunctionComplete {
		t.Errorf("abort of a task that waits: %v", r)
	}
	close(g.gate)
	for _, p := range []iscsi.SCSICommand{before, ordered, after} {
		if r := c.finish(&p, nil); r.status != scsi.StatusGood {
			t.Errorf("task %d: %v", p.ITT, r.status)
		}
	}
	c.ping()
}

// TestQueries asks what RFC 7144 lets an initiator ask, and resets its nexus.
func TestQueries(t *testing.T) {
	newer := offering(func(o *iscsi.Offer) { o.ProtocolLevel = 2 })
	c := connect(t, serveDisk(t, store.NewMemory(diskSize)), allByR2T, newer)
	if got := c.manage(iscsi.QueryAsyncEvent, nil); got != iscsi.TaskFunctionSucceeded {
		t.Errorf("QUERY ASYNCHRONOUS EVENT with a unit attention: %v", got)
	}
	c.ready()
	cmd, _ := c.openWrite(0)
	other := func(p *iscsi.TaskManagementRequest) { p.ReferencedITT = 0x4711 }
	for i, tc := range []struct {
		function iscsi.TaskFunction
		change   func(*iscsi.TaskManagementRequest)
		want     iscsi.TaskResponse
	}{
		{iscsi.QueryAsyncEvent, nil, iscsi.TaskFunctionComplete},
		{iscsi.QueryTask, naming(&cmd), iscsi.TaskFunctionSucceeded},
		{iscsi.QueryTask, other, iscsi.TaskFunctionComplete},
		{iscsi.QueryTaskSet, nil, iscsi.TaskFunctionSucceeded},
		{iscsi.ITNexusReset, nil, iscsi.TaskFunctionComplete},
		{iscsi.QueryTaskSet, nil, iscsi.TaskFunctionComplete},
		{iscsi.TaskFunction(13), nil, iscsi.TaskFunctionNotSupported},
		{iscsi.ClearACA, nil, iscsi.TaskFunctionNotSupported}, // no NACA, no ACA
		{iscsi.QueryTaskSet, func(p *iscsi.TaskManagementRequest) { p.LUN = 9 << 48 }, iscsi.TaskLUNDoesNotExist},
	} {
		if got := c.manage(tc.function, tc.change); got != tc.want {
			t.Errorf("%d: %v: %v, want %v", i, tc.function, got, tc.want)
		}
	}
	c.bad(scsi.TestUnitReadyCDB(), 0, nil, scsi.KeyUnitAttention, scsi.ASCNexusLoss)

	old := connect(t, serveDisk(t, store.NewMemory(diskSize)))
	if got := old.manage(iscsi.QueryTaskSet, nil); got != iscsi.TaskFunctionNotSupported {
		t.Errorf("at protocol level 1: %v", got)
	}
}
