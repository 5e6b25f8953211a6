package ibft

import (
	"cmp"
	"slices"
)

// control judges the control structure and finds what its slots point to.
func (c *checker) control() {
	b := c.table[headerLen:]
	if b[0] != idControl {
		c.find(controlID, controlAt(0, 1), "id %d, want %d", b[0], idControl)
		return
	}
	if v := b[structVersion]; v != 1 {
		c.find(controlVersion, controlAt(structVersion, 1), "version %d, want 1", v)
	}
	length := int(getU16(b, structLength))
	if length < controlLen || length > len(b) {
		c.find(controlLength, controlAt(structLength, 2), "length %d, want %d to %d, the rest of the table", length, controlLen, len(b))
		length = controlLen
	}
	if length%2 != 0 {
		c.find(controlLengthOdd, controlAt(structLength, 2), "length %d leaves one byte over", length)
	}
	if i := b[structIndex]; i != 0 {
		c.find(controlIndex, controlAt(structIndex, 1), "index %d, want 0", i)
	}
	flags := b[structFlags]
	if flags&^byte(SingleLogin) != 0 {
		c.find(controlFlags, controlAt(structFlags, 1), "flags %#02x, of which only bit 0 is defined", flags)
	}
	if flags&byte(SingleLogin) != 0 {
		c.find(controlSingleLogin, controlAt(structFlags, 1), "flag bit 0 is set")
	}
	c.slots = (length - controlSlots) / 2
	seen := make(map[int]int)
	for slot := range c.slots {
		c.slot(slot, int(getU16(b, controlSlots+2*slot)), seen)
	}
}

// slot judges where a slot points to. seen are the slots of the offsets before it.
func (c *checker) slot(slot, offset int, seen map[int]int) {
	if offset == 0 {
		return
	}
	at := controlAt(controlSlots+2*slot, 2)
	if before, ok := seen[offset]; ok {
		c.find(slotDuplicate, at, "slots %d and %d both point to %#x", before, slot, offset)
		return
	}
	seen[offset] = slot
	if offset < headerLen || offset+structHdrLen > len(c.table) {
		c.find(slotRange, at, "slot %d points to %#x, structures lie from %#x to %#x", slot, offset, headerLen, len(c.table))
		return
	}
	b := c.table[offset:]
	e := entry{
		slot: slot, offset: offset, id: b[0], length: int(getU16(b, structLength)),
		index: b[structIndex], flags: b[structFlags],
	}
	want := specLength(e.id)
	if want > 0 && e.length == want && want <= len(b) {
		e.bytes = b[:want:want]
	}
	c.entries = append(c.entries, e)
}

// specLength returns how long a structure has to be, 0 for one of no known length.
func specLength(id byte) int {
	switch id {
	case idInitiator:
		return initiatorLen
	case idNIC:
		return nicLen
	case idTarget:
		return targetLen
	}
	return 0
}

// inTable says whether the structure has a header and ends in the table.
func (c *checker) inTable(e entry) bool {
	return e.length >= structHdrLen && e.offset+e.length <= len(c.table)
}

// layout judges where the structures lie, and against each other.
func (c *checker) layout() {
	control := entry{slot: -1, offset: headerLen, id: idControl, length: controlSlots + 2*c.slots}
	sorted := []entry{control}
	for _, e := range c.entries {
		if e.offset%8 != 0 {
			c.find(structureAlignment, e.at(0, structHdrLen), "it lies at %#x", e.offset)
		}
		if c.inTable(e) {
			sorted = append(sorted, e)
		}
	}
	slices.SortStableFunc(sorted, func(a, b entry) int { return cmp.Compare(a.offset, b.offset) })
	c.spans = []span{{0, headerLen}}
	last := sorted[0] // the one of those before that reaches furthest
	for i, e := range sorted {
		if i > 0 && last.offset+last.length > e.offset {
			c.find(structureOverlap, e.all(), "it begins at %#x, within the %s that ends at %#x",
				e.offset, last.kind(), last.offset+last.length)
		}
		if i == 0 || e.offset+e.length > last.offset+last.length {
			last = e
		}
		c.cover(span{e.offset, e.offset + e.length})
	}
}

// cover adds a span that starts behind the start of all others.
func (c *checker) cover(s span) {
	end := &c.spans[len(c.spans)-1].end
	if s.start > *end {
		c.spans = append(c.spans, s)
		return
	}
	*end = max(*end, s.end)
}

// covered returns whether the header or a structure has a byte of s.
func (c *checker) covered(s span) bool {
	i, _ := slices.BinarySearchFunc(c.spans, s.start, func(have span, start int) int { return cmp.Compare(have.end, start+1) })
	return i < len(c.spans) && c.spans[i].start < s.end
}

// structure judges one structure by itself.
func (c *checker) structure(e entry) {
	if v := c.table[e.offset+structVersion]; v != 1 {
		c.find(structureVersion, e.at(structVersion, 1), "version %d, want 1", v)
	}
	if !c.inTable(e) {
		c.find(structureLengthRange, e.at(structLength, 2), "length %d, want %d to %d, the rest of the table",
			e.length, structHdrLen, len(c.table)-e.offset)
	}
	switch e.id {
	case idInitiator:
		c.known(e, initiatorLength, Valid|BootSelected, c.initiator)
	case idNIC:
		c.known(e, nicLength, Valid|BootSelected|byte(Global), c.nic)
	case idTarget:
		c.known(e, targetLength, Valid|BootSelected|byte(RADIUSCHAP|RADIUSReverseCHAP), c.target)
	case idExtensions:
		c.find(extensionsUnread, e.all(), "%d bytes of extensions", e.length)
	default:
		c.find(structureID, e.at(0, 1), "slot %d points to id %d, want %d to %d", e.slot, e.id, idInitiator, idExtensions)
	}
}

