package scsi

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Status is the outcome of a command (SAM-5, 5.3).
type Status uint8

// Statuses.
const (
	StatusGood                Status = 0x00
	StatusCheckCondition      Status = 0x02
	StatusConditionMet        Status = 0x04
	StatusBusy                Status = 0x08
	StatusReservationConflict Status = 0x18
	StatusTaskSetFull         Status = 0x28
	StatusACAActive           Status = 0x30
	StatusTaskAborted         Status = 0x40
)

// String names the status.
func (s Status) String() string {
	switch s {
	case StatusGood:
		return "GOOD"
	case StatusCheckCondition:
		return "CHECK CONDITION"
	case StatusConditionMet:
		return "CONDITION MET"
	case StatusBusy:
		return "BUSY"
	case StatusReservationConflict:
		return "RESERVATION CONFLICT"
	case StatusTaskSetFull:
		return "TASK SET FULL"
	case StatusACAActive:
		return "ACA ACTIVE"
	case StatusTaskAborted:
		return "TASK ABORTED"
	}
	return fmt.Sprintf("status 0x%02x", uint8(s))
}

// SenseKey is the kind of a condition (SPC-4, 4.5.6).
type SenseKey uint8

// Sense keys.
const (
	KeyNoSense        SenseKey = 0x0
	KeyRecoveredError SenseKey = 0x1
	KeyNotReady       SenseKey = 0x2
	KeyMediumError    SenseKey = 0x3
	KeyHardwareError  SenseKey = 0x4
	KeyIllegalRequest SenseKey = 0x5
	KeyUnitAttention  SenseKey = 0x6
	KeyDataProtect    SenseKey = 0x7
	KeyBlankCheck     SenseKey = 0x8
	KeyVendor         SenseKey = 0x9
	KeyCopyAborted    SenseKey = 0xa
	KeyAbortedCommand SenseKey = 0xb
	KeyVolumeOverflow SenseKey = 0xd
	KeyMiscompare     SenseKey = 0xe
	KeyCompleted      SenseKey = 0xf
)

// String names the key.
func (k SenseKey) String() string {
	return [16]string{
		"NO SENSE", "RECOVERED ERROR", "NOT READY", "MEDIUM ERROR", "HARDWARE ERROR", "ILLEGAL REQUEST",
		"UNIT ATTENTION", "DATA PROTECT", "BLANK CHECK", "VENDOR SPECIFIC", "COPY ABORTED",
		"ABORTED COMMAND", "RESERVED", "VOLUME OVERFLOW", "MISCOMPARE", "COMPLETED",
	}[k&0xf]
}

// Sense is what a device says about a condition, in either format (SPC-4, 4.5).
type Sense struct {
	Deferred bool // about an earlier command
	Key      SenseKey
	ASC      ASC
	Filemark bool
	EOM      bool
	ILI      bool
	// Information holds what HasInformation says it does: for most errors of a
	// disk, an LBA. The fixed format has room for 32 bits only.
	HasInformation bool
	Information    uint64
	CommandInfo    uint64 // COMMAND-SPECIFIC INFORMATION
	FRU            uint8
	// KeySpecific is the three bytes of SENSE KEY SPECIFIC; it is valid if the
	// top bit (SKSV) is set. See Field and Progress.
	KeySpecific [3]byte
}

// FieldPointer names the part of a CDB or parameter list that is in error
// (SPC-4, 4.5.2.4.2).
type FieldPointer struct {
	Data bool   // in the parameter list, not in the CDB
	Byte uint16 // offset
	// Bit is the field's leftmost bit in that byte if HasBit is set.
	HasBit bool
	Bit    uint8
}

// WithField returns s with the field in error.
func (s Sense) WithField(f FieldPointer) Sense {
	s.KeySpecific = [3]byte{
		0x80 | bit(!f.Data, 0x40) | bit(f.HasBit, 0x08|f.Bit&7),
		byte(f.Byte >> 8), byte(f.Byte),
	}
	return s
}

