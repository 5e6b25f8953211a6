package ibft

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
)

// ParseError says where a table is broken.
type ParseError struct {
	Structure string // such as "header" or "target in slot 3"
	Field     string // such as "CHAP name", empty for the structure itself
	Offset    int    // of the structure or field, in bytes from the start of the table
	Reason    string
}

// Error returns all of it in one line.
func (e *ParseError) Error() string {
	where := e.Structure
	if e.Field != "" {
		where += ": " + e.Field
	}
	return fmt.Sprintf("ibft: %s at %#x: %s", where, e.Offset, e.Reason)
}

// Parse reads a table from the start of b; what follows the length in its header is ignored. The table does not
// refer to b afterwards. Every error is a *ParseError.
//
// Parse is as strict as it must be to rely on no byte outside the table, and as Linux is about what makes a table:
// signature, revision, length, checksum, control structure. A structure that Linux would skip for its id or its
// length is kept in Other.
func Parse(b []byte) (*Table, error) {
	if err := checkHeader(b); err != nil {
		return nil, err
	}
	raw := string(b[:binary.LittleEndian.Uint32(b[hdrLength:])])
	p := parser{bytes: []byte(raw), raw: raw, table: &Table{raw: &raw}}
	p.header()
	if err := p.control(); err != nil {
		return nil, err
	}
	return p.table, nil
}

// checkHeader checks all that makes b begin with a table.
func checkHeader(b []byte) error {
	bad := func(field string, offset int, format string, a ...any) error {
		return &ParseError{"header", field, offset, fmt.Sprintf(format, a...)}
	}
	if len(b) < headerLen {
		return bad("", 0, "%d bytes, a table has at least %d", len(b), headerLen+controlLen)
	}
	if s := Signature(b[:4]); !s.known() {
		return bad("signature", 0, "%q is not iBFT, IBFT or BIFT", string(s))
	}
	length := binary.LittleEndian.Uint32(b[hdrLength:])
	if length < headerLen+controlLen || uint64(length) > uint64(len(b)) {
		return bad("length", hdrLength, "%d, want %d to %d, the bytes at hand", length, headerLen+controlLen, len(b))
	}
	if rev := b[hdrRevision]; rev != 1 {
		return bad("revision", hdrRevision, "%d, want 1", rev)
	}
	if s := sum(b[:length]); s != 0 {
		return bad("checksum", hdrChecksum, "%#02x, want %#02x", b[hdrChecksum], b[hdrChecksum]+s)
	}
	return nil
}

// parser reads one table whose header has been checked. bytes and raw have the same contents: strings are cut
// from raw, so that any number of them, overlapping or not, takes no memory.
type parser struct {
	bytes []byte
	raw   string
	table *Table
}

func (p *parser) header() {
	t := p.table
	t.Signature = Signature(p.raw[:4])
	t.OEMID = strings.TrimRight(p.raw[hdrOEMID:hdrOEMTableID], "\x00")
	t.OEMTableID = strings.TrimRight(p.raw[hdrOEMTableID:hdrReserved], "\x00")
	if reserved := bytes.TrimRight(p.bytes[hdrReserved:headerLen], "\x00"); len(reserved) > 0 {
		t.Reserved = slices.Clip(reserved)
	}
}

// located is a structure that the control structure points to, its header checked.
type located struct {
	slot, offset int
	bytes        []byte // from its id to its end
}

func (s located) String() string {
	return fmt.Sprintf("%s in slot %d", structureName(s.bytes[0]), s.slot)
}

func structureName(id byte) string {
	switch id {
	case idControl:
		return "control"
	case idInitiator:
		return "initiator"
	case idNIC:
		return "NIC"
	case idTarget:
		return "target"
	}
	return fmt.Sprintf("structure of id %d", id)
}

// control reads the control structure and all that it points to.
func (p *parser) control() error {
	bad := func(field string, offset int, format string, a ...any) error {
		return &ParseError{"control", field, headerLen + offset, fmt.Sprintf(format, a...)}
	}
	c := p.bytes[headerLen:]
	if c[0] != idControl {
		return bad("id", 0, "%d, want %d", c[0], idControl)
	}
	length := int(getU16(c, structLength))
	if length < controlLen || length > len(c) {
		return bad("length", structLength, "%d, want %d to %d, the rest of the table", length, controlLen, len(c))
	}
	p.table.Control = ControlFlags(c[structFlags])

	found := []located{{slot: -1, offset: headerLen, bytes: c[:length]}}
	for at := controlSlots; at+2 <= length; at += 2 {
		offset := int(getU16(c, at))
		if offset == 0 {
			continue
		}
		s, err := p.locate((at-controlSlots)/2, offset)
		if err != nil {
			return err
		}
		found = append(found, s)
	}
	if err := checkOverlap(found); err != nil {
		return err
	}
	for _, s := range found[1:] {
		if err := p.structure(s); err != nil {
			return err
		}
	}
	return nil
}

