package target

import (
	"github.com/bootlun/bootlun/scsi"
)

// permission says past which kinds of other nexuses' reservations a command may
// go. None is the strictest and what a command has that permissions does not name.
type permission uint8

const (
	pastReserve         permission = 1 << iota // RESERVE of SPC-2
	pastWriteExclusive                         // persistent reservations that allow reading
	pastExclusiveAccess                        // those that do not

	pastPersistent = pastWriteExclusive | pastExclusiveAccess
	pastAll        = pastReserve | pastPersistent
)

// permissions are the commands that reservations do not stop (SPC-4, table 66;
// SBC-4, table 13; MMC-6; for RESERVE SPC-2, tables 10 and 11, and SBC-2). The rows of
// PERSISTENT RESERVE and RESERVE say that those commands decide by themselves.
// What the tables have twice, depending on the CDB, is in conditional.
var permissions = map[scsi.OpCode]permission{
	scsi.OpInquiry:              pastAll,
	scsi.OpReportLUNs:           pastAll,
	scsi.OpRequestSense:         pastAll,
	scsi.OpLogSense:             pastAll,
	scsi.OpReadCapacity10:       pastAll,
	scsi.OpReserve6:             pastAll,
	scsi.OpReserve10:            pastAll,
	scsi.OpRelease6:             pastAll,
	scsi.OpRelease10:            pastAll,
	scsi.OpPersistentReserveIn:  pastAll,
	scsi.OpPersistentReserveOut: pastAll,
	scsi.OpTestUnitReady:        pastPersistent,
	scsi.OpModeSense6:           pastWriteExclusive,
	scsi.OpModeSense10:          pastWriteExclusive,
	scsi.OpReadBuffer:           pastWriteExclusive,
	scsi.OpReceiveDiagnostic:    pastWriteExclusive,
	scsi.OpReceiveCopyResults:   pastWriteExclusive,
	scsi.OpRead6:                pastWriteExclusive,
	scsi.OpRead10:               pastWriteExclusive,
	scsi.OpRead12:               pastWriteExclusive,
	scsi.OpRead16:               pastWriteExclusive,
	scsi.OpVerify10:             pastWriteExclusive,
	scsi.OpVerify12:             pastWriteExclusive,
	scsi.OpVerify16:             pastWriteExclusive,
	scsi.OpPreFetch10:           pastWriteExclusive,
	scsi.OpPreFetch16:           pastWriteExclusive,
	scsi.OpReadDefectData10:     pastWriteExclusive,
	scsi.OpReadDefectData12:     pastWriteExclusive,
	scsi.OpReadTOC:              pastWriteExclusive,
	scsi.OpReadDiscInformation:  pastWriteExclusive,
	scsi.OpReadTrackInformation: pastWriteExclusive,
	scsi.OpReadDiscStructure:    pastWriteExclusive,
	scsi.OpMechanismStatus:      pastWriteExclusive,
	scsi.OpGetConfiguration:     pastAll,
	scsi.OpGetEventStatus:       pastAll,
}

// actionPermissions are those of commands that share an operation code.
var actionPermissions = map[scsi.OpCode]map[int]permission{
	scsi.OpServiceActionIn16: {
		scsi.ActionReadCapacity16: pastAll,
		scsi.ActionGetLBAStatus:   pastWriteExclusive,
	},
	scsi.OpMaintenanceIn: {
		scsi.ActionReportTargetPortGroups: pastAll,
		scsi.ActionReportSupportedOpcodes: pastWriteExclusive,
		scsi.ActionReportSupportedTMFs:    pastWriteExclusive,
	},
}

// permissionOf returns what an operation may, whatever its CDB.
func permissionOf(op scsi.OpCode, action int) permission {
	return permissions[op] | actionPermissions[op][action]
}

// conditional returns what a command may because of what its CDB says.
func conditional(cdb *scsi.CDB) permission {
	switch cdb.Op() {
	case scsi.OpStartStopUnit:
		if c := scsi.ParseStartStopUnit(cdb); c.Start && c.PowerCondition == 0 {
			return pastAll
		}
	case scsi.OpPreventAllowRemoval:
		if !scsi.ParsePreventAllowRemoval(cdb).Prevent {
			return pastAll
		}
	}
	return 0
}

// conflicts tells whether a reservation of another nexus keeps a command away
// that has a permission.
func (n *nexus) conflicts(p permission) bool {
	need := permission(n.demand.Load())
	return need&^p != 0
}

// name returns the nexus as reservations know it.
func (n *nexus) name() nexusName {
	return nexusName{initiator: n.s.id.initiator, isid: n.s.id.isid, port: n.s.port.portID}
}

// enforce has reservations hold as they now are. The caller holds u.mu.
func (u *unit) enforce() {
	for n := range u.nexuses {
		n.enforce()
	}
}

// enforce is unit.enforce for one nexus.
func (n *nexus) enforce() {
	u := n.u
	need := u.reservations.demand(n.name())
	if u.reservedBy != nil && u.reservedBy.name() != n.name() {
		need = pastReserve
	}
	n.demand.Store(uint32(need))
}

// runReserve reserves the unit for the nexus, as SPC-2 has it (5.5.1 and 7.21).
func runReserve(t *task, _ bool) error {
	if t.cdb[1]&0x13 != 0 { // for a third party, or of extents
		return scsi.InvalidCDBField(1, 4)
	}
	n, u := t.nx, t.nx.u
	u.mu.Lock()
	defer u.mu.Unlock()
	if done, err := n.compatible(); done {
		return err
	}
	if u.reservedBy != nil && u.reservedBy.name() != n.name() {
		return errConflict
	}
	u.reservedBy = n
	u.enforce()
	return nil
}

// runRelease undoes that. Of a nexus that has not reserved it is in order and
// does nothing.
func runRelease(t *task, _ bool) error {
	if t.cdb[1]&0x13 != 0 {
		return scsi.InvalidCDBField(1, 4)
	}
	n, u := t.nx, t.nx.u
	u.mu.Lock()
	defer u.mu.Unlock()
	if done, err := n.compatible(); done {
		return err
	}
	if u.reservedBy != nil && u.reservedBy.name() == n.name() {
		u.unreserve()
	}
	return nil
}

// compatible answers RESERVE and RELEASE where there are registrations for
// persistent reservations: those who have access need nothing, others conflict
// (SPC-4, 5.12.3). The caller holds u.mu.
func (n *nexus) compatible() (done bool, err error) {
	r := n.u.reservations
	switch {
	case len(r.list) == 0:
		return false, nil
	case r.kind != 0 && r.registered(n.name()) && r.demand(n.name()) == 0:
		return true, nil
	}
	return true, errConflict
}

// unreserve ends what RESERVE began. The caller holds u.mu.
func (u *unit) unreserve() {
	if u.reservedBy != nil {
		u.reservedBy = nil
		u.enforce()
	}
}
