package x86

// block is a run of instructions decoded once, up to the first that goes
// elsewhere or changes how code is read.
type block struct {
	linear uint32
	bytes  uint32
	big    bool
	valid  bool
	insts  []inst
	loop   *copyLoop // that begins here, if one is known
}

const (
	blockSlots  = 1 << 13
	blockLength = 32 // instructions
	maxLength   = 15 // bytes of an instruction
)

func slot(linear uint32) uint32 { return (linear ^ linear>>13) & (blockSlots - 1) }

// block returns the block at CS:EIP; nil if the bus stops Run there.
func (c *CPU) block() *block {
	cs := &c.seg[CS]
	linear := cs.base + c.eip
	b := c.blocks[slot(linear)]
	if b != nil && b.linear == linear && b.big == cs.big && b.valid &&
		c.eip <= cs.hi && cs.hi-c.eip >= b.bytes-1 {
		return b
	}
	return c.decodeBlock(linear)
}

func (c *CPU) decodeBlock(linear uint32) *block {
	c.start = c.eip
	cs := &c.seg[CS]
	if c.eip > cs.hi {
		raiseCode(excGP, 0)
	}
	if err := c.bus.Enter(c, linear); err != nil {
		c.stop(err)
		c.leave = false
		return nil
	}
	b := &block{linear: linear, big: cs.big, valid: true}
	room := cs.hi - c.eip // bytes behind the first
	for len(b.insts) < blockLength {
		in, o := c.decode(linear+b.bytes, cs.big)
		if b.bytes+uint32(in.length)-1 > room {
			if b.bytes > 0 {
				break
			}
			raiseCode(excGP, 0)
		}
		b.insts = append(b.insts, in)
		b.bytes += uint32(in.length)
		if o.ends || room-b.bytes+1 == 0 {
			break
		}
	}
	if !c.noLoops {
		b.loop = c.findLoop(linear, cs.big)
	}
	c.remember(b)
	c.steps += uint64(len(b.insts))
	return b
}

// remember puts a block into the cache and marks the memory that it was made from.
func (c *CPU) remember(b *block) {
	if old := c.blocks[slot(b.linear)]; old != nil {
		old.valid = false
	}
	c.blocks[slot(b.linear)] = b
	last := uint32(1<<32 - 1)
	span := b.bytes
	if b.loop != nil {
		span = max(span, b.loop.span)
	}
	for i := range span {
		p := (b.linear + i) & c.a20 >> chunkBits
		if p == last || uint64(p) >= uint64(len(c.marks)) {
			continue
		}
		last = p
		c.marks[p] |= markCode
		c.coded[p] = append(alive(c.coded[p]), b)
	}
}

func alive(list []*block) []*block {
	n := 0
	for _, b := range list {
		if b.valid {
			list[n] = b
			n++
		}
	}
	clear(list[n:])
	return list[:n]
}

// forget drops the blocks decoded from a chunk of memory that has changed, the
// one under way among them.
func (c *CPU) forget(chunk uint32) {
	for _, b := range c.coded[chunk] {
		b.valid = false
	}
	delete(c.coded, chunk)
	c.marks[chunk] &^= markCode
	c.leave = true
}

// flush drops all blocks.
func (c *CPU) flush() {
	for chunk := range c.coded {
		c.forget(chunk)
	}
	clear(c.blocks)
	c.leave = true
}
