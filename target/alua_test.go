package target_test

import (
	"reflect"
	"testing"

	"github.com/bootlun/bootlun/iscsi"
	"github.com/bootlun/bootlun/scsi"
	"github.com/bootlun/bootlun/target"
	"github.com/bootlun/bootlun/target/store"
)

// twoPaths serves a disk by two targets of different target port groups, and logs
// in to both.
func twoPaths(t *testing.T, groups ...target.PortGroup) (srv *target.Server, a, b *client) {
	t.Helper()
	s := store.NewMemory(diskSize)
	addr, srv := serve(t, target.Config{PortGroups: groups, Targets: []*target.Target{
		{Name: testTarget, LUNs: []target.LUN{{Store: s}}},
		{Name: otherTarget, LUNs: []target.LUN{{Store: s}}, PortGroup: 7},
	}})
	return srv, connect(t, addr), connect(t, addr, toTarget(otherTarget))
}

func (c *client) portGroups() []scsi.PortGroup {
	c.t.Helper()
	groups, err := scsi.ParsePortGroups(c.good(scsi.ReportTargetPortGroups{Extended: true, Length: 4096}.CDB(), 4096, nil).data)
	if err != nil {
		c.t.Fatal(err)
	}
	return groups
}

func (c *client) wantPortGroups(want ...scsi.PortGroup) {
	c.t.Helper()
	if got := c.portGroups(); !reflect.DeepEqual(got, want) {
		c.t.Errorf("port groups\n     %+v\nwant %+v", got, want)
	}
}

// setPortGroups does SET TARGET PORT GROUPS.
func (c *client) setPortGroups(groups ...scsi.PortGroup) result {
	c.t.Helper()
	b := scsi.AppendSetPortGroups(nil, groups)
	return c.do(scsi.SetTargetPortGroups{Length: uint32(len(b))}.CDB(), 0, b)
}

func TestPortGroupsAreTold(t *testing.T) {
	_, a, b := twoPaths(t, target.PortGroup{ID: 7, State: scsi.ActiveNonOptimized, Preferred: true})
	a.ready()
	b.ready()
	for _, c := range []*client{a, b} {
		c.wantPortGroups(scsi.PortGroup{ID: 1, Ports: []uint16{1}},
			scsi.PortGroup{ID: 7, State: scsi.ActiveNonOptimized, Preferred: true, Ports: []uint16{2}})
		c.good(transfer(scsi.OpWrite10, 0, 1), 0, make([]byte, 512))
	}
	inquiry, err := scsi.ParseInquiryData(a.good(scsi.Inquiry{Length: 96}.CDB(), 96, nil).data)
	if err != nil || inquiry.TPGS != 3 || !inquiry.MultiPort {
		t.Errorf("INQUIRY data %+v, %v", inquiry, err)
	}
	page := b.good(scsi.Inquiry{VPD: true, Page: scsi.VPDDeviceID, Length: 1024}.CDB(), 1024, nil).data
	var names []string
	for _, d := range scsi.ParseDesignators(page[4:]) {
		if d.Association == scsi.OfTargetPort {
			names = append(names, d.String())
		}
	}
	if want := []string{"port 2", "port group 7", otherTarget + ",t,0x0001"}; !reflect.DeepEqual(names, want) {
		t.Errorf("the port is %q, want %q", names, want)
	}
	short := a.good(scsi.ReportTargetPortGroups{Length: 8}.CDB(), 8, nil).data
	if len(short) != 8 || short[3] != 24 {
		t.Errorf("of 8 bytes these come: %x", short)
	}
	a.bad(scsi.CDB{0xa3, 0x4a, 0, 0, 0, 0, 0, 0, 1}, 256, nil, scsi.KeyIllegalRequest, scsi.ASCInvalidFieldInCDB)
}

// TestPortGroupStates expects a unit to do by a port what its state allows.
func TestPortGroupStates(t *testing.T) {
	standby := []scsi.CDB{
		scsi.ModeSense{Page: 0x3f, Length: 255}.CDB(), scsi.PersistentReserveIn{Length: 8}.CDB(),
		scsi.ReadCapacity10CDB(), scsi.ReadCapacity16{Length: 32}.CDB(),
	}
	always := []scsi.CDB{
		scsi.Inquiry{Length: 96}.CDB(), scsi.ReportLUNs{Length: 64}.CDB(), scsi.RequestSense{Length: 18}.CDB(),
		scsi.ReportTargetPortGroups{Length: 64}.CDB(),
	}
	active := []scsi.CDB{
		scsi.TestUnitReadyCDB(), transfer(scsi.OpRead10, 0, 1), transfer(scsi.OpRead16, 0, 1),
		{0x16},
		{0x17},
		transfer(scsi.OpSynchronizeCache10, 0, 1), transfer(scsi.OpVerify10, 0, 1), scsi.StartStopUnit{Start: true}.CDB(),
	}
	srv, a, b := twoPaths(t)
	a.ready()
	b.ready()
	for _, tt := range []struct {
		state scsi.AccessState
		good  [][]scsi.CDB
		bad   [][]scsi.CDB
		asc   scsi.ASC
	}{
		{scsi.Standby, [][]scsi.CDB{always, standby}, [][]scsi.CDB{active}, scsi.ASCTargetPortStandby},
		{scsi.Unavailable, [][]scsi.CDB{always}, [][]scsi.CDB{standby, active}, scsi.ASCTargetPortUnavailable},
		{scsi.ActiveNonOptimized, [][]scsi.CDB{always, standby, active}, nil, 0},
		{scsi.ActiveOptimized, [][]scsi.CDB{always, standby, active}, nil, 0},
	} {
		for range 2 { // the second changes nothing
			if err := srv.SetPortGroup(target.PortGroup{ID: 7, State: tt.state}); err != nil {
				t.Fatal(err)
			}
		}
		for _, c := range []*client{a, b} {
			c.bad(transfer(scsi.OpRead10, 0, 1), 512, nil, scsi.KeyUnitAttention, scsi.ASCAsymmetricAccessChanged)
			c.wantPortGroups(scsi.PortGroup{ID: 1, Ports: []uint16{1}},
				scsi.PortGroup{ID: 7, State: tt.state, Status: scsi.AccessByImplicit, Ports: []uint16{2}})
		}
		for _, list := range tt.good {
			for _, cdb := range list {
				b.good(cdb, 512, nil)
			}
		}
		for _, list := range tt.bad {
			for _, cdb := range list {
				b.bad(cdb, 512, nil, scsi.KeyNotReady, tt.asc)
			}
		}
		a.good(scsi.TestUnitReadyCDB(), 0, nil)
	}
	for _, g := range []target.PortGroup{{ID: 0}, {ID: 1, State: scsi.Offline}} {
		if err := srv.SetPortGroup(g); err == nil {
			t.Errorf("%+v can be", g)
		}
	}
}

