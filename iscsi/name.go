package iscsi

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// MaxNameLength is the most bytes an iSCSI name can have (RFC 7143, 4.2.7.1).
const MaxNameLength = 223

// ErrBadName is wrapped by every error about an iSCSI name.
var ErrBadName = errors.New("iscsi: malformed name")

// ParseName checks an initiator's or target's name and returns it normalised
// (RFC 7143, 4.2.7; RFC 3722). Letters become lower case. The formats are
//
//	iqn.2001-04.com.example:storage.disk1   a domain and the month it was owned
//	eui.02004567A425678D                    an EUI-64: 16 hexadecimal digits
//	naa.52004567BA64678D                    an NAA: 16 or 32 hexadecimal digits
//
// Of the ASCII characters an iqn name has letters, digits, "-", "." and ":".
// Letters beyond ASCII are lower-cased but not folded by Unicode's
// compatibility forms.
func ParseName(s string) (string, error) {
	name := strings.ToLower(s)
	if err := checkLength(name); err != nil {
		return "", err
	}
	kind, rest, _ := strings.Cut(name, ".")
	var err error
	switch kind {
	case "iqn":
		err = checkIQN(rest)
	case "eui":
		err = checkHexDigits(rest, 16)
	case "naa":
		err = checkHexDigits(rest, 16, 32)
	default:
		err = errors.New(`it must start with "iqn.", "eui." or "naa."`)
	}
	if err != nil {
		return "", fmt.Errorf("%w %q: %w", ErrBadName, s, err)
	}
	return name, nil
}

// ValidateName reports what ParseName finds wrong with a name.
func ValidateName(s string) error {
	_, err := ParseName(s)
	return err
}

// peerName normalises a name that is in use. There are machines with names that
// ParseName refuses (an underscore from a host name, a date that is none), and
// refusing them would only lock them out, so the check is for what could do harm:
// length, and characters that do not print.
func peerName(s string) (string, error) {
	name := strings.ToLower(s)
	if err := checkLength(name); err != nil {
		return "", err
	}
	for _, r := range name {
		if r == utf8.RuneError || r <= ' ' || !unicode.IsPrint(r) {
			return "", fmt.Errorf("%w %q: character %q", ErrBadName, s, r)
		}
	}
	return name, nil
}

func checkLength(name string) error {
	if name == "" {
		return fmt.Errorf("%w: it is empty", ErrBadName)
	}
	if len(name) > MaxNameLength {
		return fmt.Errorf("%w %q...: %d bytes, at most %d are allowed", ErrBadName, name[:32], len(name), MaxNameLength)
	}
	return nil
}

// checkIQN checks what follows "iqn.": yyyy-mm.domain[:anything].
func checkIQN(rest string) error {
	for _, r := range rest {
		if !nameRune(r) {
			return fmt.Errorf("character %q is not allowed", r)
		}
	}
	authority, _, _ := strings.Cut(rest, ":")
	date, domain, found := strings.Cut(authority, ".")
	if !validDate(date) {
		return fmt.Errorf(`%q after "iqn." is no month such as 2001-04`, date)
	}
	if !found || domain == "" {
		return errors.New("the reversed domain name after the month is missing")
	}
	for label := range strings.SplitSeq(domain, ".") {
		if label == "" || label[0] == '-' || label[len(label)-1] == '-' {
			return fmt.Errorf("%q is no reversed domain name", domain)
		}
	}
	return nil
}

func nameRune(r rune) bool {
	switch {
	case r == utf8.RuneError:
		return false
	case r < utf8.RuneSelf:
		return 'a' <= r && r <= 'z' || '0' <= r && r <= '9' || r == '-' || r == '.' || r == ':'
	}
	return unicode.In(r, unicode.L, unicode.M, unicode.N)
}

// validDate reports whether s is a month written yyyy-mm.
func validDate(s string) bool {
	if len(s) != 7 || s[4] != '-' || !digits(s[:4]) || !digits(s[5:]) {
		return false
	}
	return s[5:] >= "01" && s[5:] <= "12"
}

func digits(s string) bool { return strings.Trim(s, "0123456789") == "" }

func checkHexDigits(s string, lengths ...int) error {
	if strings.Trim(s, "0123456789abcdef") != "" {
		return fmt.Errorf("%q has characters that are no hexadecimal digits", s)
	}
	for _, n := range lengths {
		if len(s) == n {
			return nil
		}
	}
	return fmt.Errorf("%d hexadecimal digits, want %s", len(s), strings.Trim(strings.Join(strings.Fields(fmt.Sprint(lengths)), " or "), "[]"))
}
