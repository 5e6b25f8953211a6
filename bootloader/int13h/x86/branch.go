package x86

// Near branches. A target outside the code segment faults at the branch.

func (c *CPU) near(in *inst, target uint32) uint32 {
	if !in.wide {
		target &= 0xFFFF
	}
	if target > c.seg[CS].hi {
		raiseCode(excGP, 0)
	}
	return target
}

func jmp(c *CPU, in *inst) { c.eip = c.near(in, c.eip+in.imm) }

func jcc(c *CPU, in *inst) {
	if c.condition(in.cond) {
		c.eip = c.near(in, c.eip+in.imm)
	}
}

func (c *CPU) counter(in *inst) uint32 { return c.r[ECX] & in.mask }

func jcxz(c *CPU, in *inst) {
	if c.counter(in) == 0 {
		jmp(c, in)
	}
}

// loop is LOOP, LOOPE and LOOPNE.
func loop(more func(c *CPU) bool) exec {
	return func(c *CPU, in *inst) {
		n := (c.r[ECX] - 1) & in.mask
		if n != 0 && more(c) {
			jmp(c, in)
		}
		c.r[ECX] = c.r[ECX]&^in.mask | n
	}
}

func always(*CPU) bool      { return true }
func whenZF(c *CPU) bool    { return c.zf() }
func whenNotZF(c *CPU) bool { return !c.zf() }

func call[T number](c *CPU, in *inst) {
	target := c.near(in, c.eip+in.imm)
	push(c, T(c.eip))
	c.eip = target
}

func callE[T number](c *CPU, in *inst) {
	target := c.near(in, uint32(get[T](c, in)))
	push(c, T(c.eip))
	c.eip = target
}

func jmpE[T number](c *CPU, in *inst) { c.eip = c.near(in, uint32(get[T](c, in))) }

func ret[T number](c *CPU, in *inst) {
	target := c.near(in, uint32(peek[T](c, 0)))
	c.setSP(c.r[ESP] + width[T]() + in.imm)
	c.eip = target
}

// Far branches.

func jmpFarI(c *CPU, in *inst) { c.jumpFar(in.imm2, in.imm) }

func jmpFarE[T number](c *CPU, in *inst) {
	at := c.ea(in)
	c.jumpFar(uint16(c.read16(in.seg, at+width[T]())), uint32(read[T](c, in.seg, at)))
}

func callFarI[T number](c *CPU, in *inst) { callFar[T](c, in.imm2, in.imm) }

func callFarE[T number](c *CPU, in *inst) {
	at := c.ea(in)
	callFar[T](c, uint16(c.read16(in.seg, at+width[T]())), uint32(read[T](c, in.seg, at)))
}

func (c *CPU) jumpFar(selector uint16, offset uint32) {
	if !c.Protected() {
		c.goReal(selector, offset)
		return
	}
	s, offset, _ := c.through(selector, offset)
	c.goTo(s, offset)
}

func (c *CPU) goReal(selector uint16, offset uint32) {
	if offset > c.seg[CS].hi {
		raiseCode(excGP, 0)
	}
	c.loadReal(CS, selector)
	c.eip = offset
}

func callFar[T number](c *CPU, selector uint16, offset uint32) {
	if !c.Protected() {
		c.stackRoom(width[T](), 2)
		cs, eip := uint32(c.seg[CS].selector), c.eip
		c.goReal(selector, offset)
		c.pushAll(width[T](), cs, eip)
		return
	}
	s, offset, size := c.through(selector, offset)
	if size == 0 {
		size = width[T]()
	}
	c.pushAll(size, uint32(c.seg[CS].selector), c.eip)
	c.goTo(s, offset)
}

// through finds the code that a far jump or call leads to, through a call gate
// if the selector names one; size is the gate's, 2 or 4, or 0.
func (c *CPU) through(selector uint16, offset uint32) (s segment, target, size uint32) {
	d := c.find(selector)
	switch d.kind() {
	case 0x01, 0x05, 0x09:
		c.unsupported("a task switch")
	case 0x04:
		size, offset = 2, d.lo&0xFFFF
	case 0x0C:
		size, offset = 4, d.lo&0xFFFF|d.hi&0xFFFF0000
	default:
		return c.codeIn(d, selector, offset), offset, 0
	}
	if selector&3 > d.dpl() {
		raiseCode(excGP, uint32(selector&^3))
	}
	if !d.present() {
		raiseCode(excNP, uint32(selector&^3))
	}
	return c.code(uint16(d.lo>>16), offset), offset, size
}

func retFar[T number](c *CPU, in *inst) {
	offset, selector := uint32(peek[T](c, 0)), uint16(peek[T](c, width[T]()))
	c.returnTo(selector, offset)
	c.setSP(c.r[ESP] + 2*width[T]() + in.imm)
}

// returnTo goes where a far return leads. Only its own privilege is here.
func (c *CPU) returnTo(selector uint16, offset uint32) {
	if !c.Protected() {
		c.goReal(selector, offset)
		return
	}
	if selector&3 != 0 {
		c.unsupported("a return to less privileged code")
	}
	c.goTo(c.code(selector, offset), offset)
}

func iret[T number](c *CPU, _ *inst) {
	if c.Protected() && c.flags&flagNT != 0 {
		c.unsupported("a return from a task")
	}
	offset, selector := uint32(peek[T](c, 0)), uint16(peek[T](c, width[T]()))
	flags := uint32(peek[T](c, 2*width[T]()))
	if width[T]() == 2 {
		flags |= c.eflags() &^ 0xFFFF
	}
	if flags&flagVM != 0 && c.Protected() {
		c.unsupported("virtual-8086 mode")
	}
	if flags&flagTF != 0 {
		c.unsupported("single stepping")
	}
	c.returnTo(selector, offset)
	c.setSP(c.r[ESP] + 3*width[T]())
	c.setEFlags(flags)
	c.checkInterrupt()
}

func intN(c *CPU, in *inst) { c.interrupt(uint8(in.imm), software) }
func int3(c *CPU, _ *inst)  { c.interrupt(excBP, software) }
func icebp(c *CPU, _ *inst) { c.interrupt(1, software) }
func ud2(*CPU, *inst)       { raise(excUD) }
func into(c *CPU, in *inst) {
	if c.of() != 0 {
		c.interrupt(excOF, software)
	}
}
