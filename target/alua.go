package target

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"github.com/bootlun/bootlun/scsi"
)

// PortGroup is a target port group and how good a path to their disks its targets
// are, for initiators that choose among several (ALUA; SPC-4, 5.15).
type PortGroup struct {
	ID uint16

	// State is how the disks are reached by the group: [scsi.ActiveOptimized],
	// which is its zero value, [scsi.ActiveNonOptimized], [scsi.Standby] or
	// [scsi.Unavailable].
	State scsi.AccessState

	// Preferred tells initiators to use the group if its state is as good as
	// others'.
	Preferred bool
}

func (g *PortGroup) check() error {
	if g.ID == 0 {
		return fmt.Errorf("port group 0: groups are numbered from 1")
	}
	if g.State > scsi.Unavailable {
		return fmt.Errorf("port group %d: its state cannot be set to %v", g.ID, g.State)
	}
	return nil
}

// access is what a unit has of a target port group.
type access struct {
	state     scsi.AccessState
	preferred bool
	status    uint8 // what has changed it
}

// SetPortGroup puts a target port group into a state, and tells the initiators of
// every disk that its targets or others in company with them serve. It undoes what
// initiators have set themselves. It holds also for targets and LUNs that are
// added to the group later.
func (s *Server) SetPortGroup(g PortGroup) error {
	if err := g.check(); err != nil {
		return fmt.Errorf("target: %w", err)
	}
	d := s.devices
	d.mu.Lock()
	defer d.mu.Unlock()
	d.groups[g.ID] = access{state: g.State, preferred: g.Preferred}
	for _, u := range d.units {
		u.mu.Lock()
		if old := u.groups[g.ID]; u.groupPorts()[g.ID] != nil && (old.state != g.State || old.preferred != g.Preferred) {
			u.groups[g.ID] = access{g.State, g.Preferred, scsi.AccessByImplicit}
			u.accessChanged(nil)
		} else {
			u.groups[g.ID] = access{g.State, g.Preferred, old.status}
		}
		u.mu.Unlock()
	}
	s.log.Info("target port group changed", "group", g.ID, "state", g.State.String(), "preferred", g.Preferred)
	return nil
}

// groupPorts returns the relative identifiers of the ports by which the unit is
// reached, by target port group. The caller holds u.mu.
func (u *unit) groupPorts() map[uint16][]uint16 {
	ports := make(map[uint16][]uint16)
	for _, l := range u.locations {
		for p := range l.target.reachable() {
			if !slices.Contains(ports[p.group], p.relative) {
				ports[p.group] = append(ports[p.group], p.relative)
			}
		}
	}
	return ports
}

// portGroups describes the target port groups of the unit.
func (u *unit) portGroups() []scsi.PortGroup {
	u.mu.Lock()
	defer u.mu.Unlock()
	var groups []scsi.PortGroup
	for id, ports := range u.groupPorts() {
		a := u.groups[id]
		slices.Sort(ports)
		groups = append(groups, scsi.PortGroup{ID: id, State: a.state, Preferred: a.preferred, Status: a.status, Ports: ports})
	}
	slices.SortFunc(groups, func(a, b scsi.PortGroup) int { return cmp.Compare(a.ID, b.ID) })
	return groups
}

// setPortGroups puts groups into states as an initiator asks for: all, or none if
// one cannot be.
func (u *unit) setPortGroups(by *nexus, groups []scsi.PortGroup) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	ports, changed := u.groupPorts(), false
	next := maps.Clone(u.groups)
	for i, g := range groups {
		switch {
		case g.State > scsi.Unavailable:
			return scsi.InvalidParameterField(4+4*i, 3)
		case ports[g.ID] == nil:
			return scsi.InvalidParameterField(6+4*i, -1)
		}
		a := next[g.ID]
		changed = changed || a.state != g.State
		next[g.ID] = access{g.State, a.preferred, scsi.AccessByCommand}
	}
	u.groups = next
	if changed {
		u.accessChanged(by)
	}
	return nil
}