// known judges a structure whose kind is known: its length, its flags, and unless it is out of use its fields.
func (c *checker) known(e entry, wrongLength ruleID, defined byte, fields func(entry)) {
	if want := specLength(e.id); e.length != want {
		c.find(wrongLength, e.at(structLength, 2), "length %d, want %d", e.length, want)
	}
	if e.flags&^defined != 0 {
		c.find(flagsReserved, e.at(structFlags, 1), "flags %#02x, of which %#02x are defined", e.flags, defined)
	}
	switch {
	case e.flags == 0:
		c.find(flagsNotValid, e.at(structFlags, 1), "its flags are 0")
		return
	case e.flags&(Valid|BootSelected) == BootSelected:
		c.find(bootSelectedNotValid, e.at(structFlags, 1), "flags %#02x", e.flags)
	}
	if e.bytes != nil {
		fields(e)
	}
}

// together judges the structures against each other.
func (c *checker) together() {
	var count [idTarget + 1]int
	type name struct{ id, index byte }
	seen := make(map[name]int)
	for _, e := range c.entries {
		if specLength(e.id) == 0 {
			continue
		}
		count[e.id]++
		if e.id == idInitiator {
			continue // one too many is a finding of its own
		}
		if slot, ok := seen[name{e.id, e.index}]; ok {
			c.find(indexDuplicate, e.at(structIndex, 1), "index %d is that of the %s in slot %d", e.index, e.kind(), slot)
			continue
		}
		seen[name{e.id, e.index}] = e.slot
	}
	slots := controlAt(controlSlots, 2*fixedSlots)
	if count[idInitiator] == 0 {
		c.find(initiatorMissing, slots, "no slot points to an initiator")
	}
	if n := count[idInitiator]; n > 1 {
		c.find(initiatorDuplicate, slots, "%d slots point to an initiator", n)
	}
	if count[idNIC] == 0 {
		c.find(nicMissing, slots, "no slot points to a NIC")
	}
	if count[idTarget] == 0 {
		c.find(targetMissing, slots, "no slot points to a target")
		return
	}
	c.targets()
}

// of returns the structures of one kind that are in use and can be read.
func (c *checker) of(id byte) []entry {
	var kind []entry
	for _, e := range c.entries {
		if e.id == id && e.bytes != nil && e.flags != 0 {
			kind = append(kind, e)
		}
	}
	return kind
}

// nicsByIndex returns the first NIC structure of each index, in use or not.
func (c *checker) nicsByIndex() map[byte]entry {
	nics := make(map[byte]entry)
	for _, e := range c.entries {
		if _, ok := nics[e.index]; e.id == idNIC && e.bytes != nil && !ok {
			nics[e.index] = e
		}
	}
	return nics
}

// targets judges which targets are to boot from, and how they are reached.
func (c *checker) targets() {
	nics := c.nicsByIndex()
	var selected []entry
	for _, t := range c.of(idTarget) {
		if t.flags&(Valid|BootSelected) == Valid|BootSelected {
			selected = append(selected, t)
		}
		c.reach(t, nics)
	}
	switch len(selected) {
	case 0:
		c.find(bootSelectedNone, controlAt(controlSlots, 2*fixedSlots), "no target has the flags valid and boot-selected")
	case 1:
		c.notSelected()
	default:
		c.find(bootSelectedSeveral, selected[1].at(structFlags, 1), "%d targets are boot-selected", len(selected))
	}
	c.radius()
}

// notSelected judges the targets beside the one that is boot-selected.
func (c *checker) notSelected() {
	for _, t := range c.of(idTarget) {
		if t.flags&(Valid|BootSelected) == Valid {
			c.find(targetNotSelected, t.at(structFlags, 1), "flags %#02x: not boot-selected, as another target is", t.flags)
		}
	}
}

// reach judges whether the NIC that a target names can reach it.
func (c *checker) reach(t entry, nics map[byte]entry) {
	index := t.bytes[targetNIC]
	nic, ok := nics[index]
	if !ok {
		c.find(targetNICAssociation, t.at(targetNIC, 1), "it is reached by NIC %d, which is not in the table", index)
		return
	}
	if nic.flags&Valid == 0 {
		c.find(targetNICNotValid, t.at(targetNIC, 1), "it is reached by NIC %d, whose flags are %#02x", index, nic.flags)
	}
	from, to := getAddr(nic.bytes[nicIP:][:16]), getAddr(t.bytes[targetIP:][:16])
	if from.IsValid() && to.IsValid() && from.Is4() != to.Is4() {
		c.find(targetFamily, t.at(targetIP, 16), "its address is %s, that of NIC %d is %s", to, index, from)
	}
}

// radius judges whether there is a server for the targets that want one.
func (c *checker) radius() {
	for _, e := range c.of(idInitiator) {
		if getAddr(e.bytes[initiatorPrimaryRADIUS:][:16]).IsValid() || getAddr(e.bytes[initiatorSecondaryRADIUS:][:16]).IsValid() {
			return
		}
	}
	for _, t := range c.of(idTarget) {
		if t.flags&byte(RADIUSCHAP|RADIUSReverseCHAP) != 0 {
			c.find(radiusServerMissing, t.at(structFlags, 1), "flags %#02x ask for RADIUS", t.flags)
		}
	}
}
