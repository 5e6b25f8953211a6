package iscsi

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Limits of key=value text (RFC 7143, 6.1 and 6.2).
const (
	MaxKeyLength   = 63
	MaxValueLength = 255
	// MaxTextLength is the most bytes one side's text in a login or text
	// exchange may have over all its PDUs, unless more is allowed by name.
	MaxTextLength = 8192
)

// Values that answer a key instead of a value (RFC 7143, 6.2).
const (
	NotUnderstood = "NotUnderstood"
	Rejected      = "Reject"
	Irrelevant    = "Irrelevant"
)

// ErrBadText is wrapped by every error about the form of key=value text.
var ErrBadText = errors.New("iscsi: malformed text")

// KeyValue is one key=value pair.
type KeyValue struct{ Key, Value string }

// Text is the list of pairs of a login or text PDU, in their order on the wire
// (RFC 7143, 6.1).
type Text []KeyValue

// ParseText reads a data segment: pairs that end with a NUL each (a missing
// last one is forgiven). A key that is there twice is an error, as is a key or
// value that is too long; binary values (0x, 0b) and the items of a list may
// together be longer than MaxValueLength.
func ParseText(data []byte) (Text, error) {
	t, err := parsePairs(data)
	if err != nil {
		return nil, err
	}
	seen := make(map[string]bool, len(t))
	for _, kv := range t {
		if seen[kv.Key] {
			return nil, fmt.Errorf("%w: key %q is there twice", ErrBadText, kv.Key)
		}
		seen[kv.Key] = true
	}
	return t, nil
}

// parsePairs is ParseText without the check for repeated keys.
func parsePairs(data []byte) (Text, error) {
	var t Text
	for len(data) > 0 {
		var pair []byte
		pair, data, _ = bytes.Cut(data, []byte{0})
		if len(pair) == 0 { // padding that the sender counted in
			continue
		}
		key, value, found := strings.Cut(string(pair), "=")
		if !found {
			return nil, fmt.Errorf("%w: %.40q has no \"=\"", ErrBadText, pair)
		}
		if err := checkPair(key, value); err != nil {
			return nil, err
		}
		t = append(t, KeyValue{key, value})
	}
	return t, nil
}

func checkPair(key, value string) error {
	if len(key) == 0 || len(key) > MaxKeyLength {
		return fmt.Errorf("%w: key %.70q has %d bytes, want 1..%d", ErrBadText, key, len(key), MaxKeyLength)
	}
	for _, c := range []byte(key) {
		if !keyByte(c) {
			return fmt.Errorf("%w: key %q has character %q", ErrBadText, key, c)
		}
	}
	for item := range strings.SplitSeq(value, ",") {
		if len(item) > MaxValueLength && !isBinary(item) {
			return fmt.Errorf("%w: value of %s has %d bytes, at most %d are allowed", ErrBadText, key, len(item), MaxValueLength)
		}
	}
	return nil
}

// keyByte reports whether a key may hold c (RFC 7143, 6.1, standard-label, and
// the "#" and "/" of extension items).
func keyByte(c byte) bool {
	return 'A' <= c && c <= 'Z' || 'a' <= c && c <= 'z' || '0' <= c && c <= '9' ||
		strings.IndexByte(".-+@_#/", c) >= 0
}

// Append appends the pairs in wire format, each with its NUL.
func (t Text) Append(dst []byte) []byte {
	for _, kv := range t {
		dst = append(dst, kv.Key...)
		dst = append(dst, '=')
		dst = append(dst, kv.Value...)
		dst = append(dst, 0)
	}
	return dst
}

// Get returns the value of a key.
func (t Text) Get(key string) (value string, ok bool) {
	for _, kv := range t {
		if kv.Key == key {
			return kv.Value, true
		}
	}
	return "", false
}

// Set replaces a key's value, or adds the pair at the end.
func (t *Text) Set(key, value string) {
	for i := range *t {
		if (*t)[i].Key == key {
			(*t)[i].Value = value
			return
		}
	}
	t.Add(key, value)
}

// Add adds a pair at the end.
func (t *Text) Add(key, value string) { *t = append(*t, KeyValue{key, value}) }

// take removes a key and returns its value.
func (t *Text) take(key string) (value string, ok bool) {
	for i, kv := range *t {
		if kv.Key == key {
			*t = slices.Delete(*t, i, i+1)
			return kv.Value, true
		}
	}
	return "", false
}

// secretKey reports whether String hides the key's value.
func secretKey(key string) bool { return key == "CHAP_R" }

// String returns the pairs separated by blanks, for logs. CHAP responses are
// masked: with the challenge they allow guessing the secret.
func (t Text) String() string {
	var b strings.Builder
	for i, kv := range t {
		if i > 0 {
			b.WriteByte(' ')
		}
		value := kv.Value
		if secretKey(kv.Key) {
			value = masked
		}
		b.WriteString(kv.Key + "=" + value)
	}
	return b.String()
}

// TextAssembler joins the data segments of PDUs that one text was split over
// by the C bit (RFC 7143, 6.2). The zero value takes MaxTextLength bytes.
type TextAssembler struct {
	Max int // most bytes taken; 0 means MaxTextLength
	buf []byte
}

// Add takes the next data segment; data is copied. It fails when the text
// becomes longer than Max.
func (a *TextAssembler) Add(data []byte) error {
	limit := a.Max
	if limit == 0 {
		limit = MaxTextLength
	}
	if len(a.buf)+len(data) > limit {
		return fmt.Errorf("%w: longer than %d bytes", ErrBadText, limit)
	}
	a.buf = append(a.buf, data...)
	return nil
}

// Len returns how many bytes there are so far.
func (a *TextAssembler) Len() int { return len(a.buf) }

// Take returns the bytes of the whole text and makes the assembler ready for
// the next. They are valid until the next Add.
func (a *TextAssembler) Take() []byte {
	b := a.buf
	a.buf = a.buf[:0]
	return b
}

// TextSplitter cuts a text into data segments, for PDUs with the C bit set on
// all but the last. The zero value has nothing to send.
type TextSplitter struct {
	rest []byte
	max  int
}

// NewTextSplitter returns a splitter that cuts data, which it keeps, to
// segments of at most max bytes.
func NewTextSplitter(data []byte, max int) TextSplitter { return TextSplitter{data, max} }

// Next returns the next segment, empty if there is none; more says that others
// follow, which is what the C bit says.
func (s *TextSplitter) Next() (segment []byte, more bool) {
	n := min(len(s.rest), s.max)
	segment, s.rest = s.rest[:n:n], s.rest[n:]
	return segment, len(s.rest) > 0
}

// Pending reports whether segments are left.
func (s *TextSplitter) Pending() bool { return len(s.rest) > 0 }
