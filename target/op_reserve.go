package target

import (
	"fmt"
	"slices"

	"github.com/bootlun/bootlun/iscsi"
	"github.com/bootlun/bootlun/scsi"
)

// Commands that reserve the unit (SPC-4, 6.15 and 6.16; SPC-2, 7.17 to 7.22).
var reserveOperations = []operation{
	{
		op: scsi.OpReserve6, action: noAction,
		usage: []byte{0x16, 0x11, 0, 0, 0, naca},
		check: checkNothing, run: runReserve,
	},
	{
		op: scsi.OpReserve10, action: noAction,
		usage: []byte{0x56, 0x13, 0, 0, 0, 0, 0, 0, 0, naca},
		check: checkNothing, run: runReserve,
	},
	{
		op: scsi.OpRelease6, action: noAction,
		usage: []byte{0x17, 0x11, 0, 0, 0, naca},
		check: checkNothing, run: runRelease,
	},
	{
		op: scsi.OpRelease10, action: noAction,
		usage: []byte{0x57, 0x13, 0, 0, 0, 0, 0, 0, 0, naca},
		check: checkNothing, run: runRelease,
	},
	reserveIn(scsi.ActionPRInReadKeys, (*unit).readKeys),
	reserveIn(scsi.ActionPRInReadReservation, (*unit).readReservation),
	reserveIn(scsi.ActionPRInReportCapabilities, (*unit).reportCapabilities),
	reserveIn(scsi.ActionPRInReadFullStatus, (*unit).readFullStatus),
	reserveOutOp(scsi.ActionPROutRegister),
	reserveOutOp(scsi.ActionPROutReserve),
	reserveOutOp(scsi.ActionPROutRelease),
	reserveOutOp(scsi.ActionPROutClear),
	reserveOutOp(scsi.ActionPROutPreempt),
	reserveOutOp(scsi.ActionPROutPreemptAbort),
	reserveOutOp(scsi.ActionPROutRegisterIgnore),
	reserveOutOp(scsi.ActionPROutRegisterAndMove),
}

// reserveIn makes the operation of a service action of PERSISTENT RESERVE IN.
func reserveIn(action int, data func(*unit, *reservations) []byte) operation {
	return operation{
		op: scsi.OpPersistentReserveIn, action: action,
		usage: []byte{0x5e, 0x1f, 0, 0, 0, 0, 0, 0xff, 0xff, naca},
		check: checkNothing,
		run: func(t *task, _ bool) error {
			u := t.unit()
			u.mu.Lock()
			reserved, r := u.reservedBy != nil, u.reservations
			u.mu.Unlock()
			if reserved {
				return errConflict // SPC-2, 5.5.1: whoever asks
			}
			t.reply(data(u, r), int(scsi.ParsePersistentReserveIn((*scsi.CDB)(&t.cdb)).Length))
			return nil
		},
	}
}

// reserveOutOp makes that of PERSISTENT RESERVE OUT.
func reserveOutOp(action int) operation {
	return operation{
		op: scsi.OpPersistentReserveOut, action: action,
		usage: []byte{0x5f, 0x1f, 0xff, 0, 0, 0xff, 0xff, 0xff, 0xff, naca},
		check: checkReserveOut, run: runReserveOut,
	}
}

func (u *unit) readKeys(r *reservations) []byte {
	keys := make([]uint64, len(r.list))
	for i, reg := range r.list {
		keys[i] = reg.key
	}
	return scsi.AppendReservationKeys(nil, r.generation, keys)
}

func (u *unit) readReservation(r *reservations) []byte {
	return scsi.Reservation{Generation: r.generation, Type: r.kind, Key: r.key()}.Append(nil)
}

func (u *unit) reportCapabilities(r *reservations) []byte {
	return scsi.AppendReservationCapabilities(nil, u.cfg.ReservationFile != "", r.persist)
}

func (u *unit) readFullStatus(r *reservations) []byte {
	list := make([]scsi.FullStatus, len(r.list))
	for i, reg := range r.list {
		list[i] = scsi.FullStatus{Key: reg.key, Initiator: reg.nexus.transportID()}
		if r.holds(reg.nexus) {
			list[i].Type = r.kind
		}
		if p := u.port(func(p *port) bool { return p.portID == reg.nexus.port }); p != nil {
			list[i].Port = p.relative
		}
	}
	return scsi.AppendFullStatus(nil, r.generation, list)
}

// maxReserveList bounds the parameter list of PERSISTENT RESERVE OUT.
const maxReserveList = 64 << 10

