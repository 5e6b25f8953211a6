package scsi

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Sanitize is SANITIZE (SBC-4, 5.30): it makes all data on the medium impossible
// to read.
type Sanitize struct {
	Action       uint8 // one of ActionSanitize...
	Immediate    bool  // answer when it has begun
	Unrestricted bool  // AUSE: a failure may be left by ActionSanitizeExitFailure
	Length       uint16
}

// CDB builds the command.
func (s Sanitize) CDB() CDB {
	c := CDB{byte(OpSanitize), s.Action&0x1f | bit(s.Immediate, 0x80) | bit(s.Unrestricted, 0x20)}
	c.put16(7, s.Length)
	return c
}

// ParseSanitize takes the command apart.
func ParseSanitize(c *CDB) Sanitize {
	return Sanitize{
		Action: c.ServiceAction(), Immediate: c[1]&0x80 != 0, Unrestricted: c[1]&0x20 != 0, Length: c.u16(7),
	}
}

// SanitizeOverwrite is the parameter list of an overwriting SANITIZE (SBC-4,
// 5.30.2.2).
type SanitizeOverwrite struct {
	Invert  bool  // invert the pattern after every pass
	Test    uint8 // vendor specific
	Count   uint8 // passes, 1 to 31
	Pattern []byte
}

// Append appends the list.
func (o *SanitizeOverwrite) Append(dst []byte) []byte {
	dst = append(dst, bit(o.Invert, 0x80)|o.Test&3<<5|o.Count&0x1f, 0)
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(o.Pattern)))
	return append(dst, o.Pattern...)
}

// ErrPatternCut is a parameter list whose pattern is longer than the list.
var ErrPatternCut = errors.New("scsi: SANITIZE parameters: pattern is cut off")

// ParseSanitizeOverwrite reads the list. Pattern shares memory with b.
func ParseSanitizeOverwrite(b []byte) (SanitizeOverwrite, error) {
	if len(b) < 4 {
		return SanitizeOverwrite{}, fmt.Errorf("scsi: SANITIZE parameters: %d bytes, want at least 4", len(b))
	}
	o := SanitizeOverwrite{Invert: b[0]&0x80 != 0, Test: b[0] >> 5 & 3, Count: b[0] & 0x1f}
	n := int(binary.BigEndian.Uint16(b[2:]))
	if 4+n > len(b) {
		return o, ErrPatternCut
	}
	o.Pattern = b[4 : 4+n : 4+n]
	return o, nil
}
