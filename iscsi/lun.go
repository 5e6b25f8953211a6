package iscsi

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
)

// LUN is a logical unit number as SAM codes it (SAM-5, 4.7): eight bytes in
// four levels, the first in the highest bits. Values compare with ==.
type LUN uint64

// MaxLUN is the largest number that MakeLUN takes.
const MaxLUN = 1<<14 - 1

// MakeLUN returns the LUN for a plain number: peripheral device addressing
// below 256, flat space addressing from there to MaxLUN.
func MakeLUN(n int) (LUN, error) {
	switch {
	case n < 0 || n > MaxLUN:
		return 0, fmt.Errorf("iscsi: LUN %d is not in 0..%d", n, MaxLUN)
	case n < 256:
		return LUN(n) << 48, nil
	default:
		return LUN(0x4000|n) << 48, nil
	}
}

// LUNFromBytes returns the LUN that is written in eight bytes, as PDUs, an iBFT and
// REPORT LUNS have it.
func LUNFromBytes(b [8]byte) LUN { return LUN(binary.BigEndian.Uint64(b[:])) }

// Bytes returns the eight bytes that LUNFromBytes reads.
func (l LUN) Bytes() (b [8]byte) {
	binary.BigEndian.PutUint64(b[:], uint64(l))
	return b
}

// Number returns the plain number of a single-level LUN in peripheral or flat
// space addressing; ok is false for every other form.
func (l LUN) Number() (n int, ok bool) {
	first := int(l >> 48)
	switch {
	case l<<16 != 0:
		return 0, false
	case first < 256: // peripheral device addressing on bus 0
		return first, true
	case first>>14 == 1: // flat space addressing
		return first & MaxLUN, true
	}
	return 0, false
}

// String returns the plain number in decimal where there is one, and otherwise
// the four levels in hexadecimal joined by "-", as RFC 4173 writes them.
func (l LUN) String() string {
	if n, ok := l.Number(); ok {
		return strconv.Itoa(n)
	}
	return fmt.Sprintf("%04x-%04x-%04x-%04x", uint16(l>>48), uint16(l>>32), uint16(l>>16), uint16(l))
}

// ParseLUN reads what String writes: a decimal number, or hexadecimal levels
// joined by "-" (missing levels are zero).
func ParseLUN(s string) (LUN, error) {
	if !strings.Contains(s, "-") {
		n, err := strconv.Atoi(s)
		if err != nil {
			return 0, fmt.Errorf("iscsi: LUN %q is neither a decimal number nor hexadecimal levels such as 4001-0000-0000-0000", s)
		}
		return MakeLUN(n)
	}
	levels := strings.Split(s, "-")
	if len(levels) > 4 {
		return 0, fmt.Errorf("iscsi: LUN %q has %d levels, more than 4", s, len(levels))
	}
	var l LUN
	for i, level := range levels {
		v, err := strconv.ParseUint(level, 16, 16)
		if err != nil {
			return 0, fmt.Errorf("iscsi: LUN %q: level %q is no 16-bit hexadecimal number", s, level)
		}
		l |= LUN(v) << (48 - 16*i)
	}
	return l, nil
}
