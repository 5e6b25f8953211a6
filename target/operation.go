package target

import (
	"math/bits"

	"github.com/bootlun/bootlun/scsi"
)

// operation is a SCSI command that units carry out.
type operation struct {
	op     scsi.OpCode
	action int // service action, or noAction
	flags  opFlags

	// usage has a one in every bit of the CDB that is looked at (SPC-4, 6.35.3),
	// the first byte being the operation code.
	usage []byte

	// check takes the CDB apart: it sets off, length, in, want and fua, and
	// refuses what cannot be.
	check func(*task) error

	// take takes n bytes of data, in order, as they come. Without it, data is
	// gathered in params: want is at most maxBuffer.
	take func(t *task, p []byte, off int64, wait bool) error

	// run carries out the command when all data has been taken. Without wait it
	// may return errWait, and is called again with it; it then goes on where it
	// was.
	run func(t *task, wait bool) error
}

const noAction = -1

type opFlags uint16

const (
	// anyLUN: answered also where there is no unit (SPC-4, 5.12).
	anyLUN opFlags = 1 << iota
	// keepsAttention: does not report unit attentions (SAM-5, 5.14).
	keepsAttention
	// needsMedium: fails if the medium is out.
	needsMedium
	// writes: fails if the unit is read-only.
	writes
	// exactData: the initiator must send just as much as is wanted.
	exactData
	// needsThin: there only if the store can give back space.
	needsThin
	// strict: fails if a bit of the CDB is set that usage does not have.
	strict
	// duringSanitize: carried out also while the unit is being sanitized, or
	// when that has failed.
	duringSanitize
)

func (o *operation) is(f opFlags) bool { return o.flags&f != 0 }

// operationTable has the operations by operation code; those that share one are
// told apart by service action.
type operationTable [256][]*operation

func newOperationTable(lists ...[]operation) *operationTable {
	table := new(operationTable)
	for _, list := range lists {
		for i := range list {
			o := &list[i]
			table[o.op] = append(table[o.op], o)
		}
	}
	return table
}

// operations are those of the task's unit.
func (t *task) operations() *operationTable {
	if t.nx != nil && t.nx.u.isDisc() {
		return t.s.srv.ofDiscs
	}
	return t.s.srv.operations
}

// missing is the condition of a unit that does not have the operation.
func (o *operation) missing() error {
	if o.action == noAction {
		return errOpcode
	}
	return scsi.InvalidCDBField(1, 4)
}

// checkReserved fails if a bit of the CDB is set that usage does not have.
func (o *operation) checkReserved(cdb *scsi.CDB) error {
	for i, mask := range o.usage {
		if extra := cdb[i] &^ mask; i > 0 && extra != 0 {
			return scsi.InvalidCDBField(i, bits.Len8(extra)-1)
		}
	}
	return nil
}

// find returns the operation of a CDB, or why there is none.
func (table *operationTable) find(cdb *scsi.CDB) (*operation, error) {
	list := table[cdb.Op()]
	if len(list) == 0 {
		return nil, errOpcode
	}
	for _, o := range list {
		if o.action == noAction || o.action == int(cdb.ServiceAction()) {
			return o, nil
		}
	}
	return nil, scsi.InvalidCDBField(1, 4)
}

// naca is the bit of the CONTROL byte that asks for an ACA condition, which
// units do not have (SAM-5, 5.2).
const naca = 0x04

// prepare finds out what a new task is to do and whether that can be.
func (t *task) prepare() {
	if err := t.lookUp(); err != nil {
		t.fail(err)
		return
	}
	if err := t.op.check(t); err != nil {
		t.fail(err)
		return
	}
	if !t.fitExpected(int64(t.expOut)) {
		t.fail(errExpectedLength)
	}
}

// fitExpected fits what the command wants to what the initiator says it will
// send. A write of blocks becomes shorter, by whole ones (RFC 7143, 11.4.5.1);
// other data is needed all.
func (t *task) fitExpected(expected int64) bool {
	t.demand = t.want
	switch {
	case t.op.is(exactData) && t.want > 0 && t.want != expected:
		return false
	case t.want <= expected:
		return true
	case t.op.take == nil || expected%t.unit().blockSize() != 0:
		return false
	}
	t.want, t.length = expected, expected
	return true
}

// lookUp finds the task's unit and operation.
func (t *task) lookUp() error {
	var err error
	t.op, err = t.operations().find((*scsi.CDB)(&t.cdb))
	if t.nx == nil {
		switch {
		case t.lun == reportLUNs && err != nil:
			return err
		case t.lun == reportLUNs && !answersWellKnown(t.op):
			return errOpcode
		case t.lun != reportLUNs && (err != nil || !t.op.is(anyLUN)):
			return errLUN
		}
		return nil
	}
	t.nx.meter.underway.Add(1)
	if err != nil || !t.op.is(keepsAttention) {
		if sense, ok := t.nx.takeAttention(); ok {
			return &scsi.Error{Status: scsi.StatusCheckCondition, Sense: sense}
		}
	}
	if err != nil {
		return err
	}
	return t.admit()
}

// admit refuses an operation that the unit does not have, or cannot carry out as
// it is.
func (t *task) admit() error {
	u, cdb := t.nx.u, (*scsi.CDB)(&t.cdb)
	if err := t.nx.accessible(t.op.op); err != nil {
		return err
	}
	if t.nx.demand.Load() != 0 && t.nx.conflicts(permissionOf(t.op.op, t.op.action)|conditional(cdb)) {
		return errConflict
	}
	if t.op.is(strict) {
		if err := t.op.checkReserved(cdb); err != nil {
			return err
		}
	}
	if err := u.sanitizer.refuses(t.op); err != nil {
		return err
	}
	switch {
	case cdb.Control()&naca != 0:
		return scsi.InvalidCDBField(t.op.op.CDBLength()-1, 2)
	case t.op.is(needsMedium) && u.ejected.Load():
		return errNoMedium
	case t.op.is(writes) && u.writeProtected():
		return errWriteProtected
	case !u.supports(t.op):
		return t.op.missing()
	}
	return nil
}

// unit returns the task's unit. Operations that are anyLUN look at nx first.
func (t *task) unit() *unit { return t.nx.u }
