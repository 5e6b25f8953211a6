package target

import (
	"slices"

	"github.com/bootlun/bootlun/iscsi"
	"github.com/bootlun/bootlun/scsi"
)

// nexusName names an I_T nexus as reservations know it: an initiator port and a
// target port, whether there is a session or not.
type nexusName struct {
	initiator string
	isid      iscsi.ISID
	port      portID
}

func (n nexusName) transportID() scsi.TransportID {
	return scsi.TransportID{Initiator: n.initiator, HasISID: true, ISID: n.isid}
}

// registration is an I_T nexus that is registered.
type registration struct {
	nexus nexusName
	key   uint64
}

// reservations are a unit's persistent reservation and who is registered for it
// (SPC-4, 5.12). A service action changes a copy, which then takes the place of
// what was, all at once.
type reservations struct {
	generation uint32 // PRGENERATION
	persist    bool   // APTPL
	list       []registration
	kind       scsi.ReservationType // 0: there is no reservation
	holder     nexusName            // unless all registrants hold it
}

// maxRegistrations bounds a unit's list.
const maxRegistrations = 4096

func (r *reservations) clone() *reservations {
	c := *r
	c.list = slices.Clone(r.list)
	return &c
}

func (r *reservations) index(n nexusName) int {
	return slices.IndexFunc(r.list, func(reg registration) bool { return reg.nexus == n })
}

func (r *reservations) registered(n nexusName) bool { return r.index(n) >= 0 }

// holds tells whether a nexus holds the reservation.
func (r *reservations) holds(n nexusName) bool {
	if r.kind.AllRegistrants() {
		return r.registered(n)
	}
	return r.kind != 0 && r.holder == n
}

// key is what READ RESERVATION gives as the reservation's.
func (r *reservations) key() uint64 {
	if i := r.index(r.holder); r.kind != 0 && !r.kind.AllRegistrants() && i >= 0 {
		return r.list[i].key
	}
	return 0
}

// demand is what a command needs to be allowed to get past the reservation when it
// comes from a nexus (SPC-4, 5.12.1); 0 if nothing is in its way.
func (r *reservations) demand(n nexusName) permission {
	switch {
	case r.kind == 0, r.holds(n), r.kind.Registrants() && r.registered(n):
		return 0
	case r.kind.WriteOnly():
		return pastWriteExclusive
	}
	return pastExclusiveAccess
}

// alert is a unit attention condition that a service action causes.
type alert struct {
	nexus nexusName
	asc   scsi.ASC
}

// reserveOut is a PERSISTENT RESERVE OUT.
type reserveOut struct {
	action   uint8
	from     nexusName
	kind     scsi.ReservationType
	key      uint64   // RESERVATION KEY
	newKey   uint64   // SERVICE ACTION RESERVATION KEY
	persist  bool     // APTPL
	allPorts bool     // ALL_TG_PT
	ports    []portID // that the unit has; for allPorts

	specIPT    bool        // SPEC_I_PT
	others     []nexusName // that REGISTER is for besides from
	to         nexusName   // where REGISTER AND MOVE moves to
	unregister bool        // from, when it has moved

	alerts    []alert
	preempted []nexusName // whose registrations PREEMPT has removed
}

var (
	errConflict             = scsi.StatusError(scsi.StatusReservationConflict)
	errInvalidRelease       = scsi.CheckCondition(scsi.KeyIllegalRequest, scsi.ASCInvalidReleaseOfReservation)
	errTooManyRegistrations = scsi.CheckCondition(scsi.KeyIllegalRequest, scsi.ASCInsufficientRegistration)
)

// apply carries out a service action, or refuses it and leaves r in disorder.
func (r *reservations) apply(o *reserveOut) error {
	switch o.action {
	case scsi.ActionPROutRegister, scsi.ActionPROutRegisterIgnore:
		return r.register(o)
	}
	i := r.index(o.from)
	if i < 0 || r.list[i].key != o.key {
		return errConflict
	}
	switch o.action {
	case scsi.ActionPROutReserve:
		return r.reserve(o)
	case scsi.ActionPROutRelease:
		return r.release(o)
	case scsi.ActionPROutClear:
		r.clear(o)
		return nil
	case scsi.ActionPROutPreempt, scsi.ActionPROutPreemptAbort:
		return r.preempt(o)
	}
	return r.move(o)
}

// register registers, changes the key or ends a registration (SPC-4, 5.12.7).
func (r *reservations) register(o *reserveOut) error {
	i := r.index(o.from)
	ignore := o.action == scsi.ActionPROutRegisterIgnore
	switch {
	case !ignore && i < 0 && o.key != 0, !ignore && i >= 0 && r.list[i].key != o.key:
		return errConflict
	case o.specIPT && (ignore || i >= 0):
		return scsi.InvalidParameterField(20, 3)
	case i < 0 && o.newKey == 0:
		return nil
	}
	r.generation++
	r.persist = o.persist
	who := append([]nexusName{o.from}, o.others...)
	if o.allPorts {
		who = onPorts(who, o.ports)
	}
	for _, n := range who {
		if o.newKey == 0 {
			r.unregister(o, n)
			continue
		}
		r.set(n, o.newKey)
	}
	if len(r.list) > maxRegistrations {
		return errTooManyRegistrations
	}
	return nil
}

