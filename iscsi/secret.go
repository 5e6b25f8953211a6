package iscsi

import (
	"fmt"
	"log/slog"
)

// masked is what stands for a secret wherever it could be seen.
const masked = "***"

// Secret is a CHAP secret. It does not print: fmt, log/slog and the encoders of
// JSON and text show *** in its place. Reveal is the one way to its bytes. (What
// encoding/json makes of a map's key and fmt of %p is out of a type's hands.)
type Secret string

// Reveal returns the secret itself.
func (s Secret) Reveal() string { return string(s) }

// String returns ***, or nothing for an empty secret.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return masked
}

// GoString returns what String does, quoted, for the %#v verb.
func (s Secret) GoString() string { return `"` + s.String() + `"` }

// LogValue masks the secret in log/slog records.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText masks the secret in every encoding that goes by text.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// MarshalJSON masks the secret in JSON.
func (s Secret) MarshalJSON() ([]byte, error) { return []byte(s.GoString()), nil }

// Format masks the secret under every verb of fmt, also those that do not suit
// a string.
func (s Secret) Format(f fmt.State, verb rune) {
	text := s.String()
	if verb == 'q' || verb == 'v' && f.Flag('#') {
		text = s.GoString()
	}
	fmt.Fprint(f, text)
}
