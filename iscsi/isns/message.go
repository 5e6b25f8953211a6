package isns

import (
	"encoding/binary"
	"fmt"
	"io"
)

// Bounds of messages.
const (
	headerSize = 12
	// maxPayload is how much of a message one PDU of ours has. The most that
	// the length field can say is not more than three bytes above.
	maxPayload = 65532
	// MaxMessage is the most bytes of attributes that ReadMessage takes: some ten
	// thousand targets.
	MaxMessage = 8 << 20
)

// Flags of the header (RFC 4171, 5.1.4).
const (
	flagClient  = 0x8000 // the sender is a client
	flagServer  = 0x4000 // the sender is a server
	flagAuth    = 0x2000 // there is an authentication block
	flagReplace = 0x1000
	flagLast    = 0x0800
	flagFirst   = 0x0400
)

// version of the protocol (RFC 4171, 5.1.1).
const version = 1

// Message is a request or response as a whole.
type Message struct {
	Function Function
	// Transaction ties a response to its request.
	Transaction uint16
	// FromServer says who sends.
	FromServer bool
	// Replace makes a registration one that replaces what was there.
	Replace bool
	// Status is a response's; not on the wire in requests.
	Status Status
	// Attributes are all that the message has: of a request of a client, first the
	// source, then the key, the delimiter and the operating attributes.
	Attributes Attributes
}

// Append appends the message in wire format, in as many PDUs as it takes.
func (m *Message) Append(dst []byte) []byte {
	var payload []byte
	if m.Function.IsResponse() {
		payload = binary.BigEndian.AppendUint32(payload, uint32(m.Status))
	}
	payload = m.Attributes.Append(payload)
	flags := uint16(flagClient)
	if m.FromServer {
		flags = flagServer
	}
	if m.Replace {
		flags |= flagReplace
	}
	for sequence := uint16(0); ; sequence++ {
		n := min(len(payload), maxPayload)
		f := flags
		if sequence == 0 {
			f |= flagFirst
		}
		if n == len(payload) {
			f |= flagLast
		}
		for _, v := range []uint16{version, uint16(m.Function), uint16(n), f, m.Transaction, sequence} {
			dst = binary.BigEndian.AppendUint16(dst, v)
		}
		dst = append(dst, payload[:n]...)
		if payload = payload[n:]; len(payload) == 0 {
			return dst
		}
	}
}

// header is a PDU's (RFC 4171, 5.1).
type header struct {
	function              Function
	length, flags         uint16
	transaction, sequence uint16
}

// readHeader returns io.EOF if the stream ends before it.
func readHeader(r io.Reader) (h header, err error) {
	var b [headerSize]byte
	if _, err := io.ReadFull(r, b[:]); err != nil {
		return h, err
	}
	field := func(i int) uint16 { return binary.BigEndian.Uint16(b[2*i:]) }
	h = header{Function(field(1)), field(2), field(3), field(4), field(5)}
	switch {
	case field(0) != version:
		return h, fmt.Errorf("%w: its version is %d, want %d", ErrBadMessage, field(0), version)
	case h.flags&flagAuth != 0:
		return h, fmt.Errorf("%w: it is authenticated, which is not supported", ErrBadMessage)
	case h.length%4 != 0:
		return h, fmt.Errorf("%w: its length is %d, no multiple of 4", ErrBadMessage, h.length)
	}
	return h, nil
}

// ReadMessage reads a message from a stream, which may be in several PDUs. The
// error is io.EOF if the stream ends before it begins.
func ReadMessage(r io.Reader) (*Message, error) {
	first, err := readHeader(r)
	if err != nil {
		return nil, err
	}
	if first.flags&flagFirst == 0 || first.sequence != 0 {
		return nil, fmt.Errorf("%w: it begins with PDU %d", ErrBadMessage, first.sequence)
	}
	payload, h := []byte(nil), first
	for {
		have := len(payload)
		if have+int(h.length) > MaxMessage {
			return nil, fmt.Errorf("%w: it has more than %d bytes", ErrBadMessage, MaxMessage)
		}
		payload = append(payload, make([]byte, h.length)...)
		if _, err := io.ReadFull(r, payload[have:]); err != nil {
			return nil, unexpected(err)
		}
		if h.flags&flagLast != 0 {
			break
		}
		sequence := h.sequence
		if h, err = readHeader(r); err != nil {
			return nil, unexpected(err)
		}
		if h.function != first.function || h.transaction != first.transaction || h.sequence != sequence+1 || h.length == 0 {
			return nil, fmt.Errorf("%w: PDU %d of %s is followed by PDU %d of %s", ErrBadMessage, sequence, first.function, h.sequence, h.function)
		}
	}
	return parse(first, payload)
}

func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

func parse(h header, payload []byte) (*Message, error) {
	m := &Message{
		Function: h.function, Transaction: h.transaction,
		FromServer: h.flags&flagServer != 0, Replace: h.flags&flagReplace != 0,
	}
	if m.Function.IsResponse() {
		if len(payload) < 4 {
			return nil, fmt.Errorf("%w: %s has no status", ErrBadMessage, m.Function)
		}
		m.Status, payload = Status(binary.BigEndian.Uint32(payload)), payload[4:]
	}
	var err error
	m.Attributes, err = ParseAttributes(payload)
	return m, err
}
