package initiator

import (
	"context"
	"fmt"

	"github.com/bootlun/bootlun/scsi"
)

// Register gives the device a key for this initiator on all paths of the LUN, in
// place of the old one, which is zero at first; a new key of zero takes the
// registration back (PERSISTENT RESERVE OUT; SPC-4, 6.16). With persist it
// outlives a loss of power of the device. A registration belongs to initiator name,
// ISID and target port: a session that logs in again has it still.
func (l *LUN) Register(ctx context.Context, old, key uint64, persist bool) error {
	list := scsi.ReserveOutList{Key: old, ActionKey: key, Persist: persist}
	for _, p := range l.paths {
		if err := l.reserveOut(ctx, []*path{p}, scsi.ActionPROutRegister, 0, list); err != nil {
			return err
		}
	}
	return nil
}

// Reserve reserves the disk with the key that was registered.
func (l *LUN) Reserve(ctx context.Context, key uint64, t scsi.ReservationType) error {
	return l.reserveOut(ctx, l.paths, scsi.ActionPROutReserve, t, scsi.ReserveOutList{Key: key})
}

// Release ends a reservation of this initiator; the type must be the reservation's.
func (l *LUN) Release(ctx context.Context, key uint64, t scsi.ReservationType) error {
	return l.reserveOut(ctx, l.paths, scsi.ActionPROutRelease, t, scsi.ReserveOutList{Key: key})
}

// ClearReservations ends the reservation and all registrations of everybody.
func (l *LUN) ClearReservations(ctx context.Context, key uint64) error {
	return l.reserveOut(ctx, l.paths, scsi.ActionPROutClear, 0, scsi.ReserveOutList{Key: key})
}

// Preempt takes the registrations with the victim's key away, and the reservation if
// they hold it. With abort, what commands the victim has there are ended first.
func (l *LUN) Preempt(ctx context.Context, key, victim uint64, t scsi.ReservationType, abort bool) error {
	action := uint8(scsi.ActionPROutPreempt)
	if abort {
		action = scsi.ActionPROutPreemptAbort
	}
	return l.reserveOut(ctx, l.paths, action, t, scsi.ReserveOutList{Key: key, ActionKey: victim})
}

func (l *LUN) reserveOut(ctx context.Context, paths []*path, action uint8, t scsi.ReservationType, list scsi.ReserveOutList) error {
	out := list.Append(nil)
	cdb := scsi.PersistentReserveOut{Action: action, Type: uint8(t), Length: uint32(len(out))}.CDB()
	_, err := l.command(ctx, paths, Command{CDB: cdb, Out: out})
	return err
}

// ReservationKeys returns all keys registered, and the count of changes to them
// (PERSISTENT RESERVE IN; SPC-4, 6.15).
func (l *LUN) ReservationKeys(ctx context.Context) (generation uint32, keys []uint64, err error) {
	b, err := l.reserveIn(ctx, scsi.ActionPRInReadKeys)
	if err != nil {
		return 0, nil, err
	}
	return scsi.ParseReservationKeys(b)
}

// Reservation returns who holds the disk; the type is zero if nobody does.
func (l *LUN) Reservation(ctx context.Context) (scsi.Reservation, error) {
	b, err := l.reserveIn(ctx, scsi.ActionPRInReadReservation)
	if err != nil {
		return scsi.Reservation{}, err
	}
	return scsi.ParseReservation(b)
}

// Registrations returns all registrations with their initiators, which not every
// device tells (READ FULL STATUS).
func (l *LUN) Registrations(ctx context.Context) (generation uint32, list []scsi.FullStatus, err error) {
	b, err := l.reserveIn(ctx, scsi.ActionPRInReadFullStatus)
	if err != nil {
		return 0, nil, err
	}
	return scsi.ParseFullStatus(b)
}

func (l *LUN) reserveIn(ctx context.Context, action uint8) ([]byte, error) {
	const size = 1<<16 - 1 // some eight thousand keys
	return l.query(ctx, scsi.PersistentReserveIn{Action: action, Length: size}.CDB(), make([]byte, size))
}

// PathState is what is known of a path of a LUN.
type PathState struct {
	Path
	// Connected says that the session takes commands, and the path leads to the
	// disk as far as that has been looked at.
	Connected bool
	// Group and State are the path's target port group and its access state; valid
	// if HasState is set.
	HasState bool
	Group    uint16
	State    scsi.AccessState
}

// Paths returns the LUN's paths in their order, with the access states heard last:
// see PortGroups.
func (l *LUN) Paths() []PathState {
	list := make([]PathState, len(l.paths))
	for i, p := range l.paths {
		state := p.state.Load()
		list[i] = PathState{Path: Path{p.s, p.id}, Connected: p.rank() != rankGone}
		if state < noState {
			list[i].HasState, list[i].Group, list[i].State = true, uint16(p.group.Load()), scsi.AccessState(state)
		}
	}
	return list
}

// PortGroups asks the device for its target port groups with their access states
// (REPORT TARGET PORT GROUPS; SPC-4, 6.37).
func (l *LUN) PortGroups(ctx context.Context) ([]scsi.PortGroup, error) {
	const size = 4096
	b, err := l.query(ctx, scsi.ReportTargetPortGroups{Length: size}.CDB(), make([]byte, size))
	if err != nil {
		return nil, err
	}
	groups, err := scsi.ParsePortGroups(b)
	if err != nil {
		return nil, l.wrap(fmt.Sprintf("REPORT TARGET PORT GROUPS on LUN %v", l.ID()), err)
	}
	l.spread(groups)
	return groups, nil
}
