package x86

// String instructions. A repeated one does at most stringChunk elements at a
// time, so that limits and interrupts hold, and goes on where it stopped.

const stringChunk = 1 << 16

// step is what an index register moves by.
func (c *CPU) step(n uint32) uint32 {
	if c.flags&flagDF != 0 {
		return -n
	}
	return n
}

func (c *CPU) index(n int, in *inst) uint32 { return c.r[n] & in.mask }

func (c *CPU) advance(n int, in *inst, by uint32) {
	c.r[n] = c.r[n]&^in.mask | (c.r[n]+by)&in.mask
}

// repeat runs one element's work as often as the prefix says; more tells whether
// to go on after an element.
func (c *CPU) repeat(in *inst, one func() (more bool)) {
	if in.rep == 0 {
		one()
		return
	}
	for range stringChunk {
		if c.counter(in) == 0 {
			return
		}
		more := one()
		c.advance(ECX, in, ^uint32(0))
		c.steps += uint64(1)
		if !more {
			return
		}
		if c.leave {
			break
		}
	}
	if c.counter(in) != 0 {
		c.retry()
	}
}

// bulk is how many elements of a repeated forward instruction can be done at
// once: whole in the segments, in the quick part of memory, without wrapping.
// The linear addresses belong to the registers that are asked for.
func (c *CPU) bulk(in *inst, w uint32, from, to bool) (n, source, target uint32) {
	if in.rep == 0 || c.flags&flagDF != 0 {
		return 0, 0, 0
	}
	n = min(c.counter(in), stringChunk)
	if from {
		source, n = c.stretch(in.seg, c.index(ESI, in), w, n, in, canRead)
	}
	if to {
		target, n = c.stretch(ES, c.index(EDI, in), w, n, in, canWrite)
	}
	return n, source, target
}

// stretch cuts n elements of w bytes at an offset to those that lie inside.
func (c *CPU) stretch(s uint8, off, w, n uint32, in *inst, need uint8) (linear, count uint32) {
	g := &c.seg[s]
	if g.access&need == 0 || off < g.lo || off > g.hi {
		return 0, 0
	}
	room := min(uint64(min(g.hi, in.mask)-off)+1, uint64(n)*uint64(w))
	linear = g.base + off
	if linear >= c.fast {
		return 0, 0
	}
	room = min(room, uint64(c.fast-linear))
	return linear, uint32(room) / w
}

// done accounts for n elements done at once. The next look at the registers
// finds the rest.
func (c *CPU) done(in *inst, n, w uint32, from, to bool) {
	if from {
		c.advance(ESI, in, n*w)
	}
	if to {
		c.advance(EDI, in, n*w)
	}
	c.advance(ECX, in, -n)
	c.steps += uint64(n / 8)
	if c.counter(in) != 0 {
		c.retry()
	}
}

// unmarked tells whether n bytes of memory can be written without being watched.
func (c *CPU) unmarked(addr, n uint32) bool {
	for i := addr >> chunkBits; i <= (addr+n-1)>>chunkBits; i++ {
		if c.marks[i] != 0 {
			return false
		}
	}
	return true
}

func movs[T number](c *CPU, in *inst) {
	w := width[T]()
	n, from, to := c.bulk(in, w, true, true)
	if n > 1 && c.unmarked(to, n*w) {
		copyUp(c.ram, from, to, n*w, w)
		c.done(in, n, w, true, true)
		return
	}
	by := c.step(w)
	c.repeat(in, func() bool {
		write(c, ES, c.index(EDI, in), read[T](c, in.seg, c.index(ESI, in)))
		c.advance(ESI, in, by)
		c.advance(EDI, in, by)
		return true
	})
}

// copyUp copies elements of w bytes one after the other, the lowest first: where
// the target begins inside the source, what has been copied is copied again.
func copyUp(ram []byte, from, to, size, w uint32) {
	chunk := size
	if to > from && to-from < size {
		chunk = max((to-from)&^(w-1), w)
	}
	for i := uint32(0); i < size; i += chunk {
		n := min(chunk, size-i)
		copy(ram[to+i:to+i+n], ram[from+i:from+i+n])
	}
}

func stos[T number](c *CPU, in *inst) {
	w := width[T]()
	v := reg[T](c, EAX)
	if n, _, to := c.bulk(in, w, false, true); n > 1 && c.unmarked(to, n*w) {
		fill(c.ram[to:to+n*w], v)
		c.done(in, n, w, false, true)
		return
	}
	by := c.step(w)
	c.repeat(in, func() bool {
		write(c, ES, c.index(EDI, in), v)
		c.advance(EDI, in, by)
		return true
	})
}

// fill repeats v over p, whose length is a multiple of its size.
func fill[T number](p []byte, v T) {
	w := int(width[T]())
	for i := range w {
		p[i] = byte(v >> (8 * i))
	}
	for n := w; n < len(p); n *= 2 {
		copy(p[n:], p[:n])
	}
}

func lods[T number](c *CPU, in *inst) {
	by := c.step(width[T]())
	c.repeat(in, func() bool {
		setReg(c, EAX, read[T](c, in.seg, c.index(ESI, in)))
		c.advance(ESI, in, by)
		return true
	})
}

// matches tells whether REPE or REPNE goes on.
func (c *CPU) matches(in *inst) bool { return c.zf() == (in.rep == 0xF3) }

func scas[T number](c *CPU, in *inst) {
	by := c.step(width[T]())
	v := reg[T](c, EAX)
	c.repeat(in, func() bool {
		sub(c, v, read[T](c, ES, c.index(EDI, in)))
		c.advance(EDI, in, by)
		return c.matches(in)
	})
}

func cmps[T number](c *CPU, in *inst) {
	by := c.step(width[T]())
	c.repeat(in, func() bool {
		a := read[T](c, in.seg, c.index(ESI, in))
		sub(c, a, read[T](c, ES, c.index(EDI, in)))
		c.advance(ESI, in, by)
		c.advance(EDI, in, by)
		return c.matches(in)
	})
}

func ins[T number](c *CPU, in *inst) {
	w := width[T]()
	by := c.step(w)
	c.repeat(in, func() bool {
		c.address(ES, c.index(EDI, in), w, canWrite)
		v := c.bus.In(uint16(c.r[EDX]), int(w))
		write(c, ES, c.index(EDI, in), T(v))
		c.advance(EDI, in, by)
		return true
	})
}

func outs[T number](c *CPU, in *inst) {
	w := width[T]()
	by := c.step(w)
	c.repeat(in, func() bool {
		c.bus.Out(uint16(c.r[EDX]), int(w), uint32(read[T](c, in.seg, c.index(ESI, in))))
		c.advance(ESI, in, by)
		return true
	})
}
