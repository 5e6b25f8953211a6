package iscsi

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
)

// ISID is the initiator's part of a session's identity (RFC 7143, 11.12.5). A
// target takes a login with the name, ISID and portal group of a live session
// as that session's reinstatement, so each session of an initiator to a portal
// group needs an ISID of its own, and keeps it when it reconnects.
type ISID [6]byte

// OUIISID returns an ISID under an IEEE company id, with a 24-bit qualifier.
// The id's I/G and U/L bits have no place in an ISID and are dropped.
func OUIISID(oui [3]byte, qualifier uint32) ISID {
	return ISID{oui[0] >> 2, oui[1], oui[2], byte(qualifier >> 16), byte(qualifier >> 8), byte(qualifier)}
}

// ENISID returns an ISID under an IANA enterprise number of 24 bits.
func ENISID(enterprise uint32, qualifier uint16) ISID {
	return ISID{0x40, byte(enterprise >> 16), byte(enterprise >> 8), byte(enterprise), byte(qualifier >> 8), byte(qualifier)}
}

// RandomISID returns an ISID of the random format with 24 random bits from
// crypto/rand and the given qualifier.
func RandomISID(qualifier uint16) ISID {
	isid := ISID{0: 0x80, 4: byte(qualifier >> 8), 5: byte(qualifier)}
	rand.Read(isid[1:4]) // never fails
	return isid
}

// Qualifier returns the last two bytes, by which the sessions of one initiator
// usually differ.
func (i ISID) Qualifier() uint16 { return uint16(i[4])<<8 | uint16(i[5]) }

// WithQualifier returns the ISID with its last two bytes replaced.
func (i ISID) WithQualifier(q uint16) ISID {
	i[4], i[5] = byte(q>>8), byte(q)
	return i
}

// String returns twelve hexadecimal digits.
func (i ISID) String() string { return hex.EncodeToString(i[:]) }

// ParseISID reads what String writes; a leading 0x is allowed.
func ParseISID(s string) (ISID, error) {
	digits := s
	if len(digits) == 14 && digits[0] == '0' && digits[1]|0x20 == 'x' {
		digits = digits[2:]
	}
	var i ISID
	if len(digits) != 2*len(i) {
		return ISID{}, fmt.Errorf("iscsi: ISID %q: want 12 hexadecimal digits", s)
	}
	if _, err := hex.Decode(i[:], []byte(digits)); err != nil {
		return ISID{}, fmt.Errorf("iscsi: ISID %q: want 12 hexadecimal digits: %w", s, err)
	}
	return i, nil
}