// accessChanged has the states of port groups hold, and tells all nexuses but the
// one that has asked for it. The caller holds u.mu.
func (u *unit) accessChanged(by *nexus) {
	for n := range u.nexuses {
		n.access.Store(uint32(u.groups[n.s.port.group].state))
		if n != by {
			n.alert(scsi.ASCAsymmetricAccessChanged)
		}
	}
}

// inStandby are the commands that a unit carries out by a port in standby (SPC-4,
// 5.15.2.4), and inUnavailable by one that is unavailable. Initiators find a disk
// and its size by a path in standby too: that is why the commands for that are
// there.
var (
	inUnavailable = []scsi.OpCode{
		scsi.OpInquiry, scsi.OpReportLUNs, scsi.OpRequestSense, scsi.OpMaintenanceIn, scsi.OpMaintenanceOut,
		scsi.OpReadBuffer, scsi.OpWriteBuffer,
	}
	inStandby = append([]scsi.OpCode{
		scsi.OpLogSelect, scsi.OpLogSense, scsi.OpModeSelect6, scsi.OpModeSelect10, scsi.OpModeSense6, scsi.OpModeSense10,
		scsi.OpReceiveDiagnostic, scsi.OpSendDiagnostic, scsi.OpPersistentReserveIn, scsi.OpPersistentReserveOut,
		scsi.OpReadCapacity10, scsi.OpServiceActionIn16,
	}, inUnavailable...)
)

var (
	errStandby     = scsi.CheckCondition(scsi.KeyNotReady, scsi.ASCTargetPortStandby)
	errUnavailable = scsi.CheckCondition(scsi.KeyNotReady, scsi.ASCTargetPortUnavailable)
)

// accessible refuses a command that the state of the nexus' port group does not
// allow.
func (n *nexus) accessible(op scsi.OpCode) error {
	switch state := scsi.AccessState(n.access.Load()); {
	case state == scsi.Standby && !slices.Contains(inStandby, op):
		return errStandby
	case state == scsi.Unavailable && !slices.Contains(inUnavailable, op):
		return errUnavailable
	}
	return nil
}

// Commands about target port groups (SPC-4, 6.37 and 6.45).
var portGroupOperations = []operation{
	{
		op: scsi.OpMaintenanceIn, action: scsi.ActionReportTargetPortGroups,
		usage: []byte{0xa3, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, naca},
		check: checkNothing, run: runReportPortGroups,
	},
	{
		op: scsi.OpMaintenanceOut, action: scsi.ActionSetTargetPortGroups,
		usage: []byte{0xa4, 0x1f, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, naca},
		check: checkSetPortGroups, run: runSetPortGroups,
	},
}

func runReportPortGroups(t *task, _ bool) error {
	if t.cdb[1]>>5 > 1 { // no such format
		return scsi.InvalidCDBField(1, 7)
	}
	c := scsi.ParseReportTargetPortGroups((*scsi.CDB)(&t.cdb))
	t.reply(scsi.AppendPortGroups(nil, t.unit().portGroups(), c.Extended), int(min(c.Length, 1<<31-1)))
	return nil
}

// maxPortGroupList bounds the parameter list of SET TARGET PORT GROUPS.
const maxPortGroupList = 4 << 10

func checkSetPortGroups(t *task) error {
	c := scsi.ParseSetTargetPortGroups((*scsi.CDB)(&t.cdb))
	if c.Length > maxPortGroupList {
		return errListLength
	}
	t.want = int64(c.Length)
	return nil
}

func runSetPortGroups(t *task, _ bool) error {
	if t.want == 0 {
		return nil
	}
	groups, err := scsi.ParseSetPortGroups(t.params.b[:t.want])
	if err != nil {
		return err
	}
	return t.unit().setPortGroups(t.nx, groups)
}