func TestSetTargetPortGroups(t *testing.T) {
	srv, a, b := twoPaths(t)
	a.ready()
	b.ready()
	if r := a.setPortGroups(scsi.PortGroup{ID: 1, State: scsi.Standby}, scsi.PortGroup{ID: 7, State: scsi.ActiveOptimized}); r.status != scsi.StatusGood {
		t.Fatalf("%v %v", r.status, r.sense)
	}
	a.bad(scsi.TestUnitReadyCDB(), 0, nil, scsi.KeyNotReady, scsi.ASCTargetPortStandby) // is not told what it has done
	b.wantAttentions(scsi.ASCAsymmetricAccessChanged)
	want := []scsi.PortGroup{
		{ID: 1, State: scsi.Standby, Status: scsi.AccessByCommand, Ports: []uint16{1}},
		{ID: 7, Status: scsi.AccessByCommand, Ports: []uint16{2}},
	}
	b.wantPortGroups(want...)
	for name, groups := range map[string][]scsi.PortGroup{
		"no such group": {{ID: 7, State: scsi.Standby}, {ID: 2}},
		"transitioning": {{ID: 7, State: scsi.Standby}, {ID: 1, State: scsi.Transitioning}},
		"offline":       {{ID: 7, State: scsi.Offline}},
	} {
		if r := b.setPortGroups(groups...); r.status != scsi.StatusCheckCondition || r.sense.ASC != scsi.ASCInvalidFieldInParameters {
			t.Errorf("%s: %v %v", name, r.status, r.sense)
		}
		b.wantPortGroups(want...)
	}
	b.good(scsi.SetTargetPortGroups{}.CDB(), 0, nil)
	b.bad(scsi.SetTargetPortGroups{Length: 6}.CDB(), 0, make([]byte, 6), scsi.KeyIllegalRequest, scsi.ASCParameterListLength)

	// The operator's word counts more, and for LUNs that come later.
	if err := srv.SetPortGroup(target.PortGroup{ID: 1, State: scsi.ActiveNonOptimized}); err != nil {
		t.Fatal(err)
	}
	a.wantAttentions(scsi.ASCAsymmetricAccessChanged)
	if err := srv.AddLUN(testTarget, target.LUN{Number: 1, Store: store.NewMemory(diskSize)}); err != nil {
		t.Fatal(err)
	}
	a.wantAttentions(scsi.ASCReportedLUNsChanged)
	a.onLUN(1).ready()
	a.wantPortGroups(scsi.PortGroup{ID: 1, State: scsi.ActiveNonOptimized, Ports: []uint16{1}})
}

// TestAttentionsQueue expects every kind of unit attention condition to wait for
// its turn, and none of the other nexuses' to be lost.
func TestAttentionsQueue(t *testing.T) {
	srv, a, b := twoPaths(t)
	a.ready()
	b.ready()
	a.reserves(actRegister, 0, 0, 1)
	b.reserves(actRegister, 0, 0, 2)
	a.reserves(actReserve, we, 1, 0)
	if err := srv.SetPortGroup(target.PortGroup{ID: 7, State: scsi.ActiveNonOptimized}); err != nil {
		t.Fatal(err)
	}
	a.wantAttentions(scsi.ASCAsymmetricAccessChanged)
	if err := srv.AddLUN(otherTarget, target.LUN{Number: 1, Store: store.NewMemory(diskSize)}); err != nil {
		t.Fatal(err)
	}
	a.reserves(actPreempt, we, 1, 2)
	if got := a.manage(iscsi.LogicalUnitReset, nil); got != iscsi.TaskFunctionComplete {
		t.Errorf("reset: %v", got)
	}
	b.wantAttentions(scsi.ASCAsymmetricAccessChanged, scsi.ASCReportedLUNsChanged, scsi.ASCRegistrationsPreempted, scsi.ASCDeviceReset)
	a.wantAttentions(scsi.ASCDeviceReset)
	b.want(conflict, transfer(scsi.OpWrite10, 0, 1), 0, make([]byte, 512)) // the reset has not ended the reservation
}