// onPorts returns the nexuses of the same initiator ports with all target ports.
func onPorts(who []nexusName, ports []portID) (all []nexusName) {
	for _, n := range who {
		all = append(all, n)
		for _, p := range ports {
			if p != n.port {
				all = append(all, nexusName{n.initiator, n.isid, p})
			}
		}
	}
	return all
}

// set registers a nexus or changes its key.
func (r *reservations) set(n nexusName, key uint64) {
	if i := r.index(n); i >= 0 {
		r.list[i].key = key
		return
	}
	r.list = append(r.list, registration{n, key})
}

// unregister ends a registration, and the reservation if it was its holder's.
// Those that had access by their registration are told (SPC-4, 5.12.11.2.3).
func (r *reservations) unregister(o *reserveOut, n nexusName) {
	held := r.holds(n)
	r.remove(func(reg registration) bool { return reg.nexus == n })
	if held && (!r.kind.AllRegistrants() || len(r.list) == 0) {
		r.drop(o)
	}
}

// remove ends registrations and returns whose they were.
func (r *reservations) remove(match func(registration) bool) (gone []nexusName) {
	r.list = slices.DeleteFunc(r.list, func(reg registration) bool {
		if !match(reg) {
			return false
		}
		gone = append(gone, reg.nexus)
		return true
	})
	return gone
}

// drop ends the reservation.
func (r *reservations) drop(o *reserveOut) {
	if r.kind.Registrants() {
		r.tell(o, scsi.ASCReservationsReleased)
	}
	r.kind, r.holder = 0, nexusName{}
}

// tell causes a unit attention condition for all that are registered but the
// sender.
func (r *reservations) tell(o *reserveOut, asc scsi.ASC) {
	for _, reg := range r.list {
		if reg.nexus != o.from {
			o.alerts = append(o.alerts, alert{reg.nexus, asc})
		}
	}
}

func (r *reservations) reserve(o *reserveOut) error {
	switch {
	case r.kind == 0:
		r.kind, r.holder = o.kind, o.from
	case !r.holds(o.from), r.kind != o.kind:
		return errConflict
	}
	return nil
}

func (r *reservations) release(o *reserveOut) error {
	switch {
	case !r.holds(o.from):
		return nil
	case r.kind != o.kind:
		return errInvalidRelease
	}
	r.drop(o)
	return nil
}

// clear ends everything (SPC-4, 5.12.11.2.5).
func (r *reservations) clear(o *reserveOut) {
	r.generation++
	r.tell(o, scsi.ASCReservationsPreempted)
	r.list, r.kind, r.holder = nil, 0, nexusName{}
}

// preempt ends the registrations of a key and takes the reservation over if it is
// that key's (SPC-4, 5.12.11.2.4).
func (r *reservations) preempt(o *reserveOut) error {
	takes := r.kind.AllRegistrants() && o.newKey == 0 || r.kind != 0 && !r.kind.AllRegistrants() && r.key() == o.newKey
	if o.newKey == 0 && !takes {
		return scsi.InvalidParameterField(8, -1)
	}
	o.preempted = r.remove(func(reg registration) bool {
		return (o.newKey == 0 || reg.key == o.newKey) && !(takes && reg.nexus == o.from)
	})
	if len(o.preempted) == 0 && !takes {
		return errConflict
	}
	r.generation++
	for _, n := range o.preempted {
		if n != o.from {
			o.alerts = append(o.alerts, alert{n, scsi.ASCRegistrationsPreempted})
		}
	}
	switch {
	case takes:
		if r.kind != o.kind {
			r.tell(o, scsi.ASCReservationsReleased)
		}
		r.kind, r.holder = o.kind, o.from
	case r.kind.AllRegistrants() && len(r.list) == 0:
		r.kind, r.holder = 0, nexusName{}
	}
	return nil
}

// move hands the reservation over to another nexus, registered with it (SPC-4,
// 5.12.8).
func (r *reservations) move(o *reserveOut) error {
	switch {
	case r.kind == 0:
		return scsi.InvalidCDBField(1, 4)
	case r.kind.AllRegistrants(), !r.holds(o.from):
		return errConflict
	case o.newKey == 0:
		return scsi.InvalidParameterField(8, -1)
	case o.to == o.from:
		return scsi.InvalidParameterField(24, -1)
	}
	r.generation++
	r.persist = o.persist
	r.set(o.to, o.newKey)
	r.holder = o.to
	if o.unregister {
		r.remove(func(reg registration) bool { return reg.nexus == o.from })
	}
	if len(r.list) > maxRegistrations {
		return errTooManyRegistrations
	}
	return nil
}
