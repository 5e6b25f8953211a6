package target

import (
	"errors"
	"syscall"

	"github.com/bootlun/bootlun/scsi"
	"github.com/bootlun/bootlun/target/store"
)

// Conditions without particulars. Nobody changes them.
var (
	errTaskSetFull      = scsi.StatusError(scsi.StatusTaskSetFull)
	errLUN              = scsi.CheckCondition(scsi.KeyIllegalRequest, scsi.ASCLUNNotSupported)
	errOpcode           = scsi.CheckCondition(scsi.KeyIllegalRequest, scsi.ASCInvalidCommand)
	errLBA              = scsi.CheckCondition(scsi.KeyIllegalRequest, scsi.ASCLBAOutOfRange)
	errListLength       = scsi.CheckCondition(scsi.KeyIllegalRequest, scsi.ASCParameterListLength)
	errExpectedLength   = scsi.CheckCondition(scsi.KeyIllegalRequest, scsi.ASCInvalidFieldInInfoUnit)
	errParameter        = scsi.CheckCondition(scsi.KeyIllegalRequest, scsi.ASCInvalidFieldInParameters)
	errSaving           = scsi.CheckCondition(scsi.KeyIllegalRequest, scsi.ASCSavingParametersNotSupported)
	errRemovalPrevented = scsi.CheckCondition(scsi.KeyIllegalRequest, scsi.ASCMediumRemovalPrevented)
	errWriteProtected   = scsi.CheckCondition(scsi.KeyDataProtect, scsi.ASCWriteProtected)
	errNoSpace          = scsi.CheckCondition(scsi.KeyDataProtect, scsi.ASCSpaceAllocationFailed)
	errNoMedium         = scsi.CheckCondition(scsi.KeyNotReady, scsi.ASCMediumNotPresent)
	errMiscompare       = scsi.CheckCondition(scsi.KeyMiscompare, scsi.ASCMiscompareDuringVerify)
	errNoStore          = scsi.CheckCondition(scsi.KeyAbortedCommand, scsi.ASCCommunicationTimeout)
	errInternal         = scsi.CheckCondition(scsi.KeyHardwareError, scsi.ASCInternalTargetFailure)

	// Conditions of the iSCSI layer (RFC 7143, 11.4.7.2).
	errUnsolicited = scsi.CheckCondition(scsi.KeyAbortedCommand, scsi.ASCUnexpectedUnsolicitedData)
	errAmount      = scsi.CheckCondition(scsi.KeyAbortedCommand, scsi.ASCNotEnoughUnsolicitedData)
	errLostData    = scsi.CheckCondition(scsi.KeyAbortedCommand, scsi.ASCProtocolServiceCRCError)
	errDataTimeout = scsi.CheckCondition(scsi.KeyAbortedCommand, scsi.ASCInitiatorResponseTimeout)
)

// mediumError makes the condition of a store's error: of an access at off, or
// of a flush if that is negative.
func (u *unit) mediumError(err error, off int64, asc scsi.ASC) error {
	var cond *scsi.Error
	switch {
	case errors.As(err, &cond): // not the store's
		return err
	case errors.Is(err, store.ErrWouldBlock):
		return errWait
	case errors.Is(err, store.ErrReadOnly):
		return errWriteProtected
	case errors.Is(err, store.ErrOutOfRange):
		return errLBA
	}
	cause := &storeError{err: err, cond: scsi.CheckCondition(scsi.KeyMediumError, asc)}
	if asc == scsi.ASCWriteError {
		u.wear.writeErrors.Add(1)
	} else {
		u.wear.readErrors.Add(1)
	}
	switch {
	case errors.Is(err, store.ErrUnavailable):
		cause.cond = errNoStore
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		cause.cond = errNoSpace
	case off >= 0:
		cause.cond.Sense.HasInformation = true
		cause.cond.Sense.Information = uint64(off) >> u.shift
	}
	cause.lost = off < 0 && cause.cond != errNoStore
	return cause
}

// storeError is a condition that a store's error is the cause of: the initiator
// gets the condition, the log the error.
type storeError struct {
	err  error
	cond *scsi.Error
	lost bool // writes that were answered are not on the medium
}

func (e *storeError) Error() string { return e.err.Error() }

func (e *storeError) Unwrap() []error { return []error{e.err, e.cond} }

// fail makes the task one that ends with the condition err. The first counts.
// While data is awaited the caller holds s.mu; before and after, the task is its
// own.
func (t *task) fail(err error) {
	if t.failed {
		return
	}
	t.failed = true
	var cause *storeError
	if errors.As(err, &cause) {
		t.c.log.Error("store failed", "lun", t.lun.String(), "command", (*scsi.CDB)(&t.cdb).String(), "error", cause.err)
	}
	var cond *scsi.Error
	if !errors.As(err, &cond) {
		t.c.log.Error("command failed", "lun", t.lun.String(), "command", (*scsi.CDB)(&t.cdb).String(), "error", err)
		cond = errInternal
	}
	if cause != nil && cause.lost && t.nx != nil {
		t.nx.u.deferError(t.nx, cond.Sense)
	}
	t.status, t.sense = cond.Status, cond.Sense
}
