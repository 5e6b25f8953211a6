package scsi

// Error is a command that ended with a status other than GOOD. A target returns
// one from a command's execution and sends it; an initiator makes one from what
// it received.
type Error struct {
	Status Status
	Sense  Sense // valid if Status is StatusCheckCondition
}

// Error says what went wrong, as in "scsi: ILLEGAL REQUEST: Logical block address
// out of range (05/21/00)".
func (e *Error) Error() string {
	if e.Status == StatusCheckCondition {
		return "scsi: " + e.Sense.String()
	}
	return "scsi: " + e.Status.String()
}

// CheckCondition returns the error of a condition.
func CheckCondition(key SenseKey, asc ASC) *Error {
	return &Error{Status: StatusCheckCondition, Sense: Sense{Key: key, ASC: asc}}
}

// InvalidCDBField returns INVALID FIELD IN CDB for the field that starts at a bit
// of a byte. A negative bit points at the whole byte.
func InvalidCDBField(byteOffset, bit int) *Error {
	return invalidField(ASCInvalidFieldInCDB, false, byteOffset, bit)
}

// InvalidParameterField returns INVALID FIELD IN PARAMETER LIST, like
// InvalidCDBField.
func InvalidParameterField(byteOffset, bit int) *Error {
	return invalidField(ASCInvalidFieldInParameters, true, byteOffset, bit)
}

func invalidField(asc ASC, data bool, byteOffset, bit int) *Error {
	e := CheckCondition(KeyIllegalRequest, asc)
	e.Sense = e.Sense.WithField(FieldPointer{Data: data, Byte: uint16(byteOffset), HasBit: bit >= 0, Bit: uint8(max(bit, 0))})
	return e
}

// StatusError returns the error of a status without sense data, such as BUSY or
// RESERVATION CONFLICT.
func StatusError(s Status) *Error { return &Error{Status: s} }

// ResultError makes the error of a command's status and sense data as a target
// sent them, or returns nil if the command succeeded. Sense data that cannot be
// read becomes NO SENSE.
func ResultError(s Status, sense []byte) error {
	if s == StatusGood || s == StatusConditionMet {
		return nil
	}
	e := &Error{Status: s}
	if s == StatusCheckCondition {
		if parsed, err := ParseSense(sense); err == nil {
			e.Sense = parsed
		}
	}
	return e
}
