package iscsi

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// SCSICommand carries a CDB to a logical unit (RFC 7143, 11.3).
type SCSICommand struct {
	Immediate bool
	Final     bool // no unsolicited Data-Out PDUs follow
	Read      bool
	Write     bool
	Attribute TaskAttribute
	LUN       LUN
	ITT       uint32
	// ExpectedLength is the bytes the initiator expects to move: what it
	// writes if Write is set, else what it reads.
	ExpectedLength uint32
	CmdSN          uint32
	ExpStatSN      uint32
	CDB            [16]byte

	// ExtendedCDB holds a CDB's bytes after the 16th and BidiReadLength what a
	// command with both Read and Write expects to read. They travel in
	// additional header segments: see AppendAHS and DecodeAHS.
	ExtendedCDB    []byte
	BidiReadLength uint32
}

// Opcode returns OpSCSICommand.
func (*SCSICommand) Opcode() Opcode { return OpSCSICommand }

// Encode writes the basic header.
func (p *SCSICommand) Encode(b *BHS) {
	b.begin(OpSCSICommand, p.Immediate)
	b[1] = byte(p.Attribute) & 0x07
	b.setBit(1, bitFinal, p.Final)
	b.setBit(1, 0x40, p.Read)
	b.setBit(1, 0x20, p.Write)
	b.putLUN(p.LUN)
	b.put32(16, p.ITT)
	b.put32(20, p.ExpectedLength)
	b.putRequestSN(p.CmdSN, p.ExpStatSN)
	copy(b[32:], p.CDB[:])
}

// Decode reads the basic header and clears the two fields that DecodeAHS sets.
func (p *SCSICommand) Decode(b *BHS) error {
	if err := b.want(OpSCSICommand); err != nil {
		return err
	}
	*p = SCSICommand{
		Immediate:      b.Immediate(),
		Final:          b.Final(),
		Read:           b.bit(1, 0x40),
		Write:          b.bit(1, 0x20),
		Attribute:      TaskAttribute(b[1] & 0x07),
		LUN:            b.LUN(),
		ITT:            b.ITT(),
		ExpectedLength: b.u32(20),
		CmdSN:          b.CmdSN(),
		ExpStatSN:      b.ExpStatSN(),
		CDB:            [16]byte(b[32:]),
	}
	return nil
}

// Types of additional header segments (RFC 7143, 11.2.2.1).
const (
	ahsExtendedCDB    = 1
	ahsBidiReadLength = 2
)

// ErrBadAHS is wrapped by every error about additional header segments.
var ErrBadAHS = errors.New("iscsi: malformed additional header segment")

// AppendAHS appends the additional header segments that the command needs, each
// padded to four bytes. It appends nothing for most commands.
func (p *SCSICommand) AppendAHS(dst []byte) []byte {
	if n := len(p.ExtendedCDB); n > 0 {
		dst = binary.BigEndian.AppendUint16(dst, uint16(n+1)) // the length counts the reserved byte
		dst = append(dst, ahsExtendedCDB, 0)
		dst = append(dst, p.ExtendedCDB...)
		dst = append(dst, make([]byte, pad4(n))...)
	}
	if p.Read && p.Write {
		dst = append(dst, 0, 5, ahsBidiReadLength, 0)
		dst = binary.BigEndian.AppendUint32(dst, p.BidiReadLength)
	}
	return dst
}

// DecodeAHS reads the additional header segments. ExtendedCDB then shares memory
// with ahs. Segments of unknown types are skipped.
func (p *SCSICommand) DecodeAHS(ahs []byte) error {
	for len(ahs) > 0 {
		if len(ahs) < 4 {
			return fmt.Errorf("%w: %d bytes left, a segment has at least 4", ErrBadAHS, len(ahs))
		}
		length := int(binary.BigEndian.Uint16(ahs))
		whole := 3 + length + pad4(3+length)
		if length < 1 || whole > len(ahs) {
			return fmt.Errorf("%w: length %d with %d bytes left", ErrBadAHS, length, len(ahs))
		}
		body := ahs[4 : 3+length]
		switch ahs[2] {
		case ahsExtendedCDB:
			p.ExtendedCDB = body
		case ahsBidiReadLength:
			if len(body) != 4 {
				return fmt.Errorf("%w: bidirectional read length of %d bytes", ErrBadAHS, len(body))
			}
			p.BidiReadLength = binary.BigEndian.Uint32(body)
		}
		ahs = ahs[whole:]
	}
	return nil
}

