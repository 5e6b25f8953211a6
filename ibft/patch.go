package ibft

import "reflect"

// patch returns the bytes that the table came from, with what was changed since written over them: no other byte
// but the checksum is another. It is not ok where a change does not fit in its place: a structure more or less, a
// string longer than before or one that shares its bytes with another. original is what the bytes parse to.
func (t *Table) patch(original *Table, signature Signature) (patched []byte, ok bool) {
	p := patcher{raw: []byte(*t.raw), out: []byte(*t.raw)}
	before, after := original.ownPieces(), t.ownPieces()
	if len(before) != len(after) || !reflect.DeepEqual(original.Other, t.Other) || !p.header(original, t) {
		return nil, false
	}
	places := p.places()
	if len(places) != len(before) {
		return nil, false
	}
	for i := range before {
		if before[i].id != after[i].id || !p.structure(places[i], before[i], after[i]) {
			return nil, false
		}
	}
	copy(p.out, signature)
	putChecksum(p.out)
	return p.out, p.says(t, signature)
}

// ownPieces returns the structures that are understood, initiator, NICs, targets.
func (t *Table) ownPieces() []piece {
	var pieces []piece
	if t.Initiator != nil {
		pieces = append(pieces, t.Initiator.piece())
	}
	for i := range t.NICs {
		pieces = append(pieces, t.NICs[i].piece(i))
	}
	for i := range t.Targets {
		pieces = append(pieces, t.Targets[i].piece(i))
	}
	return pieces
}

// patcher changes the bytes of a table that parses.
type patcher struct {
	raw, out []byte // as it was, and as it becomes
}

// says makes sure that the new bytes say what the table does.
func (p *patcher) says(t *Table, signature Signature) bool {
	got, err := Parse(p.out)
	if err != nil {
		return false
	}
	want := *t
	want.Signature, want.raw, got.raw = signature, nil, nil
	return reflect.DeepEqual(&want, got)
}

func (p *patcher) header(before, after *Table) bool {
	for _, f := range []struct {
		at, end       int
		before, after string
	}{
		{hdrOEMID, hdrOEMTableID, before.OEMID, after.OEMID},
		{hdrOEMTableID, hdrReserved, before.OEMTableID, after.OEMTableID},
		{hdrReserved, headerLen, string(before.Reserved), string(after.Reserved)},
	} {
		if f.before == f.after {
			continue
		}
		if len(f.after) > f.end-f.at {
			return false
		}
		clear(p.out[f.at:f.end])
		copy(p.out[f.at:f.end], f.after)
	}
	p.out[headerLen+structFlags] = byte(after.Control)
	return true
}

// places returns where the structures lie that are understood, in the order of ownPieces.
func (p *patcher) places() []int {
	byID := make(map[byte][]int)
	control := p.raw[headerLen:]
	for at := controlSlots; at+2 <= int(getU16(control, structLength)); at += 2 {
		offset := int(getU16(control, at))
		if offset == 0 {
			continue
		}
		s := p.raw[offset:]
		id := s[0]
		if specLength(id) == int(getU16(s, structLength)) && (id != idInitiator || len(byID[id]) == 0) {
			byID[id] = append(byID[id], offset)
		}
	}
	return append(append(byID[idInitiator], byID[idNIC]...), byID[idTarget]...)
}

// structure writes what is new in one structure, which lies at offset.
func (p *patcher) structure(offset int, before, after piece) bool {
	old, oldStrings, ok1 := before.bare()
	now, nowStrings, ok2 := after.bare()
	if !ok1 || !ok2 {
		return false
	}
	for _, f := range fieldsOf(after.id) {
		if b := now[f.at:][:f.length]; string(b) != string(old[f.at:][:f.length]) {
			copy(p.out[offset+f.at:], b)
		}
	}
	for _, f := range stringFields(after.id) {
		if oldStrings[f.at] != nowStrings[f.at] && !p.string(offset+f.at, nowStrings[f.at]) {
			return false
		}
	}
	return true
}

// bare returns a structure without its strings, and these by the places of their fields.
func (pc piece) bare() (bytes []byte, strings map[int]string, ok bool) {
	strings = make(map[int]string)
	b := &builder{keep: strings}
	bytes = make([]byte, pc.length)
	putStructHeader(bytes, pc)
	pc.fill(bytes, &fieldWriter{builder: b, structure: pc.name, bytes: bytes})
	return bytes, strings, b.err == nil
}

// string puts s in the place of the string whose length and offset lie at the given place. What was there is gone.
func (p *patcher) string(at int, s string) bool {
	length, offset := int(getU16(p.raw, at)), int(getU16(p.raw, at+2))
	if length == 0 || len(s) > length || p.shared(at, span{offset, offset + length}) {
		return false
	}
	clear(p.out[offset:][:length])
	copy(p.out[offset:], s)
	putU16(p.out, at, uint16(len(s)))
	if s == "" {
		putU16(p.out, at+2, 0)
	}
	return true
}

// shared says whether bytes of the heap belong to another string as well, or to a structure.
func (p *patcher) shared(at int, bytes span) bool {
	for _, offset := range p.places() {
		if bytes.start < offset+specLength(p.raw[offset]) && offset < bytes.end {
			return true
		}
		for _, f := range stringFields(p.raw[offset]) {
			length, start := int(getU16(p.raw, offset+f.at)), int(getU16(p.raw, offset+f.at+2))
			if offset+f.at != at && length > 0 && start < bytes.end && bytes.start < start+length {
				return true
			}
		}
	}
	control := headerLen + int(getU16(p.raw, headerLen+structLength))
	return bytes.start < control
}
