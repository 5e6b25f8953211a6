package x86

// What a segment may be used for.
const (
	canRead  = 1
	canWrite = 2
)

// segment is a segment register with the hidden part that instructions work on:
// real mode changes only selector and base of it, which is why "unreal" mode works.
type segment struct {
	selector uint16
	access   uint8 // canRead, canWrite; none in a null segment
	big      bool  // 32-bit code or stack
	base     uint32
	lo, hi   uint32 // the offsets that are inside, both included
}

func realSegment(selector uint16) segment {
	return segment{selector: selector, base: uint32(selector) << 4, hi: 0xFFFF, access: canRead | canWrite}
}

// address checks an access of n bytes and returns its linear address.
func (c *CPU) address(s uint8, off, n uint32, need uint8) uint32 {
	g := &c.seg[s]
	if off < g.lo || off > g.hi || g.hi-off < n-1 || g.access&need == 0 {
		c.violation(s)
	}
	return g.base + off
}

func (c *CPU) violation(s uint8) {
	if s == SS {
		raiseCode(excSS, 0)
	}
	raiseCode(excGP, 0)
}

// Types of descriptors: the low five bits of the access byte.
const (
	typeLDT      = 0x02
	typeCallGate = 0x0C // or 04, of a 286
	typeTSS      = 0x09 // or 01, of a 286
	typeBusy     = 0x02
	typeSegment  = 0x10 // set in those of code and data
	typeCode     = 0x08
	typeGrows    = 0x04 // data: expands down; code: conforming
	typeWrite    = 0x02 // data: may be written; code: may be read
	typeAccessed = 0x01
)

// descriptor is an entry of a descriptor table.
type descriptor struct {
	lo, hi uint32
	at     uint32 // its linear address
}

func (d descriptor) kind() uint8   { return uint8(d.hi >> 8 & 0x1F) }
func (d descriptor) dpl() uint16   { return uint16(d.hi >> 13 & 3) }
func (d descriptor) present() bool { return d.hi&(1<<15) != 0 }
func (d descriptor) base() uint32  { return d.lo>>16 | d.hi<<16&0xFF0000 | d.hi&0xFF000000 }
func (d descriptor) isCode() bool  { return d.kind()&(typeSegment|typeCode) == typeSegment|typeCode }
func (d descriptor) isData() bool  { return d.kind()&(typeSegment|typeCode) == typeSegment }

func (d descriptor) limit() uint32 {
	limit := d.lo&0xFFFF | d.hi&0xF0000
	if d.hi&(1<<23) != 0 {
		limit = limit<<12 | 0xFFF
	}
	return limit
}

// segment is the descriptor of code or data as a segment register holds it.
func (d descriptor) segment(selector uint16) segment {
	s := segment{selector: selector, base: d.base(), hi: d.limit(), big: d.hi&(1<<22) != 0}
	k := d.kind()
	if d.isCode() {
		if k&typeWrite != 0 {
			s.access = canRead
		}
		return s
	}
	s.access = canRead
	if k&typeWrite != 0 {
		s.access |= canWrite
	}
	if k&typeGrows != 0 {
		s.lo, s.hi = s.hi+1, 0xFFFF
		if s.big {
			s.hi = 1<<32 - 1
		}
		if s.lo == 0 {
			s.access = 0 // the limit is the whole: nothing is left above it
		}
	}
	return s
}

// lookup finds the descriptor of a selector; false if it is outside its table.
func (c *CPU) lookup(selector uint16) (d descriptor, ok bool) {
	base, limit := c.gdt.base, uint32(c.gdt.limit)
	if selector&4 != 0 {
		if c.ldt.access == 0 {
			return d, false
		}
		base, limit = c.ldt.base, c.ldt.hi
	}
	index := uint32(selector &^ 7)
	if index+7 > limit {
		return d, false
	}
	d.at = base + index
	d.lo, d.hi = c.readSlow(d.at, 4), c.readSlow(d.at+4, 4)
	return d, true
}

// find is lookup with the exception for a selector without descriptor.
func (c *CPU) find(selector uint16) descriptor {
	d, ok := c.lookup(selector)
	if !ok || selector&^3 == 0 {
		raiseCode(excGP, uint32(selector&^3))
	}
	return d
}

func (c *CPU) markAccessed(d descriptor) {
	if d.kind()&typeAccessed == 0 {
		c.writeSlow(d.at+5, d.hi>>8&0xFF|typeAccessed, 1)
	}
}

// load loads a data or stack segment register.
func (c *CPU) load(n int, selector uint16) {
	switch {
	case !c.Protected():
		c.loadReal(n, selector)
	case n == SS:
		c.loadStack(selector)
	case selector&^3 == 0:
		c.seg[n].selector, c.seg[n].access = selector, 0
	default:
		c.loadData(n, selector)
	}
}

func (c *CPU) loadReal(n int, selector uint16) {
	s := &c.seg[n]
	s.selector, s.base, s.access = selector, uint32(selector)<<4, canRead|canWrite
	if n == CS {
		c.leave = true
	}
}

func (c *CPU) loadStack(selector uint16) {
	d := c.find(selector)
	bad := selector&3 != 0 || d.dpl() != 0 || !d.isData() || d.kind()&typeWrite == 0
	if bad {
		raiseCode(excGP, uint32(selector&^3))
	}
	if !d.present() {
		raiseCode(excSS, uint32(selector&^3))
	}
	c.markAccessed(d)
	c.seg[SS] = d.segment(selector)
	c.spMask = 0xFFFF
	if c.seg[SS].big {
		c.spMask = 1<<32 - 1
	}
}

func (c *CPU) loadData(n int, selector uint16) {
	d := c.find(selector)
	readable := d.isData() || d.isCode() && d.kind()&typeWrite != 0
	conforming := d.isCode() && d.kind()&typeGrows != 0
	if !readable || !conforming && selector&3 > d.dpl() {
		raiseCode(excGP, uint32(selector&^3))
	}
	if !d.present() {
		raiseCode(excNP, uint32(selector&^3))
	}
	c.markAccessed(d)
	c.seg[n] = d.segment(selector)
}

// code checks that a selector names a code segment that this privilege may run,
// and the offset in it, and returns the segment. Nothing has changed yet.
func (c *CPU) code(selector uint16, offset uint32) segment {
	return c.codeIn(c.find(selector), selector, offset)
}

func (c *CPU) codeIn(d descriptor, selector uint16, offset uint32) segment {
	conforming := d.kind()&typeGrows != 0
	if !d.isCode() || !conforming && selector&3 != 0 || d.dpl() != 0 {
		raiseCode(excGP, uint32(selector&^3))
	}
	if !d.present() {
		raiseCode(excNP, uint32(selector&^3))
	}
	s := d.segment(selector &^ 3)
	if offset > s.hi {
		raiseCode(excGP, 0)
	}
	c.markAccessed(d)
	return s
}

// goTo makes the next instruction the one at offset of a checked code segment.
func (c *CPU) goTo(s segment, offset uint32) {
	c.seg[CS] = s
	c.eip = offset
	c.leave = true
}
