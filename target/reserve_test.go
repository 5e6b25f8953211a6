package target_test

import (
	"slices"
	"testing"

	"github.com/bootlun/bootlun/iscsi"
	"github.com/bootlun/bootlun/scsi"
	"github.com/bootlun/bootlun/target"
	"github.com/bootlun/bootlun/target/store"
)

// prOut does PERSISTENT RESERVE OUT.
func (c *client) prOut(action uint8, kind scsi.ReservationType, list scsi.ReserveOutList) result {
	c.t.Helper()
	b := list.Append(nil)
	return c.do(scsi.PersistentReserveOut{Action: action, Type: uint8(kind), Length: uint32(len(b))}.CDB(), 0, b)
}

// reserves does PERSISTENT RESERVE OUT and expects it to succeed.
func (c *client) reserves(action uint8, kind scsi.ReservationType, key, newKey uint64) {
	c.t.Helper()
	if r := c.prOut(action, kind, scsi.ReserveOutList{Key: key, ActionKey: newKey}); r.status != scsi.StatusGood {
		c.t.Errorf("service action %d of type %v: %v %v", action, kind, r.status, r.sense)
	}
}

func (c *client) prIn(action uint8) []byte {
	c.t.Helper()
	return c.good(scsi.PersistentReserveIn{Action: action, Length: 8192}.CDB(), 8192, nil).data
}

func (c *client) keys() (generation uint32, keys []uint64) {
	c.t.Helper()
	generation, keys, err := scsi.ParseReservationKeys(c.prIn(scsi.ActionPRInReadKeys))
	if err != nil {
		c.t.Fatal(err)
	}
	return generation, keys
}

func (c *client) reservation() scsi.Reservation {
	c.t.Helper()
	r, err := scsi.ParseReservation(c.prIn(scsi.ActionPRInReadReservation))
	if err != nil {
		c.t.Fatal(err)
	}
	return r
}

func (c *client) fullStatus() []scsi.FullStatus {
	c.t.Helper()
	_, list, err := scsi.ParseFullStatus(c.prIn(scsi.ActionPRInReadFullStatus))
	if err != nil {
		c.t.Fatal(err)
	}
	return list
}

// attentions takes all unit attention conditions that wait for the client.
func (c *client) attentions() (all []scsi.ASC) {
	c.t.Helper()
	for {
		r := c.do(scsi.TestUnitReadyCDB(), 0, nil)
		if r.sense.Key != scsi.KeyUnitAttention {
			return all
		}
		all = append(all, r.sense.ASC)
	}
}

func (c *client) wantAttentions(want ...scsi.ASC) {
	c.t.Helper()
	if got := c.attentions(); !slices.Equal(got, want) {
		c.t.Errorf("unit attentions %v, want %v", got, want)
	}
}

// want expects a status.
func (c *client) want(status scsi.Status, cdb scsi.CDB, in int, out []byte) {
	c.t.Helper()
	if r := c.do(cdb, in, out); r.status != status {
		c.t.Errorf("%v: %v %v, want %v", &cdb, r.status, r.sense, status)
	}
}

// three are three initiators of a disk: of one target twice, and of another that
// has the same disk.
func three(t *testing.T) (a, b, c *client) {
	t.Helper()
	addr, _ := serveShared(t, store.NewMemory(diskSize))
	return to(t, addr, testTarget, 0, withISID(1)), to(t, addr, testTarget, 0, withISID(2)), to(t, addr, otherTarget, 3, withISID(3))
}

// Reservations that a command may meet: RESERVE of SPC-2 and the persistent types.
const (
	byReserve = 1 << iota
	writeExclusive
	exclusiveAccess
	everywhere = byReserve | writeExclusive | exclusiveAccess
)

