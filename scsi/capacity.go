package scsi

import (
	"encoding/binary"
	"fmt"
)

// Capacity is what READ CAPACITY tells (SBC-4, 5.20 and 5.21).
type Capacity struct {
	Blocks      uint64 // number of logical blocks, never 0 on the wire
	BlockLength uint32 // bytes per logical block
	// The rest is told by READ CAPACITY(16) only.
	ProtectionType   uint8 // 0 none, else the type of protection information, 1 to 3
	PhysicalExponent uint8 // 2^n logical blocks in a physical one
	LowestAligned    uint16
	Provisioned      bool // LBPME: thin or resource provisioned
	ReadZeros        bool // LBPRZ: unmapped blocks read as zeros
}

// Lengths of READ CAPACITY data.
const (
	Capacity10Length = 8
	Capacity16Length = 32
)

// Append10 appends READ CAPACITY(10) data. A disk that is too large for it sends
// the value that refers the initiator to READ CAPACITY(16).
func (c *Capacity) Append10(dst []byte) []byte {
	last := min(c.Blocks-1, 1<<32-1)
	dst = binary.BigEndian.AppendUint32(dst, uint32(last))
	return binary.BigEndian.AppendUint32(dst, c.BlockLength)
}

// Append16 appends READ CAPACITY(16) data.
func (c *Capacity) Append16(dst []byte) []byte {
	var b [Capacity16Length]byte
	binary.BigEndian.PutUint64(b[0:], c.Blocks-1)
	binary.BigEndian.PutUint32(b[8:], c.BlockLength)
	if c.ProtectionType > 0 {
		b[12] = (c.ProtectionType-1)&7<<1 | 0x01
	}
	b[13] = c.PhysicalExponent & 0xf
	binary.BigEndian.PutUint16(b[14:], c.LowestAligned&0x3fff)
	b[14] |= bit(c.Provisioned, 0x80) | bit(c.ReadZeros, 0x40)
	return append(dst, b[:]...)
}

// ParseCapacity10 reads READ CAPACITY(10) data. tooLarge says that only READ
// CAPACITY(16) can tell the number of blocks.
func ParseCapacity10(b []byte) (c Capacity, tooLarge bool, err error) {
	if len(b) < Capacity10Length {
		return Capacity{}, false, fmt.Errorf("scsi: READ CAPACITY(10) data: %d bytes, want %d", len(b), Capacity10Length)
	}
	last := binary.BigEndian.Uint32(b)
	c = Capacity{Blocks: uint64(last) + 1, BlockLength: binary.BigEndian.Uint32(b[4:])}
	return c, last == 1<<32-1, nil
}

// ParseCapacity16 reads READ CAPACITY(16) data, of which some devices send only
// the first twelve bytes.
func ParseCapacity16(received []byte) (Capacity, error) {
	if len(received) < 12 {
		return Capacity{}, fmt.Errorf("scsi: READ CAPACITY(16) data: %d bytes, want %d", len(received), Capacity16Length)
	}
	var b [Capacity16Length]byte
	copy(b[:], received)
	last := binary.BigEndian.Uint64(b[0:])
	if last == 1<<64-1 {
		return Capacity{}, fmt.Errorf("scsi: READ CAPACITY(16) data: last block address 0x%x", last)
	}
	c := Capacity{
		Blocks:           last + 1,
		BlockLength:      binary.BigEndian.Uint32(b[8:]),
		PhysicalExponent: b[13] & 0xf,
		LowestAligned:    binary.BigEndian.Uint16(b[14:]) & 0x3fff,
		Provisioned:      b[14]&0x80 != 0,
		ReadZeros:        b[14]&0x40 != 0,
	}
	if b[12]&0x01 != 0 {
		c.ProtectionType = b[12]>>1&7 + 1
	}
	return c, nil
}

// AppendLUNs appends REPORT LUNS data (SPC-4, 6.33). LUNs are in SAM's coding, as
// package iscsi has them.
func AppendLUNs(dst []byte, luns []uint64) []byte {
	dst = binary.BigEndian.AppendUint32(dst, uint32(8*len(luns)))
	dst = append(dst, 0, 0, 0, 0)
	for _, l := range luns {
		dst = binary.BigEndian.AppendUint64(dst, l)
	}
	return dst
}

// ParseLUNs reads REPORT LUNS data. total is how many LUNs there are, of which
// more may be known than were received: then ask again with 8+8*total bytes.
func ParseLUNs(b []byte) (luns []uint64, total int, err error) {
	if len(b) < 8 {
		return nil, 0, fmt.Errorf("scsi: REPORT LUNS data: %d bytes, want at least 8", len(b))
	}
	total = int(binary.BigEndian.Uint32(b) / 8)
	for b = b[8:]; len(b) >= 8 && len(luns) < total; b = b[8:] {
		luns = append(luns, binary.BigEndian.Uint64(b))
	}
	return luns, total, nil
}
