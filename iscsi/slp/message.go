package slp

import (
	"encoding/binary"
	"fmt"
	"io"
)

// Port is the UDP and TCP port of SLP.
const Port = 427

// MaxMessage is the most bytes that ReadMessage takes.
const MaxMessage = 1 << 20

// Function is what a message is (RFC 2608, 8).
type Function byte

// Functions.
const (
	FunctionServiceRequest   Function = 1
	FunctionServiceReply     Function = 2
	FunctionRegister         Function = 3
	FunctionDeregister       Function = 4
	FunctionAck              Function = 5
	FunctionAttributeRequest Function = 6
	FunctionAttributeReply   Function = 7
	FunctionDirectoryAgent   Function = 8
	FunctionTypeRequest      Function = 9
	FunctionTypeReply        Function = 10
	FunctionServiceAgent     Function = 11
)

// Flags of the header (RFC 2608, 8).
const (
	FlagOverflow  uint16 = 0x8000 // more than a datagram takes: ask by TCP
	FlagFresh     uint16 = 0x4000 // a registration that is new
	FlagMulticast uint16 = 0x2000 // a request by multicast
)

// Code is what a reply says of its request (RFC 2608, 7). One that is not 0 is an
// error, which errors.Is tells from others.
type Code uint16

// Codes that we send.
const (
	CodeOK                    Code = 0
	CodeParseError            Code = 2
	CodeScopeNotSupported     Code = 4
	CodeAuthenticationUnknown Code = 5
	CodeMessageNotSupported   Code = 14
)

var codeNames = map[Code]string{
	1: "language not supported", 2: "parse error", 3: "invalid registration", 4: "scope not supported",
	5: "authentication unknown", 6: "authentication absent", 7: "authentication failed", 9: "version not supported",
	10: "internal error", 11: "directory agent busy", 12: "option not understood", 13: "invalid update",
	14: "message not supported", 15: "refresh rejected",
}

// Error is the code in words.
func (c Code) Error() string { return fmt.Sprintf("%s (SLP error %d)", codeNames[c], uint16(c)) }

// Message is a message of any function.
type Message struct {
	Flags    uint16
	XID      uint16 // ties a reply to its request
	Language string // empty means "en"
	Body     Body
}

// Body is one of ServiceRequest, ServiceReply, Register, Deregister, Ack,
// AttributeRequest, AttributeReply, DirectoryAgent, TypeRequest, TypeReply and
// ServiceAgent, as a pointer.
type Body interface {
	function() Function
	append(dst []byte) []byte
	parse(r *reader)
}

// newBody returns an empty body, nil for a function that is not known.
func newBody(f Function) Body {
	switch f {
	case FunctionServiceRequest:
		return new(ServiceRequest)
	case FunctionServiceReply:
		return new(ServiceReply)
	case FunctionRegister:
		return new(Register)
	case FunctionDeregister:
		return new(Deregister)
	case FunctionAck:
		return new(Ack)
	case FunctionAttributeRequest:
		return new(AttributeRequest)
	case FunctionAttributeReply:
		return new(AttributeReply)
	case FunctionDirectoryAgent:
		return new(DirectoryAgent)
	case FunctionTypeRequest:
		return new(TypeRequest)
	case FunctionTypeReply:
		return new(TypeReply)
	case FunctionServiceAgent:
		return new(ServiceAgent)
	}
	return nil
}

const (
	version     = 2
	lengthEnd   = 5  // of the part of the header that says how long the message is
	headerSize  = 14 // without the language
	defaultLang = "en"
)

// Append appends the message in wire format.
func (m *Message) Append(dst []byte) []byte {
	start := len(dst)
	language := m.Language
	if language == "" {
		language = defaultLang
	}
	dst = append(dst, version, byte(m.Body.function()), 0, 0, 0)
	dst = binary.BigEndian.AppendUint16(dst, m.Flags)
	dst = append(dst, 0, 0, 0) // no extension
	dst = binary.BigEndian.AppendUint16(dst, m.XID)
	dst = appendText(dst, language)
	dst = m.Body.append(dst)
	appendUint24(dst[:start+2], len(dst)-start)
	return dst
}

// Parse reads a message. What follows it, such as extensions, is ignored.
func Parse(b []byte) (*Message, error) {
	if len(b) < headerSize {
		return nil, fmt.Errorf("%w: it has %d bytes, a header has %d", ErrBadMessage, len(b), headerSize)
	}
	if b[0] != version {
		return nil, fmt.Errorf("%w: its version is %d, want %d", ErrBadMessage, b[0], version)
	}
	if n := uint24(b[2:]); n < headerSize || n > len(b) {
		return nil, fmt.Errorf("%w: it is to have %d bytes, %d are there", ErrBadMessage, n, len(b))
	}
	r := &reader{b: b[lengthEnd:uint24(b[2:])]}
	m := &Message{Flags: r.uint16("flags"), Body: newBody(Function(b[1]))}
	r.take(3, "extension offset")
	m.XID = r.uint16("XID")
	m.Language = r.text("language")
	if m.Body == nil {
		return nil, fmt.Errorf("%w: function %d is not known", ErrBadMessage, b[1])
	}
	if m.Flags&FlagOverflow == 0 { // what is cut has half a body
		m.Body.parse(r)
	}
	return m, r.err
}

// ReadMessage reads a message from a stream. The error is io.EOF if the stream
// ends before it begins.
func ReadMessage(r io.Reader) (*Message, error) {
	head := make([]byte, lengthEnd)
	if _, err := io.ReadFull(r, head); err != nil {
		return nil, err
	}
	n := uint24(head[2:])
	if n < headerSize || n > MaxMessage {
		return nil, fmt.Errorf("%w: it is to have %d bytes, want %d..%d", ErrBadMessage, n, headerSize, MaxMessage)
	}
	b := append(head, make([]byte, n-lengthEnd)...)
	if _, err := io.ReadFull(r, b[lengthEnd:]); err != nil {
		return nil, io.ErrUnexpectedEOF
	}
	return Parse(b)
}