func checkReserveOut(t *task) error {
	c := scsi.ParsePersistentReserveOut((*scsi.CDB)(&t.cdb))
	switch c.Action {
	case scsi.ActionPROutReserve, scsi.ActionPROutRelease, scsi.ActionPROutPreempt, scsi.ActionPROutPreemptAbort:
		if c.Scope != 0 { // the whole unit
			return scsi.InvalidCDBField(2, 7)
		}
		if !scsi.ReservationType(c.Type).Valid() {
			return scsi.InvalidCDBField(2, 3)
		}
	}
	if c.Length < 24 || c.Length > maxReserveList {
		return errListLength
	}
	t.want = int64(c.Length)
	return nil
}

// runReserveOut carries out PERSISTENT RESERVE OUT: on a copy of the unit's
// reservations, which is kept over restarts before it holds.
func runReserveOut(t *task, wait bool) error {
	u := t.unit()
	o, err := t.reserveOut()
	if err != nil {
		return err
	}
	if !wait && (o.action == scsi.ActionPROutPreemptAbort || u.cfg.ReservationFile != "") {
		return errWait
	}
	aborted, err := u.reserveOut(o, t)
	if err != nil {
		return err
	}
	aborted.wait()
	return nil
}

// reserveOut reads what the task is to do.
func (t *task) reserveOut() (*reserveOut, error) {
	c := scsi.ParsePersistentReserveOut((*scsi.CDB)(&t.cdb))
	o := &reserveOut{action: c.Action, kind: scsi.ReservationType(c.Type), from: t.nx.name()}
	u, list := t.unit(), t.params.b[:t.want]
	if c.Action == scsi.ActionPROutRegisterAndMove {
		l, err := scsi.ParseRegisterAndMoveList(list)
		if err != nil {
			return nil, err
		}
		p := u.port(func(p *port) bool { return p.relative == l.Port })
		if p == nil {
			return nil, scsi.InvalidParameterField(18, -1)
		}
		if !l.Initiator.HasISID {
			return nil, scsi.InvalidParameterField(24, -1)
		}
		o.key, o.newKey, o.persist, o.unregister = l.Key, l.ActionKey, l.Persist, l.Unregister
		o.to = nexusName{normalName(l.Initiator.Initiator), l.Initiator.ISID, p.portID}
		return o, nil
	}
	l, err := scsi.ParseReserveOutList(list)
	if err != nil {
		return nil, err
	}
	o.key, o.newKey, o.persist, o.allPorts, o.specIPT = l.Key, l.ActionKey, l.Persist, l.AllPorts, l.SpecIPT
	o.ports = u.portIDs()
	for _, id := range l.Initiators {
		known := u.nexusesOf(id, o.from.port)
		if len(known) == 0 {
			return nil, scsi.InvalidParameterField(28, -1)
		}
		o.others = append(o.others, known...)
	}
	return o, nil
}

// normalName returns an initiator's name as sessions have it.
func normalName(name string) string {
	if normal, err := iscsi.ParseName(name); err == nil {
		return normal
	}
	return name
}

// nexusesOf returns the nexuses with a port that a TransportID stands for: one, or
// those that an initiator has sessions for.
func (u *unit) nexusesOf(id scsi.TransportID, p portID) []nexusName {
	name := normalName(id.Initiator)
	if id.HasISID {
		return []nexusName{{name, id.ISID, p}}
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	var all []nexusName
	for n := range u.nexuses {
		if own := n.name(); own.initiator == name && own.port == p && !slices.Contains(all, own) {
			all = append(all, own)
		}
	}
	return all
}

// cannotPersist is the condition of APTPL where nothing can be kept.
func (o *reserveOut) cannotPersist() error {
	if o.action == scsi.ActionPROutRegisterAndMove {
		return scsi.InvalidParameterField(17, 0)
	}
	return scsi.InvalidParameterField(20, 0)
}

// reserveOut carries out a service action, for a task, and tells the nexuses. What
// it aborts has to be waited for.
func (u *unit) reserveOut(o *reserveOut, by *task) (aborted aborting, err error) {
	u.reserving.Lock()
	defer u.reserving.Unlock()
	u.mu.Lock()
	reserved, old := u.reservedBy != nil, u.reservations
	u.mu.Unlock()
	if reserved {
		return nil, errConflict // SPC-2, 5.5.1
	}
	next := old.clone()
	if err := next.apply(o); err != nil {
		return nil, err
	}
	if next.persist && u.cfg.ReservationFile == "" {
		return nil, o.cannotPersist()
	}
	if next.persist || old.persist {
		if err := next.save(u.cfg.ReservationFile); err != nil {
			return nil, fmt.Errorf("keep reservations: %w", err)
		}
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.reservations = next
	u.enforce()
	for n := range u.nexuses {
		name := n.name()
		for _, a := range o.alerts {
			if a.nexus == name {
				n.alert(a.asc)
			}
		}
		if o.action == scsi.ActionPROutPreemptAbort && slices.Contains(o.preempted, name) {
			n.prevents = false
			aborted = append(aborted, n.s.abortMatching(func(t *task) bool { return t.nx == n && t != by }))
		}
	}
	return aborted, nil
}
