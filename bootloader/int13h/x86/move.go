package x86

func movEG[T number](c *CPU, in *inst) { put(c, in, reg[T](c, in.reg)) }
func movGE[T number](c *CPU, in *inst) { setReg(c, in.reg, get[T](c, in)) }
func movEI[T number](c *CPU, in *inst) { put(c, in, T(in.imm)) }
func movZI[T number](c *CPU, in *inst) { setReg(c, in.reg, T(in.imm)) }
func movAO[T number](c *CPU, in *inst) { setReg(c, EAX, read[T](c, in.seg, in.disp)) }
func movOA[T number](c *CPU, in *inst) { write(c, in.seg, in.disp, reg[T](c, EAX)) }

func movzx[S, T number](c *CPU, in *inst) { setReg(c, in.reg, T(get[S](c, in))) }
func movsx[S, T number](c *CPU, in *inst) { setReg(c, in.reg, T(signed(get[S](c, in)))) }

func lea[T number](c *CPU, in *inst) { setReg(c, in.reg, T(c.ea(in))) }

func xchgEG[T number](c *CPU, in *inst) {
	b := reg[T](c, in.reg)
	if !in.mem {
		a := reg[T](c, in.rm)
		setReg(c, in.rm, b)
		setReg(c, in.reg, a)
		return
	}
	at := c.writable(in, width[T]())
	a := read[T](c, in.seg, at)
	write(c, in.seg, at, b)
	setReg(c, in.reg, a)
}

func xchgAZ[T number](c *CPU, in *inst) {
	a, b := reg[T](c, EAX), reg[T](c, in.reg)
	setReg(c, EAX, b)
	setReg(c, in.reg, a)
}

func nop(*CPU, *inst) {}

func cmov[T number](c *CPU, in *inst) {
	v := get[T](c, in)
	if c.condition(in.cond) {
		setReg(c, in.reg, v)
	}
}

func setcc(c *CPU, in *inst) {
	v := uint8(0)
	if c.condition(in.cond) {
		v = 1
	}
	put(c, in, v)
}

func cbw(c *CPU, _ *inst)  { setReg(c, EAX, uint16(signed(reg[uint8](c, EAX)))) }
func cwde(c *CPU, _ *inst) { c.r[EAX] = signed(reg[uint16](c, EAX)) }
func cwd(c *CPU, _ *inst)  { setReg(c, EDX, uint16(int16(c.r[EAX])>>15)) }
func cdq(c *CPU, _ *inst)  { c.r[EDX] = uint32(int32(c.r[EAX]) >> 31) }

func xlat(c *CPU, in *inst) {
	at := (c.r[EBX] + uint32(reg[uint8](c, EAX))) & in.mask
	setReg(c, EAX, uint8(c.read8(in.seg, at)))
}

func lahf(c *CPU, _ *inst) { setReg(c, 4, uint8(c.eflags())) }
func sahf(c *CPU, _ *inst) { c.setArithmetic(uint32(reg[uint8](c, 4))) }

func cmc(c *CPU, _ *inst) { c.setCF(c.cf() ^ 1) }
func clc(c *CPU, _ *inst) { c.setCF(0) }
func stc(c *CPU, _ *inst) { c.setCF(1) }
func cld(c *CPU, _ *inst) { c.flags &^= flagDF }
func std(c *CPU, _ *inst) { c.flags |= flagDF }
func cli(c *CPU, _ *inst) { c.flags &^= flagIF }

// sti has the next check see an interrupt that waits.
func sti(c *CPU, _ *inst) {
	c.flags |= flagIF
	c.checkInterrupt()
}

// Segment registers.

func movES(c *CPU, in *inst) {
	if in.reg > GS {
		raise(excUD)
	}
	v := c.seg[in.reg].selector
	if in.mem {
		c.write16(in.seg, c.ea(in), uint32(v))
	} else if in.wide {
		c.r[in.rm] = uint32(v)
	} else {
		setReg(c, in.rm, v)
	}
}

func movSE(c *CPU, in *inst) {
	if in.reg > GS || in.reg == CS {
		raise(excUD)
	}
	c.load(int(in.reg), get[uint16](c, in))
}

