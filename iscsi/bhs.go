package iscsi

import (
	"encoding/binary"
	"fmt"
)

const (
	// BHSLength is the size of a basic header segment in bytes.
	BHSLength = 48
	// MaxAHSLength is the most bytes of additional header segments a PDU can
	// carry: TotalAHSLength counts four-byte words in one byte.
	MaxAHSLength = 255 * 4
	// MaxDataSegmentLength is the most bytes a data segment can have: the
	// length field has 24 bits.
	MaxDataSegmentLength = 1<<24 - 1
	// ReservedTag is the value of a task tag that names no task.
	ReservedTag uint32 = 0xffffffff
)

// Opcode says what a PDU is (RFC 7143, 11.2.1.2).
type Opcode uint8

// Opcodes of PDUs that an initiator sends.
const (
	OpNOPOut                Opcode = 0x00
	OpSCSICommand           Opcode = 0x01
	OpTaskManagementRequest Opcode = 0x02
	OpLoginRequest          Opcode = 0x03
	OpTextRequest           Opcode = 0x04
	OpDataOut               Opcode = 0x05
	OpLogoutRequest         Opcode = 0x06
	OpSNACK                 Opcode = 0x10
)

// Opcodes of PDUs that a target sends.
const (
	OpNOPIn                  Opcode = 0x20
	OpSCSIResponse           Opcode = 0x21
	OpTaskManagementResponse Opcode = 0x22
	OpLoginResponse          Opcode = 0x23
	OpTextResponse           Opcode = 0x24
	OpDataIn                 Opcode = 0x25
	OpLogoutResponse         Opcode = 0x26
	OpR2T                    Opcode = 0x31
	OpAsyncMessage           Opcode = 0x32
	OpReject                 Opcode = 0x3f
)

// String returns the name RFC 7143 gives the PDU type.
func (o Opcode) String() string {
	switch o {
	case OpNOPOut:
		return "NOP-Out"
	case OpSCSICommand:
		return "SCSI Command"
	case OpTaskManagementRequest:
		return "Task Management Request"
	case OpLoginRequest:
		return "Login Request"
	case OpTextRequest:
		return "Text Request"
	case OpDataOut:
		return "Data-Out"
	case OpLogoutRequest:
		return "Logout Request"
	case OpSNACK:
		return "SNACK"
	case OpNOPIn:
		return "NOP-In"
	case OpSCSIResponse:
		return "SCSI Response"
	case OpTaskManagementResponse:
		return "Task Management Response"
	case OpLoginResponse:
		return "Login Response"
	case OpTextResponse:
		return "Text Response"
	case OpDataIn:
		return "Data-In"
	case OpLogoutResponse:
		return "Logout Response"
	case OpR2T:
		return "R2T"
	case OpAsyncMessage:
		return "Async Message"
	case OpReject:
		return "Reject"
	}
	return fmt.Sprintf("opcode 0x%02x", uint8(o))
}

// Bits of a header's first two bytes that several PDU types share.
const (
	bitImmediate = 0x40 // byte 0, requests only
	bitFinal     = 0x80 // byte 1; the T bit of login PDUs
	bitContinue  = 0x40 // byte 1 of login and text PDUs
	opcodeMask   = 0x3f
)

// BHS is the basic header segment that starts every PDU (RFC 7143, 11.2.1).
// The accessors read the fields that have one place in most PDU types; the
// structs of this package give the rest a meaning.
type BHS [BHSLength]byte

// Opcode returns the PDU's type.
func (b *BHS) Opcode() Opcode { return Opcode(b[0] & opcodeMask) }

// Immediate reports whether a request is marked for immediate delivery.
func (b *BHS) Immediate() bool { return b[0]&bitImmediate != 0 }

// Final reports whether the F bit (T in login PDUs) is set.
func (b *BHS) Final() bool { return b[1]&bitFinal != 0 }

// AHSLength returns the bytes of additional header segments that follow.
func (b *BHS) AHSLength() int { return int(b[4]) * 4 }

