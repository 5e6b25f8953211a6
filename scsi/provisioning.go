package scsi

import (
	"encoding/binary"
	"fmt"
)

// UnmapRange is a range of blocks that UNMAP lets go of.
type UnmapRange struct {
	LBA    uint64
	Blocks uint32
}

// AppendUnmap appends the parameter list of UNMAP (SBC-4, 5.35.2).
func AppendUnmap(dst []byte, ranges []UnmapRange) []byte {
	dst = binary.BigEndian.AppendUint16(dst, uint16(6+16*len(ranges)))
	dst = binary.BigEndian.AppendUint16(dst, uint16(16*len(ranges)))
	dst = append(dst, 0, 0, 0, 0)
	for _, r := range ranges {
		dst = binary.BigEndian.AppendUint64(dst, r.LBA)
		dst = binary.BigEndian.AppendUint32(dst, r.Blocks)
		dst = append(dst, 0, 0, 0, 0)
	}
	return dst
}

// ParseUnmap reads the parameter list of UNMAP. A list without a whole header is
// an error; descriptors that the list's lengths leave out are ignored (SBC-4,
// 5.35.2).
func ParseUnmap(b []byte) ([]UnmapRange, error) {
	if len(b) < 8 {
		return nil, fmt.Errorf("scsi: UNMAP parameters: %d bytes, want at least 8", len(b))
	}
	data, n := int(binary.BigEndian.Uint16(b)), int(binary.BigEndian.Uint16(b[2:]))
	b = b[8:min(len(b), max(8, 2+data), 8+n)]
	ranges := make([]UnmapRange, 0, len(b)/16)
	for ; len(b) >= 16; b = b[16:] {
		ranges = append(ranges, UnmapRange{binary.BigEndian.Uint64(b), binary.BigEndian.Uint32(b[8:])})
	}
	return ranges, nil
}

// Provisioning states of blocks (SBC-4, 5.6.2).
const (
	BlocksMapped      = 0 // or the device cannot say
	BlocksDeallocated = 1
	BlocksAnchored    = 2
)

// LBAStatus is the provisioning state of a range of blocks.
type LBAStatus struct {
	LBA    uint64
	Blocks uint32
	State  uint8
}

// AppendLBAStatus appends GET LBA STATUS data (SBC-4, 5.6.2).
func AppendLBAStatus(dst []byte, list []LBAStatus) []byte {
	dst = binary.BigEndian.AppendUint32(dst, uint32(4+16*len(list)))
	dst = append(dst, 0, 0, 0, 0)
	for _, s := range list {
		dst = binary.BigEndian.AppendUint64(dst, s.LBA)
		dst = binary.BigEndian.AppendUint32(dst, s.Blocks)
		dst = append(dst, s.State&0xf, 0, 0, 0)
	}
	return dst
}

// ParseLBAStatus reads GET LBA STATUS data.
func ParseLBAStatus(b []byte) ([]LBAStatus, error) {
	if len(b) < 8 {
		return nil, fmt.Errorf("scsi: GET LBA STATUS data: %d bytes, want at least 8", len(b))
	}
	n := uint64(binary.BigEndian.Uint32(b)) + 4
	b = b[8:max(8, min(uint64(len(b)), n))]
	var list []LBAStatus
	for ; len(b) >= 16; b = b[16:] {
		list = append(list, LBAStatus{binary.BigEndian.Uint64(b), binary.BigEndian.Uint32(b[8:]), b[12] & 0xf})
	}
	return list, nil
}

// SupportedOp describes a command that a device has, for REPORT SUPPORTED OPERATION
// CODES (SPC-4, 6.35).
type SupportedOp struct {
	Op               OpCode
	HasServiceAction bool
	ServiceAction    uint16
	// Usage has the CDB's length, with a one in every bit that the device looks
	// at; its first byte is the operation code.
	Usage []byte
}

// timeoutsLength is the size of a command timeouts descriptor.
const timeoutsLength = 12

// AppendSupportedOps appends the list of all commands, with empty timeouts
// descriptors if they are asked for.
func AppendSupportedOps(dst []byte, ops []SupportedOp, timeouts bool) []byte {
	size := 8
	if timeouts {
		size += timeoutsLength
	}
	dst = binary.BigEndian.AppendUint32(dst, uint32(size*len(ops)))
	for _, o := range ops {
		dst = append(dst, byte(o.Op), 0, byte(o.ServiceAction>>8), byte(o.ServiceAction), 0,
			bit(timeouts, 0x02)|bit(o.HasServiceAction, 0x01))
		dst = binary.BigEndian.AppendUint16(dst, uint16(len(o.Usage)))
		if timeouts {
			dst = appendNoTimeouts(dst)
		}
	}
	return dst
}

// AppendSupportedOp appends the answer about one command; nil says that the device
// does not have it.
func AppendSupportedOp(dst []byte, o *SupportedOp, timeouts bool) []byte {
	if o == nil {
		return append(dst, 0, 0x01, 0, 0)
	}
	dst = append(dst, 0, 0x03|bit(timeouts, 0x80)) // supported as the standard has it
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(o.Usage)))
	dst = append(dst, o.Usage...)
	if timeouts {
		dst = appendNoTimeouts(dst)
	}
	return dst
}

func appendNoTimeouts(dst []byte) []byte {
	var b [timeoutsLength]byte
	b[1] = timeoutsLength - 2
	return append(dst, b[:]...)
}

// ParseSupportedOps reads the list of all commands. The list has the length of a
// CDB but not its usage: Usage holds the operation code and zeros.
func ParseSupportedOps(b []byte) ([]SupportedOp, error) {
	if len(b) < 4 {
		return nil, fmt.Errorf("scsi: supported operation codes: %d bytes, want at least 4", len(b))
	}
	n := uint64(binary.BigEndian.Uint32(b)) + 4
	b = b[4:min(uint64(len(b)), n)]
	var ops []SupportedOp
	for len(b) >= 8 {
		o := SupportedOp{Op: OpCode(b[0]), HasServiceAction: b[5]&0x01 != 0, ServiceAction: binary.BigEndian.Uint16(b[2:])}
		if length := binary.BigEndian.Uint16(b[6:]); length > 0 && length <= 260 {
			o.Usage = make([]byte, length)
			o.Usage[0] = b[0]
		}
		ops = append(ops, o)
		size := 8
		if b[5]&0x02 != 0 {
			size += timeoutsLength
		}
		b = b[min(size, len(b)):]
	}
	return ops, nil
}

// ParseSupportedOp reads the answer about one command: whether the device has it,
// and which bits of its CDB the device looks at. usage shares memory with b.
func ParseSupportedOp(b []byte) (supported bool, usage []byte, err error) {
	if len(b) < 4 {
		return false, nil, fmt.Errorf("scsi: supported operation code: %d bytes, want at least 4", len(b))
	}
	if support := b[1] & 7; support != 3 && support != 5 {
		return false, nil, nil
	}
	n := int(binary.BigEndian.Uint16(b[2:]))
	return true, b[4:min(len(b), 4+n)], nil
}