// matrix has, for commands of somebody else, past which reservations they get.
var matrix = []struct {
	name string
	cdb  scsi.CDB
	in   int
	out  int
	past int
}{
	{"INQUIRY", scsi.Inquiry{Length: 96}.CDB(), 96, 0, everywhere},
	{"REPORT LUNS", scsi.ReportLUNs{Length: 64}.CDB(), 64, 0, everywhere},
	{"REQUEST SENSE", scsi.RequestSense{Length: 18}.CDB(), 18, 0, everywhere},
	{"READ CAPACITY(10)", scsi.ReadCapacity10CDB(), 8, 0, everywhere},
	{"READ CAPACITY(16)", scsi.ReadCapacity16{Length: 32}.CDB(), 32, 0, everywhere},
	{"TEST UNIT READY", scsi.TestUnitReadyCDB(), 0, 0, writeExclusive | exclusiveAccess},
	{"MODE SENSE(6)", scsi.ModeSense{Page: 0x3f, Length: 255}.CDB(), 255, 0, writeExclusive},
	{"MODE SENSE(10)", scsi.ModeSense{Ten: true, Page: 0x3f, Length: 255}.CDB(), 255, 0, writeExclusive},
	{"MODE SELECT(6)", scsi.ModeSelect{PageFormat: true}.CDB(), 0, 0, 0},
	{"REPORT SUPPORTED OPERATION CODES", scsi.ReportSupportedOpcodes{Length: 64}.CDB(), 64, 0, writeExclusive},
	{"READ(6)", transfer(scsi.OpRead6, 0, 1), 512, 0, writeExclusive},
	{"READ(10)", transfer(scsi.OpRead10, 0, 1), 512, 0, writeExclusive},
	{"READ(12)", transfer(scsi.OpRead12, 0, 1), 512, 0, writeExclusive},
	{"READ(16)", transfer(scsi.OpRead16, 0, 1), 512, 0, writeExclusive},
	{"PRE-FETCH(10)", transfer(scsi.OpPreFetch10, 0, 1), 0, 0, writeExclusive},
	{"VERIFY(10)", transfer(scsi.OpVerify10, 0, 1), 0, 0, writeExclusive},
	{"VERIFY(16)", transfer(scsi.OpVerify16, 0, 1), 0, 0, writeExclusive},
	{"GET LBA STATUS", scsi.GetLBAStatus{Length: 24}.CDB(), 24, 0, writeExclusive},
	{"READ DEFECT DATA(10)", scsi.CDB{0x37, 0, 0x08, 0, 0, 0, 0, 0, 8}, 8, 0, writeExclusive},
	{"LOG SENSE", scsi.CDB{0x4d, 0, 0x40, 0, 0, 0, 0, 0, 64}, 64, 0, everywhere},
	{"REPORT TARGET PORT GROUPS", scsi.ReportTargetPortGroups{Length: 64}.CDB(), 64, 0, everywhere},
	{"RECEIVE COPY RESULTS", scsi.CDB{0x84, 0x03, 13: 64}, 64, 0, writeExclusive},
	{"SET TARGET PORT GROUPS", scsi.SetTargetPortGroups{}.CDB(), 0, 0, 0},
	{"EXTENDED COPY", scsi.CDB{0x83}, 0, 0, 0},
	{"SANITIZE, exit failure mode", scsi.CDB{0x48, 0x1f}, 0, 0, 0},
	{"WRITE(6)", transfer(scsi.OpWrite6, 0, 1), 0, 512, 0},
	{"WRITE(10)", transfer(scsi.OpWrite10, 0, 1), 0, 512, 0},
	{"WRITE(12)", transfer(scsi.OpWrite12, 0, 1), 0, 512, 0},
	{"WRITE(16)", transfer(scsi.OpWrite16, 0, 1), 0, 512, 0},
	{"WRITE ATOMIC(16)", transfer(scsi.OpWriteAtomic16, 0, 1), 0, 512, 0},
	{"ORWRITE(16)", transfer(scsi.OpOrWrite16, 0, 1), 0, 512, 0},
	{"WRITE AND VERIFY(10)", transfer(scsi.OpWriteAndVerify10, 0, 1), 0, 512, 0},
	{"COMPARE AND WRITE", transfer(scsi.OpCompareAndWrite, 0, 1), 0, 1024, 0},
	{"WRITE SAME(10)", transfer(scsi.OpWriteSame10, 0, 1), 0, 512, 0},
	{"WRITE SAME(16)", transfer(scsi.OpWriteSame16, 0, 1), 0, 512, 0},
	{"UNMAP", scsi.Unmap{}.CDB(), 0, 0, 0},
	{"SYNCHRONIZE CACHE(10)", transfer(scsi.OpSynchronizeCache10, 0, 1), 0, 0, 0},
	{"SYNCHRONIZE CACHE(16)", transfer(scsi.OpSynchronizeCache16, 0, 1), 0, 0, 0},
	{"START STOP UNIT, start", scsi.StartStopUnit{Start: true}.CDB(), 0, 0, everywhere},
	{"START STOP UNIT, stop", scsi.StartStopUnit{}.CDB(), 0, 0, 0},
	{"PREVENT", scsi.PreventAllowRemoval{Prevent: true}.CDB(), 0, 0, 0},
	{"ALLOW", scsi.PreventAllowRemoval{}.CDB(), 0, 0, everywhere},
	{"RELEASE(6)", scsi.CDB{0x17}, 0, 0, byReserve},
	{"RESERVE(6)", scsi.CDB{0x16}, 0, 0, 0},
	{"PERSISTENT RESERVE IN", scsi.PersistentReserveIn{Length: 8}.CDB(), 8, 0, writeExclusive | exclusiveAccess},
}

// conflicts does the commands of matrix and expects those to conflict that do not
// get past a kind of reservation; none does if that is 0.
func (c *client) conflicts(kind int) {
	c.t.Helper()
	for _, m := range matrix {
		r := c.do(m.cdb, m.in, make([]byte, m.out))
		if got, want := r.status == scsi.StatusReservationConflict, m.past&kind != kind; got != want {
			c.t.Errorf("%s: %v %v, want conflict: %v", m.name, r.status, r.sense, want)
		}
	}
}