// SetAHSLength sets the length of the additional header segments, in bytes; a
// length that is no multiple of four is rounded up. n is at most MaxAHSLength.
func (b *BHS) SetAHSLength(n int) { b[4] = byte((n + 3) / 4) }

// DataSegmentLength returns the bytes of the data segment, without padding.
func (b *BHS) DataSegmentLength() int {
	return int(b[5])<<16 | int(b[6])<<8 | int(b[7])
}

// SetDataSegmentLength sets the length of the data segment, without padding. n
// is at most MaxDataSegmentLength.
func (b *BHS) SetDataSegmentLength(n int) {
	b[5], b[6], b[7] = byte(n>>16), byte(n>>8), byte(n)
}

// LUN returns bytes 8 to 15, the logical unit in PDU types that have one.
func (b *BHS) LUN() LUN { return LUN(binary.BigEndian.Uint64(b[8:])) }

// ITT returns the Initiator Task Tag.
func (b *BHS) ITT() uint32 { return b.u32(16) }

// SetITT sets the Initiator Task Tag.
func (b *BHS) SetITT(tag uint32) { b.put32(16, tag) }

// TTT returns bytes 20 to 23, the Target Transfer Tag in PDU types that have
// one.
func (b *BHS) TTT() uint32 { return b.u32(20) }

// CmdSN returns bytes 24 to 27 of a request. Data-Out and SNACK have none.
func (b *BHS) CmdSN() uint32 { return b.u32(24) }

// ExpStatSN returns bytes 28 to 31 of a PDU that an initiator sends.
func (b *BHS) ExpStatSN() uint32 { return b.u32(28) }

// StatSN returns bytes 24 to 27 of a PDU that a target sends.
func (b *BHS) StatSN() uint32 { return b.u32(24) }

// ExpCmdSN returns bytes 28 to 31 of a PDU that a target sends.
func (b *BHS) ExpCmdSN() uint32 { return b.u32(28) }

// MaxCmdSN returns bytes 32 to 35 of a PDU that a target sends.
func (b *BHS) MaxCmdSN() uint32 { return b.u32(32) }

// SetResponseSN sets the sequence numbers of an encoded PDU from a target. They
// stand in one place in every such PDU, and a target knows them only when it
// puts the PDU in line.
func (b *BHS) SetResponseSN(statSN, expCmdSN, maxCmdSN uint32) {
	b.put32(24, statSN)
	b.put32(28, expCmdSN)
	b.put32(32, maxCmdSN)
}

// String names the PDU with its tag and lengths, for logs.
func (b *BHS) String() string {
	return fmt.Sprintf("%v itt=0x%08x ahs=%d data=%d", b.Opcode(), b.ITT(), b.AHSLength(), b.DataSegmentLength())
}

func (b *BHS) u16(off int) uint16       { return binary.BigEndian.Uint16(b[off:]) }
func (b *BHS) u32(off int) uint32       { return binary.BigEndian.Uint32(b[off:]) }
func (b *BHS) put16(off int, v uint16)  { binary.BigEndian.PutUint16(b[off:], v) }
func (b *BHS) put32(off int, v uint32)  { binary.BigEndian.PutUint32(b[off:], v) }
func (b *BHS) putLUN(l LUN)             { binary.BigEndian.PutUint64(b[8:], uint64(l)) }
func (b *BHS) bit(off int, m byte) bool { return b[off]&m != 0 }

func (b *BHS) setBit(off int, m byte, on bool) {
	if on {
		b[off] |= m
	}
}

// begin clears the header and sets the opcode and the I bit.
func (b *BHS) begin(op Opcode, immediate bool) {
	*b = BHS{byte(op)}
	b.setBit(0, bitImmediate, immediate)
}

// putRequestSN sets the sequence numbers that requests carry.
func (b *BHS) putRequestSN(cmdSN, expStatSN uint32) {
	b.put32(24, cmdSN)
	b.put32(28, expStatSN)
}
