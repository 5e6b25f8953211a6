package iscsi

import (
	"errors"
	"fmt"
)

// ErrWrongOpcode is what Decode returns for the header of another PDU type,
// and DecodePDU for a header of no type at all.
var ErrWrongOpcode = errors.New("iscsi: wrong opcode")

// A PDU is the decoded header of one PDU type. The structs have no hidden
// state: they may be copied and reused, and neither method allocates.
//
// Encode overwrites the whole header and leaves TotalAHSLength and
// DataSegmentLength zero: who frames the PDU sets them (Conn does). Decode
// fails with ErrWrongOpcode if the header is another type's and ignores
// reserved bits, as receivers must (RFC 7143, 11.1).
type PDU interface {
	Opcode() Opcode
	Encode(*BHS)
	Decode(*BHS) error
}

// DecodePDU decodes a header into a new struct of its type: *NOPOut,
// *SCSICommand and so on.
func DecodePDU(b *BHS) (PDU, error) {
	p := newPDU(b.Opcode())
	if p == nil {
		return nil, fmt.Errorf("%w: %v is no PDU type", ErrWrongOpcode, b.Opcode())
	}
	if err := p.Decode(b); err != nil {
		return nil, err
	}
	return p, nil
}

func newPDU(op Opcode) PDU {
	switch op {
	case OpNOPOut:
		return new(NOPOut)
	case OpSCSICommand:
		return new(SCSICommand)
	case OpTaskManagementRequest:
		return new(TaskManagementRequest)
	case OpLoginRequest:
		return new(LoginRequest)
	case OpTextRequest:
		return new(TextRequest)
	case OpDataOut:
		return new(DataOut)
	case OpLogoutRequest:
		return new(LogoutRequest)
	case OpSNACK:
		return new(SNACK)
	case OpNOPIn:
		return new(NOPIn)
	case OpSCSIResponse:
		return new(SCSIResponse)
	case OpTaskManagementResponse:
		return new(TaskManagementResponse)
	case OpLoginResponse:
		return new(LoginResponse)
	case OpTextResponse:
		return new(TextResponse)
	case OpDataIn:
		return new(DataIn)
	case OpLogoutResponse:
		return new(LogoutResponse)
	case OpR2T:
		return new(R2T)
	case OpAsyncMessage:
		return new(AsyncMessage)
	case OpReject:
		return new(Reject)
	}
	return nil
}

// want checks a header's opcode.
func (b *BHS) want(op Opcode) error {
	if b.Opcode() != op {
		return fmt.Errorf("%w: want %v, have %v", ErrWrongOpcode, op, b.Opcode())
	}
	return nil
}