// Field returns the field in error, which an ILLEGAL REQUEST may have.
func (s *Sense) Field() (f FieldPointer, ok bool) {
	k := s.KeySpecific
	if s.Key != KeyIllegalRequest || k[0]&0x80 == 0 {
		return FieldPointer{}, false
	}
	f = FieldPointer{Data: k[0]&0x40 == 0, Byte: binary.BigEndian.Uint16(k[1:]), HasBit: k[0]&0x08 != 0}
	if f.HasBit {
		f.Bit = k[0] & 7
	}
	return f, true
}

// WithProgress returns s with how much of an operation is done, in 65536ths.
func (s Sense) WithProgress(done uint16) Sense {
	s.KeySpecific = [3]byte{0x80, byte(done >> 8), byte(done)}
	return s
}

// Progress returns how much of an operation is done, in 65536ths.
func (s *Sense) Progress() (done uint16, ok bool) {
	if s.KeySpecific[0]&0x80 == 0 || s.Key != KeyNotReady && s.Key != KeyNoSense {
		return 0, false
	}
	return binary.BigEndian.Uint16(s.KeySpecific[1:]), true
}

// String says what a person needs: "ILLEGAL REQUEST: Logical block address out of
// range (05/21/00)".
func (s Sense) String() string {
	text := fmt.Sprintf("%v: %v (%02x/%02x/%02x)", s.Key, s.ASC, uint8(s.Key), uint8(s.ASC>>8), uint8(s.ASC))
	if f, ok := s.Field(); ok {
		where := "CDB"
		if f.Data {
			where = "parameter list"
		}
		text += fmt.Sprintf(" at byte %d of the %s", f.Byte, where)
	}
	if s.HasInformation {
		text += fmt.Sprintf(", information 0x%x", s.Information)
	}
	return text
}

// MaxSenseLength is the most that AppendFixed or AppendDescriptor append.
const MaxSenseLength = 8 + 12 + 12 + 8 + 4 + 4

// FixedSenseLength is the length of what AppendFixed appends.
const FixedSenseLength = 18

// AppendFixed appends the sense data in fixed format (SPC-4, 4.5.3).
func (s *Sense) AppendFixed(dst []byte) []byte {
	var b [FixedSenseLength]byte
	b[0] = 0x70 | bit(s.Deferred, 0x01)
	if s.HasInformation && s.Information>>32 == 0 {
		b[0] |= 0x80
		binary.BigEndian.PutUint32(b[3:], uint32(s.Information))
	}
	b[2] = byte(s.Key)&0xf | s.streamBits()
	b[7] = FixedSenseLength - 8
	if s.CommandInfo>>32 == 0 {
		binary.BigEndian.PutUint32(b[8:], uint32(s.CommandInfo))
	}
	binary.BigEndian.PutUint16(b[12:], uint16(s.ASC))
	b[14] = s.FRU
	copy(b[15:], s.KeySpecific[:])
	return append(dst, b[:]...)
}

func (s *Sense) streamBits() byte {
	return bit(s.Filemark, 0x80) | bit(s.EOM, 0x40) | bit(s.ILI, 0x20)
}

// Types of sense data descriptors (SPC-4, 4.5.2.1).
const (
	descInformation = 0x00
	descCommandInfo = 0x01
	descKeySpecific = 0x02
	descFRU         = 0x03
	descStream      = 0x04
	descBlock       = 0x05
)

