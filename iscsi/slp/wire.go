package slp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
)

// ErrBadMessage is wrapped by every error about the form of what a peer sends.
var ErrBadMessage = errors.New("slp: malformed message")

// reader reads a message's fields one after the other. After the first that is not
// there, all are empty, and err says which it was.
type reader struct {
	b   []byte
	err error
}

func (r *reader) take(n int, what string) []byte {
	if r.err == nil && n > len(r.b) {
		r.err = fmt.Errorf("%w: %s is to have %d bytes, %d are left", ErrBadMessage, what, n, len(r.b))
	}
	if r.err != nil {
		return make([]byte, min(n, 4))
	}
	var b []byte
	b, r.b = r.b[:n], r.b[n:]
	return b
}

func (r *reader) byte(what string) byte     { return r.take(1, what)[0] }
func (r *reader) uint16(what string) uint16 { return binary.BigEndian.Uint16(r.take(2, what)) }
func (r *reader) uint32(what string) uint32 { return binary.BigEndian.Uint32(r.take(4, what)) }

// text reads a length of two bytes, and a string.
func (r *reader) text(what string) string {
	b := r.take(int(r.uint16(what)), what)
	if r.err != nil {
		return ""
	}
	return string(b)
}

// list reads a string that is a list.
func (r *reader) list(what string) []string { return splitList(r.text(what)) }

// skipAuth skips authentication blocks: a count, and for each a descriptor, the
// block's length and its bytes (RFC 2608, 9.2).
func (r *reader) skipAuth() {
	for n := r.byte("authentication block count"); n > 0 && r.err == nil; n-- {
		r.uint16("block structure descriptor")
		r.take(max(int(r.uint16("authentication block length"))-4, 0), "authentication block")
	}
}

// maxText is the most bytes that a string can have on the wire.
const maxText = 1<<16 - 1

// appendText appends a length of two bytes, and the string.
func appendText(dst []byte, s string) []byte {
	s = s[:min(len(s), maxText)]
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(s)))
	return append(dst, s...)
}

func appendList(dst []byte, list []string) []byte { return appendText(dst, strings.Join(list, ",")) }

func appendUint24(dst []byte, n int) []byte { return append(dst, byte(n>>16), byte(n>>8), byte(n)) }

func uint24(b []byte) int { return int(b[0])<<16 | int(b[1])<<8 | int(b[2]) }

func splitList(s string) (list []string) {
	for item := range strings.SplitSeq(s, ",") {
		if item = strings.TrimSpace(item); item != "" {
			list = append(list, item)
		}
	}
	return list
}