// locate checks that a whole structure lies at offset.
func (p *parser) locate(slot, offset int) (located, error) {
	s := located{slot: slot, offset: offset}
	bad := func(format string, a ...any) (located, error) {
		return s, &ParseError{fmt.Sprintf("structure in slot %d", slot), "", offset, fmt.Sprintf(format, a...)}
	}
	if offset < headerLen || offset+structHdrLen > len(p.bytes) {
		return bad("lies outside the table's structures, %#x to %#x", headerLen, len(p.bytes))
	}
	length := int(getU16(p.bytes, offset+structLength))
	if length < structHdrLen || offset+length > len(p.bytes) {
		return bad("length %d, want %d to %d, the rest of the table", length, structHdrLen, len(p.bytes)-offset)
	}
	s.bytes = p.bytes[offset : offset+length : offset+length]
	return s, nil
}

// checkOverlap makes sure that no two structures, the control structure included, share a byte.
func checkOverlap(found []located) error {
	sorted := slices.SortedFunc(slices.Values(found), func(a, b located) int { return cmp.Compare(a.offset, b.offset) })
	for i, s := range sorted[1:] {
		if before := sorted[i]; before.offset+len(before.bytes) > s.offset {
			return &ParseError{s.String(), "", s.offset, fmt.Sprintf("overlaps the %s at %#x", before, before.offset)}
		}
	}
	return nil
}

// structure reads one structure into the table.
func (p *parser) structure(s located) error {
	t := p.table
	r := structReader{parser: p, located: s}
	switch id, length := s.bytes[0], len(s.bytes); {
	case id == idInitiator && length == initiatorLen && t.Initiator == nil:
		t.Initiator = r.initiator()
	case id == idNIC && length == nicLen:
		t.NICs = append(t.NICs, r.nic())
	case id == idTarget && length == targetLen:
		t.Targets = append(t.Targets, r.target())
	default:
		t.Other = append(t.Other, Structure{Slot: s.slot, Bytes: s.bytes})
	}
	return r.err
}

// structReader reads the fields of a structure whose length is right. The first string that lies outside the
// table leaves its error in err.
type structReader struct {
	located
	parser *parser
	err    error
}

func (r *structReader) initiator() *Initiator {
	b := r.bytes
	return &Initiator{
		Index:           b[structIndex],
		Flags:           InitiatorFlags(b[structFlags]),
		ISNS:            getAddr(b[initiatorISNS:][:16]),
		SLP:             getAddr(b[initiatorSLP:][:16]),
		PrimaryRADIUS:   getAddr(b[initiatorPrimaryRADIUS:][:16]),
		SecondaryRADIUS: getAddr(b[initiatorSecondaryRADIUS:][:16]),
		Name:            r.string("name", initiatorName),
	}
}

func (r *structReader) nic() NIC {
	b := r.bytes
	return NIC{
		Index:        b[structIndex],
		Flags:        NICFlags(b[structFlags]),
		IP:           getAddr(b[nicIP:][:16]),
		PrefixLen:    b[nicPrefixLen],
		Origin:       Origin(b[nicOrigin]),
		Gateway:      getAddr(b[nicGateway:][:16]),
		PrimaryDNS:   getAddr(b[nicPrimaryDNS:][:16]),
		SecondaryDNS: getAddr(b[nicSecondaryDNS:][:16]),
		DHCP:         getAddr(b[nicDHCP:][:16]),
		VLAN:         getU16(b, nicVLAN),
		MAC:          MAC(b[nicMAC:]),
		PCI:          PCIAddr(getU16(b, nicPCI)),
		Hostname:     r.string("hostname", nicHostname),
	}
}

func (r *structReader) target() Target {
	b := r.bytes
	return Target{
		Index:             b[structIndex],
		Flags:             TargetFlags(b[structFlags]),
		IP:                getAddr(b[targetIP:][:16]),
		Port:              getU16(b, targetPort),
		LUN:               LUN(b[targetLUN:]),
		CHAP:              CHAPType(b[targetCHAP]),
		NIC:               b[targetNIC],
		Name:              r.string("name", targetName),
		CHAPName:          r.string("CHAP name", targetCHAPName),
		CHAPSecret:        Secret(r.string("CHAP secret", targetCHAPSecret)),
		ReverseCHAPName:   r.string("reverse CHAP name", targetReverseCHAPName),
		ReverseCHAPSecret: Secret(r.string("reverse CHAP secret", targetReverseCHAPSecret)),
	}
}

// string reads the heap string whose length and offset lie at the given place. Its NUL lies after its length
// (iBFT, 1.3.5), but some writers count it in: a string ends before its first NUL in any case.
func (r *structReader) string(field string, at int) string {
	length, offset := int(getU16(r.bytes, at)), int(getU16(r.bytes, at+2))
	raw := r.parser.raw
	if length == 0 || r.err != nil {
		return ""
	}
	if offset < headerLen || offset+length > len(raw) {
		reason := fmt.Sprintf("%d bytes at %#x lie outside the table, which ends at %#x", length, offset, len(raw))
		r.err = &ParseError{r.String(), field, r.offset + at, reason}
		return ""
	}
	s, _, _ := strings.Cut(raw[offset:offset+length], "\x00")
	return s
}