// pad4 returns how many bytes bring n to a multiple of four.
func pad4(n int) int { return -n & 3 }

// SCSIResponse ends a command (RFC 7143, 11.4). Its data segment holds sense
// data: see AppendSense and SplitSense.
type SCSIResponse struct {
	Response CommandResponse
	Status   uint8 // SCSI status code; valid if Response is CommandCompleted
	// Overflow and Underflow say that the command had ResidualCount bytes more
	// or fewer to move than ExpectedLength. The Bidi fields say the same of the
	// read part of a bidirectional command.
	Overflow          bool
	Underflow         bool
	ResidualCount     uint32
	BidiOverflow      bool
	BidiUnderflow     bool
	BidiResidualCount uint32
	ITT               uint32
	SNACKTag          uint32
	StatSN            uint32
	ExpCmdSN          uint32
	MaxCmdSN          uint32
	ExpDataSN         uint32 // Data-In and R2T PDUs that the target sent
}

// Opcode returns OpSCSIResponse.
func (*SCSIResponse) Opcode() Opcode { return OpSCSIResponse }

// Encode writes the header.
func (p *SCSIResponse) Encode(b *BHS) {
	b.begin(OpSCSIResponse, false)
	b[1] = bitFinal
	b.setBit(1, 0x10, p.BidiOverflow)
	b.setBit(1, 0x08, p.BidiUnderflow)
	b.setBit(1, 0x04, p.Overflow)
	b.setBit(1, 0x02, p.Underflow)
	b[2], b[3] = byte(p.Response), p.Status
	b.put32(16, p.ITT)
	b.put32(20, p.SNACKTag)
	b.SetResponseSN(p.StatSN, p.ExpCmdSN, p.MaxCmdSN)
	b.put32(36, p.ExpDataSN)
	b.put32(40, p.BidiResidualCount)
	b.put32(44, p.ResidualCount)
}

// Decode reads the header.
func (p *SCSIResponse) Decode(b *BHS) error {
	if err := b.want(OpSCSIResponse); err != nil {
		return err
	}
	*p = SCSIResponse{
		Response:          CommandResponse(b[2]),
		Status:            b[3],
		Overflow:          b.bit(1, 0x04),
		Underflow:         b.bit(1, 0x02),
		ResidualCount:     b.u32(44),
		BidiOverflow:      b.bit(1, 0x10),
		BidiUnderflow:     b.bit(1, 0x08),
		BidiResidualCount: b.u32(40),
		ITT:               b.ITT(),
		SNACKTag:          b.u32(20),
		StatSN:            b.StatSN(),
		ExpCmdSN:          b.ExpCmdSN(),
		MaxCmdSN:          b.MaxCmdSN(),
		ExpDataSN:         b.u32(36),
	}
	return nil
}

// AppendSense appends sense data with its length in front, as the data segments
// of SCSIResponse and AsyncMessage carry it (RFC 7143, 11.4.7).
func AppendSense(dst, sense []byte) []byte {
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(sense)))
	return append(dst, sense...)
}

// SplitSense separates a data segment into sense data and what follows it. Both
// share memory with data; an empty segment has neither.
func SplitSense(data []byte) (sense, rest []byte, err error) {
	if len(data) == 0 {
		return nil, nil, nil
	}
	if len(data) < 2 {
		return nil, nil, errors.New("iscsi: sense data: segment ends inside its length")
	}
	n := int(binary.BigEndian.Uint16(data))
	if data = data[2:]; n > len(data) {
		return nil, nil, fmt.Errorf("iscsi: sense data: length %d, only %d bytes follow", n, len(data))
	}
	return data[:n], data[n:], nil
}