// AppendDescriptor appends the sense data in descriptor format (SPC-4, 4.5.2).
func (s *Sense) AppendDescriptor(dst []byte) []byte {
	start := len(dst)
	dst = append(dst, 0x72|bit(s.Deferred, 0x01), byte(s.Key)&0xf, byte(s.ASC>>8), byte(s.ASC), 0, 0, 0, 0)
	if s.HasInformation {
		dst = append(dst, descInformation, 10, 0x80, 0)
		dst = binary.BigEndian.AppendUint64(dst, s.Information)
	}
	if s.CommandInfo != 0 {
		dst = append(dst, descCommandInfo, 10, 0, 0)
		dst = binary.BigEndian.AppendUint64(dst, s.CommandInfo)
	}
	if k := s.KeySpecific; k[0]&0x80 != 0 {
		dst = append(dst, descKeySpecific, 6, 0, 0, k[0], k[1], k[2], 0)
	}
	if s.FRU != 0 {
		dst = append(dst, descFRU, 2, 0, s.FRU)
	}
	if b := s.streamBits(); b != 0 {
		dst = append(dst, descStream, 2, 0, b)
	}
	dst[start+7] = byte(len(dst) - start - 8)
	return dst
}

// ParseSense reads sense data in fixed or descriptor format. Data that is cut off
// gives what there is, from the sense key on.
func ParseSense(b []byte) (Sense, error) {
	if len(b) == 0 {
		return Sense{}, errors.New("scsi: sense data: empty")
	}
	switch code := b[0] & 0x7f; code {
	case 0x70, 0x71:
		return parseFixed(b)
	case 0x72, 0x73:
		return parseDescriptors(b)
	default:
		return Sense{}, fmt.Errorf("scsi: sense data: unknown response code 0x%02x", code)
	}
}

func parseFixed(b []byte) (Sense, error) {
	if len(b) < 3 {
		return Sense{}, fmt.Errorf("scsi: sense data: %d bytes, cut off before the sense key", len(b))
	}
	var f [FixedSenseLength]byte
	n := len(b)
	if n > 7 {
		n = min(n, 8+int(b[7]))
	}
	copy(f[:], b[:n])
	s := Sense{
		Deferred:       f[0]&0x01 != 0,
		Key:            SenseKey(f[2] & 0xf),
		HasInformation: f[0]&0x80 != 0,
		Information:    uint64(binary.BigEndian.Uint32(f[3:])),
		CommandInfo:    uint64(binary.BigEndian.Uint32(f[8:])),
		ASC:            ASC(binary.BigEndian.Uint16(f[12:])),
		FRU:            f[14],
		KeySpecific:    [3]byte(f[15:]),
	}
	s.setStreamBits(f[2])
	return s, nil
}

func (s *Sense) setStreamBits(b byte) {
	s.Filemark, s.EOM, s.ILI = b&0x80 != 0, b&0x40 != 0, b&0x20 != 0
}

func parseDescriptors(b []byte) (Sense, error) {
	if len(b) < 4 {
		return Sense{}, fmt.Errorf("scsi: sense data: %d bytes, cut off before the sense code", len(b))
	}
	s := Sense{
		Deferred: b[0]&0x01 != 0,
		Key:      SenseKey(b[1] & 0xf),
		ASC:      ASC(binary.BigEndian.Uint16(b[2:])),
	}
	if len(b) < 8 {
		return s, nil
	}
	rest := b[8:min(len(b), 8+int(b[7]))]
	for len(rest) >= 2 {
		n := 2 + int(rest[1])
		if n > len(rest) {
			break
		}
		s.parseDescriptor(rest[0], rest[2:n])
		rest = rest[n:]
	}
	return s, nil
}

// parseDescriptor takes the body of one descriptor; one that is too short is
// ignored.
func (s *Sense) parseDescriptor(kind byte, b []byte) {
	switch {
	case kind == descInformation && len(b) >= 10:
		s.HasInformation, s.Information = b[0]&0x80 != 0, binary.BigEndian.Uint64(b[2:])
	case kind == descCommandInfo && len(b) >= 10:
		s.CommandInfo = binary.BigEndian.Uint64(b[2:])
	case kind == descKeySpecific && len(b) >= 5:
		s.KeySpecific = [3]byte(b[2:])
	case kind == descFRU && len(b) >= 2:
		s.FRU = b[1]
	case kind == descStream && len(b) >= 2:
		s.setStreamBits(b[1])
	case kind == descBlock && len(b) >= 2:
		s.ILI = b[1]&0x20 != 0
	}
}