// loadFar is LES, LDS, LSS, LFS and LGS.
func loadFar[T number](n int) exec {
	return func(c *CPU, in *inst) {
		at := c.ea(in)
		v := read[T](c, in.seg, at)
		c.load(n, uint16(c.read16(in.seg, at+width[T]())))
		setReg(c, in.reg, v)
	}
}

func pushSeg[T number](n int) exec {
	return func(c *CPU, _ *inst) {
		if width[T]() == 4 { // the upper half of the slot is left alone
			sp := (c.r[ESP] - 4) & c.spMask
			c.address(SS, sp, 4, canWrite)
			c.write16(SS, sp, uint32(c.seg[n].selector))
			c.setSP(sp)
			return
		}
		push(c, c.seg[n].selector)
	}
}

func popSeg[T number](n int) exec {
	return func(c *CPU, _ *inst) {
		v := uint16(peek[T](c, 0))
		sp, mask := c.r[ESP]+width[T](), c.spMask
		c.load(n, v)
		c.r[ESP] = c.r[ESP]&^mask | sp&mask
	}
}

// The stack.

func pushZ[T number](c *CPU, in *inst) { push(c, reg[T](c, in.reg)) }
func pushE[T number](c *CPU, in *inst) { push(c, get[T](c, in)) }
func pushI[T number](c *CPU, in *inst) { push(c, T(in.imm)) }
func popZ[T number](c *CPU, in *inst)  { setReg(c, in.reg, pop[T](c)) }

// popE computes the address with ESP as it is after the pop.
func popE[T number](c *CPU, in *inst) {
	v := peek[T](c, 0)
	old := c.r[ESP]
	c.setSP(old + width[T]())
	if in.mem {
		at, after := c.ea(in), c.r[ESP]
		c.r[ESP] = old
		write(c, in.seg, at, v)
		c.r[ESP] = after
		return
	}
	setReg(c, in.rm, v)
}

func pusha[T number](c *CPU, _ *inst) {
	values := make([]uint32, 0, 8)
	for n := range uint8(8) {
		values = append(values, uint32(reg[T](c, n)))
	}
	c.pushAll(width[T](), values...)
}

func popa[T number](c *CPU, _ *inst) {
	var values [8]T
	for i := range values {
		values[i] = peek[T](c, uint32(i)*width[T]())
	}
	for i, v := range values {
		if n := uint8(7 - i); n != ESP {
			setReg(c, n, v)
		}
	}
	c.setSP(c.r[ESP] + 8*width[T]())
}

func pushf[T number](c *CPU, _ *inst) { push(c, T(c.eflags()&^(flagRF|flagVM))) }

func popf[T number](c *CPU, _ *inst) {
	v := peek[T](c, 0)
	if uint32(v)&flagTF != 0 {
		c.unsupported("single stepping")
	}
	c.setSP(c.r[ESP] + width[T]())
	old := c.eflags()
	if width[T]() == 2 {
		c.setEFlags(old&^0xFFFF | uint32(v))
	} else {
		c.setEFlags(uint32(v))
	}
	c.checkInterrupt()
}

// checkInterrupt has a waiting interrupt taken soon if that is now allowed.
func (c *CPU) checkInterrupt() {
	if c.irq >= 0 && c.flags&flagIF != 0 {
		c.check = 0
	}
}

func enter[T number](c *CPU, in *inst) {
	level := in.imm & 31
	frame := c.r[ESP] - width[T]()
	values := []uint32{uint32(reg[T](c, EBP))}
	for i := uint32(1); i < level; i++ {
		values = append(values, uint32(read[T](c, SS, (c.r[EBP]-i*width[T]())&c.spMask)))
	}
	if level > 0 {
		values = append(values, frame)
	}
	c.pushAll(width[T](), values...)
	setReg(c, EBP, T(frame))
	c.setSP(c.r[ESP] - uint32(in.imm2))
}

func leave[T number](c *CPU, _ *inst) {
	v := read[T](c, SS, c.r[EBP]&c.spMask)
	c.setSP(c.r[EBP]&c.spMask + width[T]())
	setReg(c, EBP, v)
}

func bound[T number](c *CPU, in *inst) {
	at := c.ea(in)
	i := int32(signed(reg[T](c, in.reg)))
	lo, hi := read[T](c, in.seg, at), read[T](c, in.seg, at+width[T]())
	if i < int32(signed(lo)) || i > int32(signed(hi)) {
		raise(excBR)
	}
}
