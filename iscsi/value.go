package iscsi

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
)

// ParseNumber reads a numerical value, decimal or hexadecimal after 0x
// (RFC 7143, 6.1, numerical-value).
func ParseNumber(s string) (uint64, error) {
	digits, base := s, 10
	if len(s) > 2 && hasPrefixFold(s, "0x") {
		digits, base = s[2:], 16
	}
	n, err := strconv.ParseUint(digits, base, 64)
	if err != nil {
		return 0, fmt.Errorf("%w: %.40q is no number", ErrBadText, s)
	}
	return n, nil
}

// ParseBool reads a boolean value: Yes or No.
func ParseBool(s string) (bool, error) {
	switch s {
	case "Yes":
		return true, nil
	case "No":
		return false, nil
	}
	return false, fmt.Errorf("%w: %.40q is neither Yes nor No", ErrBadText, s)
}

// FormatBool returns Yes or No.
func FormatBool(v bool) string {
	if v {
		return "Yes"
	}
	return "No"
}

// ParseList splits a list of values at its commas.
func ParseList(s string) []string { return strings.Split(s, ",") }

// ParseRange reads a numerical range such as 512~8192 (RFC 7143, 6.1).
func ParseRange(s string) (low, high uint64, err error) {
	first, last, found := strings.Cut(s, "~")
	if !found {
		return 0, 0, fmt.Errorf("%w: %.40q is no range", ErrBadText, s)
	}
	if low, err = ParseNumber(first); err != nil {
		return 0, 0, err
	}
	if high, err = ParseNumber(last); err != nil {
		return 0, 0, err
	}
	if low > high {
		return 0, 0, fmt.Errorf("%w: range %.40q runs backwards", ErrBadText, s)
	}
	return low, high, nil
}

// ParseBinary reads a binary or large-numerical value (RFC 7143, 6.1):
// hexadecimal after 0x, where an odd first digit stands for a byte of its own,
// or base64 after 0b.
func ParseBinary(s string) ([]byte, error) {
	switch {
	case len(s) > 2 && hasPrefixFold(s, "0x"):
		digits := s[2:]
		if len(digits)%2 == 1 {
			digits = "0" + digits
		}
		if b, err := hex.DecodeString(digits); err == nil {
			return b, nil
		}
	case len(s) > 2 && hasPrefixFold(s, "0b"):
		// Some senders leave out the padding.
		if b, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(s[2:], "=")); err == nil && len(b) > 0 {
			return b, nil
		}
	}
	return nil, fmt.Errorf("%w: a value of %d bytes is neither hexadecimal after 0x nor base64 after 0b", ErrBadText, len(s))
}

// FormatBinary returns a binary value in hexadecimal after 0x, which every
// implementation reads.
func FormatBinary(b []byte) string { return "0x" + hex.EncodeToString(b) }

func isBinary(s string) bool { return hasPrefixFold(s, "0x") || hasPrefixFold(s, "0b") }

func hasPrefixFold(s, prefix string) bool {
	return len(s) >= len(prefix) && strings.EqualFold(s[:len(prefix)], prefix)
}
