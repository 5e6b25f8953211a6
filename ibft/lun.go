package ibft

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
)

// LUN is a logical unit number as SAM-5, 4.7 has it: four big-endian 16-bit groups, one a level.
type LUN [8]byte

// NewLUN returns the single-level LUN n (SAM-5, 4.7.6): by the peripheral method below 256, else by the flat one.
// n is at most 16383.
func NewLUN(n uint16) LUN {
	if n > 0xff {
		n = 0x4000 | n&0x3fff
	}
	var l LUN
	binary.BigEndian.PutUint16(l[:], n)
	return l
}

// ParseLUN reads the LUN field of a root path (RFC 4173, section 5): up to four groups of up to four hexadecimal
// digits joined by "-", where groups left out are zero. Empty means LUN 0.
func ParseLUN(s string) (LUN, error) {
	var l LUN
	if s == "" {
		return l, nil
	}
	groups := strings.Split(s, "-")
	if len(groups) > 4 {
		return LUN{}, fmt.Errorf("LUN %q: %d groups, at most 4 are possible", s, len(groups))
	}
	for i, g := range groups {
		v, err := strconv.ParseUint(g, 16, 16)
		if err != nil || len(g) > 4 {
			return LUN{}, fmt.Errorf("LUN %q: group %q is not one to four hexadecimal digits", s, g)
		}
		binary.BigEndian.PutUint16(l[2*i:], uint16(v))
	}
	return l, nil
}

// String returns the LUN in the shortest form that ParseLUN reads: "0", "1", "4186-9".
func (l LUN) String() string {
	last := 3
	for last > 0 && l.group(last) == 0 {
		last--
	}
	var b strings.Builder
	for i := range last + 1 {
		if i > 0 {
			b.WriteByte('-')
		}
		b.WriteString(strconv.FormatUint(uint64(l.group(i)), 16))
	}
	return b.String()
}

// singleLevel says whether the LUN is one that NewLUN makes.
func (l LUN) singleLevel() bool {
	method := l[0] >> 6
	return [6]byte(l[2:]) == [6]byte{} && (l[0] == 0 || method == 1)
}

func (l LUN) group(i int) uint16 { return binary.BigEndian.Uint16(l[2*i:]) }

// MarshalText returns String's form.
func (l LUN) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// UnmarshalText reads what ParseLUN reads.
func (l *LUN) UnmarshalText(text []byte) error {
	v, err := ParseLUN(string(text))
	if err == nil {
		*l = v
	}
	return err
}
