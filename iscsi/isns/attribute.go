package isns

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"
)

// Tag says what an attribute is (RFC 4171, 6.1).
type Tag uint32

// Tags of iSCSI's objects.
const (
	TagDelimiter Tag = 0 // ends the message key

	TagEntityID           Tag = 1
	TagEntityProtocol     Tag = 2
	TagManagementIP       Tag = 3
	TagTimestamp          Tag = 4
	TagRegistrationPeriod Tag = 6

	TagPortalIP     Tag = 16
	TagPortalPort   Tag = 17
	TagPortalName   Tag = 18
	TagESIInterval  Tag = 19
	TagESIPort      Tag = 20
	TagSCNPort      Tag = 23
	TagNodeName     Tag = 32
	TagNodeType     Tag = 33
	TagNodeAlias    Tag = 34
	TagSCNBitmap    Tag = 35
	TagGroupNode    Tag = 48 // of a portal group: the node's name,
	TagGroupIP      Tag = 49 // the portal's address
	TagGroupPort    Tag = 50 // and port,
	TagGroupTag     Tag = 51 // and the portal group tag
	TagDomainID     Tag = 2065
	TagDomainMember Tag = 2068 // a member's iSCSI name
)

// ErrBadMessage is wrapped by every error about the form of what a peer sends.
var ErrBadMessage = errors.New("isns: malformed message")

// Attribute is one tag, length and value (RFC 4171, 5.1.10). The value is without
// the padding to a multiple of four bytes that texts have on the wire; empty
// asks for the attribute.
type Attribute struct {
	Tag   Tag
	Value []byte
}

// Want asks a server for an attribute.
func Want(tag Tag) Attribute { return Attribute{Tag: tag} }

// Delimiter stands between a request's key and its operating attributes.
func Delimiter() Attribute { return Attribute{Tag: TagDelimiter} }

// Text makes an attribute that is a text; it ends with a NUL on the wire and is
// padded with more.
func Text(tag Tag, s string) Attribute {
	return Attribute{tag, append([]byte(s), make([]byte, 4-len(s)%4)...)}
}

// Number makes an attribute that is a 32-bit number.
func Number(tag Tag, v uint32) Attribute {
	return Attribute{tag, binary.BigEndian.AppendUint32(nil, v)}
}

// Address makes an attribute that is an IP address: IPv6, or IPv4 mapped to it.
func Address(tag Tag, a netip.Addr) Attribute {
	b := a.As16()
	return Attribute{tag, b[:]}
}

// Text is the value as a text.
func (a Attribute) Text() string {
	s, _, _ := bytes.Cut(a.Value, []byte{0})
	return strings.ToValidUTF8(string(s), "�")
}

// Number is the value as a number.
func (a Attribute) Number() (uint32, error) {
	if len(a.Value) != 4 {
		return 0, fmt.Errorf("%w: attribute %d has %d bytes, a number has 4", ErrBadMessage, a.Tag, len(a.Value))
	}
	return binary.BigEndian.Uint32(a.Value), nil
}

// Address is the value as an IP address. IPv4 ones are in IPv6 ones that are
// mapped (::ffff:a.b.c.d, as RFC 4171 has it) or compatible (::a.b.c.d, as
// Open-iSNS's isnsadm sends them).
func (a Attribute) Address() (netip.Addr, error) {
	if len(a.Value) != 16 {
		return netip.Addr{}, fmt.Errorf("%w: attribute %d has %d bytes, an address has 16", ErrBadMessage, a.Tag, len(a.Value))
	}
	if binary.BigEndian.Uint32(a.Value[12:]) > 0xffff && len(bytes.Trim(a.Value[:12], "\x00")) == 0 {
		return netip.AddrFrom4([4]byte(a.Value[12:])), nil
	}
	return netip.AddrFrom16([16]byte(a.Value)).Unmap(), nil
}

// Time is the value as a time: seconds since 1970 (RFC 4171, 6.2.4).
func (a Attribute) Time() (time.Time, error) {
	if len(a.Value) != 8 {
		return time.Time{}, fmt.Errorf("%w: attribute %d has %d bytes, a time has 8", ErrBadMessage, a.Tag, len(a.Value))
	}
	return time.Unix(int64(binary.BigEndian.Uint64(a.Value)), 0), nil
}

// Attributes is a list of attributes in their order on the wire, which has a
// meaning: an object is its key attributes and those that follow.
type Attributes []Attribute

// Append appends the attributes in wire format.
func (list Attributes) Append(dst []byte) []byte {
	for _, a := range list {
		padded := (len(a.Value) + 3) &^ 3
		dst = binary.BigEndian.AppendUint32(dst, uint32(a.Tag))
		dst = binary.BigEndian.AppendUint32(dst, uint32(padded))
		dst = append(dst, a.Value...)
		dst = append(dst, make([]byte, padded-len(a.Value))...)
	}
	return dst
}

// ParseAttributes reads attributes. Their values are part of b.
func ParseAttributes(b []byte) (Attributes, error) {
	var list Attributes
	for len(b) > 0 {
		if len(b) < 8 {
			return nil, fmt.Errorf("%w: %d bytes are left, an attribute has 8 at least", ErrBadMessage, len(b))
		}
		tag, n := Tag(binary.BigEndian.Uint32(b)), binary.BigEndian.Uint32(b[4:])
		b = b[8:]
		if n%4 != 0 || uint64(n) > uint64(len(b)) {
			return nil, fmt.Errorf("%w: attribute %d is to have %d bytes, of which %d are there", ErrBadMessage, tag, n, len(b))
		}
		list = append(list, Attribute{tag, b[:n:n]})
		b = b[n:]
	}
	return list, nil
}

// Get returns the first attribute with a tag.
func (list Attributes) Get(tag Tag) (a Attribute, ok bool) {
	for _, a := range list {
		if a.Tag == tag {
			return a, true
		}
	}
	return Attribute{}, false
}

// operating are the attributes after the delimiter.
func (list Attributes) operating() Attributes {
	for i, a := range list {
		if a.Tag == TagDelimiter && len(a.Value) == 0 {
			return list[i+1:]
		}
	}
	return nil
}