func TestConflictMatrix(t *testing.T) {
	const keyA, keyB = 0xaaaa, 0xbbbb
	for _, tt := range []struct {
		kind               scsi.ReservationType
		stranger, partaker int // what commands meet of who is not registered, and of who is
	}{
		{scsi.WriteExclusive, writeExclusive, writeExclusive},
		{scsi.ExclusiveAccess, exclusiveAccess, exclusiveAccess},
		{scsi.WriteExclusiveRegistrantsOnly, writeExclusive, 0},
		{scsi.ExclusiveAccessRegistrantsOnly, exclusiveAccess, 0},
		{scsi.WriteExclusiveAllRegistrants, writeExclusive, 0},
		{scsi.ExclusiveAccessAllRegistrants, exclusiveAccess, 0},
	} {
		t.Run(tt.kind.String(), func(t *testing.T) {
			a, b, c := three(t)
			a.reserves(scsi.ActionPROutRegister, 0, 0, keyA)
			b.reserves(scsi.ActionPROutRegister, 0, 0, keyB)
			a.reserves(scsi.ActionPROutReserve, tt.kind, keyA, 0)
			c.conflicts(tt.stranger)
			b.conflicts(tt.partaker)
			a.conflicts(0)
		})
	}
	t.Run("RESERVE", func(t *testing.T) {
		a, b, c := three(t)
		a.want(scsi.StatusGood, scsi.CDB{0x16}, 0, nil)
		b.conflicts(byReserve)
		c.conflicts(byReserve)
		a.want(scsi.StatusGood, transfer(scsi.OpWrite10, 0, 1), 0, make([]byte, 512))
		a.want(scsi.StatusReservationConflict, scsi.PersistentReserveIn{Length: 8}.CDB(), 8, nil)
		if r := c.prOut(scsi.ActionPROutRegister, 0, scsi.ReserveOutList{ActionKey: 1}); r.status != scsi.StatusReservationConflict {
			t.Errorf("registration of a reserved unit: %v", r.status)
		}
	})
}

// TestReserveEnds expects RESERVE to last until it is undone, by any of the ways
// there are.
func TestReserveEnds(t *testing.T) {
	for name, end := range map[string]func(c *client){
		"RELEASE(6)":  func(c *client) { c.good(scsi.CDB{0x17}, 0, nil) },
		"RELEASE(10)": func(c *client) { c.good(scsi.CDB{0x57}, 0, nil) },
		"LUN reset":   func(c *client) { c.manage(iscsi.LogicalUnitReset, nil) },
		"warm reset":  func(c *client) { c.manage(iscsi.TargetWarmReset, nil) },
		"logout": func(c *client) {
			c.send(&iscsi.LogoutRequest{Immediate: true, Reason: iscsi.LogoutSession, ITT: c.itt, CmdSN: c.cmdSN, ExpStatSN: c.exp}, nil)
			c.expect(new(iscsi.LogoutResponse))
			c.expectClosed()
		},
	} {
		t.Run(name, func(t *testing.T) {
			ended := make(chan struct{}, 2)
			addr, _ := serve(t, target.Config{Targets: []*target.Target{disk(store.NewMemory(diskSize))}, Events: func(e target.Event) {
				if e.Kind == target.LogoutEvent {
					ended <- struct{}{}
				}
			}})
			a, b := connect(t, addr).ready(), connect(t, addr, withISID(2)).ready()
			for range 2 {
				a.want(scsi.StatusGood, scsi.CDB{0x56}, 0, nil)
			}
			b.want(scsi.StatusReservationConflict, scsi.CDB{0x56}, 0, nil)
			b.want(scsi.StatusGood, scsi.CDB{0x57}, 0, nil) // does nothing
			b.want(scsi.StatusReservationConflict, transfer(scsi.OpRead10, 0, 1), 512, nil)
			end(a)
			if name == "logout" {
				<-ended
			}
			b.attentions()
			b.want(scsi.StatusGood, scsi.CDB{0x16}, 0, nil)
		})
	}
	a, _, _ := three(t)
	a.bad(scsi.CDB{0x16, 0x10}, 0, nil, scsi.KeyIllegalRequest, scsi.ASCInvalidFieldInCDB) // third party
}

// TestReserveAmongRegistrants expects RESERVE and RELEASE to do nothing for who
// has access by a persistent reservation, and to conflict for others.
func TestReserveAmongRegistrants(t *testing.T) {
	a, b, c := three(t)
	a.reserves(scsi.ActionPROutRegister, 0, 0, 1)
	for _, cl := range []*client{a, b} { // there are registrations, but no reservation
		cl.want(scsi.StatusReservationConflict, scsi.CDB{0x16}, 0, nil)
		cl.want(scsi.StatusReservationConflict, scsi.CDB{0x17}, 0, nil)
	}
	a.reserves(scsi.ActionPROutReserve, scsi.WriteExclusive, 1, 0)
	a.want(scsi.StatusGood, scsi.CDB{0x16}, 0, nil)
	a.want(scsi.StatusGood, scsi.CDB{0x17}, 0, nil)
	c.want(scsi.StatusReservationConflict, scsi.CDB{0x16}, 0, nil)
	if r := a.reservation(); r.Type != scsi.WriteExclusive {
		t.Errorf("after RELEASE the persistent reservation is %+v", r)
	}
}
