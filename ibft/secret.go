package ibft

import (
	"errors"
	"log/slog"
)

// mask is what every printed form of a secret shows, whatever its length.
const mask = "********"

// Secret is a CHAP secret. Every printed form masks it; Reveal alone gives it away.
type Secret string

// Reveal returns the secret itself.
func (s Secret) Reveal() string { return string(s) }

// String returns a mask, or nothing for an empty secret.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return mask
}

// GoString masks the secret in %#v.
func (s Secret) GoString() string { return `ibft.Secret("` + s.String() + `")` }

// LogValue masks the secret in structured logs.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText masks the secret in JSON and other text forms.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText takes the secret in clear. It refuses the mask, lest a table that was printed and read back
// log in with eight stars.
func (s *Secret) UnmarshalText(text []byte) error {
	if string(text) == mask {
		return errors.New("the secret is masked: print the table with its secrets revealed, or fill it in")
	}
	*s = Secret(text)
	return nil
}
