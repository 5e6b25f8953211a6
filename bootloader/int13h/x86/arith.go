package x86

// Arithmetic and logic: functions of two operands that set the flags.

func add[T number](c *CPU, a, b T) T { return addCarry(c, a, b, a+b) }

func adc[T number](c *CPU, a, b T) T { return addCarry(c, a, b, a+b+T(c.cf())) }

// addCarry sets the flags of r = a + b (+ carry): bit i of the vector is the
// carry out of bit i.
func addCarry[T number](c *CPU, a, b, r T) T {
	setResult(c, r)
	c.carries = top(a&b | (a|b)&^r)
	c.aux = uint32(a ^ b ^ r)
	return r
}

func sub[T number](c *CPU, a, b T) T { return subBorrow(c, a, b, a-b) }

func sbb[T number](c *CPU, a, b T) T { return subBorrow(c, a, b, a-b-T(c.cf())) }

func subBorrow[T number](c *CPU, a, b, r T) T {
	setResult(c, r)
	c.carries = top(^a&b | ^(a^b)&r)
	c.aux = uint32(a ^ b ^ r)
	return r
}

func and[T number](c *CPU, a, b T) T { return logic(c, a&b) }
func or[T number](c *CPU, a, b T) T  { return logic(c, a|b) }
func xor[T number](c *CPU, a, b T) T { return logic(c, a^b) }

func logic[T number](c *CPU, r T) T {
	setResult(c, r)
	c.carries, c.aux = 0, 0
	return r
}

func inc[T number](c *CPU, a T) T {
	cf := c.cf()
	r := add(c, a, 1)
	c.setCF(cf)
	return r
}

func dec[T number](c *CPU, a T) T {
	cf := c.cf()
	r := sub(c, a, 1)
	c.setCF(cf)
	return r
}

func neg[T number](c *CPU, a T) T { return sub(c, 0, a) }
func not[T number](_ *CPU, a T) T { return ^a }

// The ways of operands.

func opEG[T number](f func(c *CPU, a, b T) T) exec {
	return func(c *CPU, in *inst) {
		b := reg[T](c, in.reg)
		if !in.mem {
			setReg(c, in.rm, f(c, reg[T](c, in.rm), b))
			return
		}
		a := c.writable(in, width[T]())
		write(c, in.seg, a, f(c, read[T](c, in.seg, a), b))
	}
}

func opGE[T number](f func(c *CPU, a, b T) T) exec {
	return func(c *CPU, in *inst) {
		b := get[T](c, in)
		setReg(c, in.reg, f(c, reg[T](c, in.reg), b))
	}
}

func opEI[T number](f func(c *CPU, a, b T) T) exec {
	return func(c *CPU, in *inst) {
		modify(c, in, func(a T) T { return f(c, a, T(in.imm)) })
	}
}

func opAI[T number](f func(c *CPU, a, b T) T) exec {
	return func(c *CPU, in *inst) {
		setReg(c, EAX, f(c, reg[T](c, EAX), T(in.imm)))
	}
}

// Those of CMP and TEST, which keep nothing but the flags.

func flagsEG[T number](f func(c *CPU, a, b T) T) exec {
	return func(c *CPU, in *inst) { f(c, get[T](c, in), reg[T](c, in.reg)) }
}

func flagsGE[T number](f func(c *CPU, a, b T) T) exec {
	return func(c *CPU, in *inst) { f(c, reg[T](c, in.reg), get[T](c, in)) }
}

func flagsEI[T number](f func(c *CPU, a, b T) T) exec {
	return func(c *CPU, in *inst) { f(c, get[T](c, in), T(in.imm)) }
}

func flagsAI[T number](f func(c *CPU, a, b T) T) exec {
	return func(c *CPU, in *inst) { f(c, reg[T](c, EAX), T(in.imm)) }
}

func opE[T number](f func(c *CPU, a T) T) exec {
	return func(c *CPU, in *inst) {
		modify(c, in, func(a T) T { return f(c, a) })
	}
}

// opZ works on the register that the opcode names.
func opZ[T number](f func(c *CPU, a T) T) exec {
	return func(c *CPU, in *inst) { setReg(c, in.reg, f(c, reg[T](c, in.reg))) }
}

// bits is an operand's size.
func bitsOf[T number]() uint32 { return 8 * width[T]() }

// setPair sets AX, DX:AX or EDX:EAX to a product.
func setPair[T number](c *CPU, v uint64) {
	if width[T]() == 1 {
		setReg(c, EAX, uint16(v))
		return
	}
	setReg(c, EAX, T(v))
	setReg(c, EDX, T(v>>bitsOf[T]()))
}

// pair is AX, DX:AX or EDX:EAX as a dividend.
func pair[T number](c *CPU) uint64 {
	if width[T]() == 1 {
		return uint64(reg[uint16](c, EAX))
	}
	return uint64(reg[T](c, EDX))<<bitsOf[T]() | uint64(reg[T](c, EAX))
}

func mul[T number](c *CPU, in *inst) {
	v := uint64(reg[T](c, EAX)) * uint64(get[T](c, in))
	setPair[T](c, v)
	over := uint32(0)
	if v>>bitsOf[T]() != 0 {
		over = 1
	}
	setResult(c, T(v))
	c.setCFOF(over, over)
}

func imul1[T number](c *CPU, in *inst) {
	v := product(c, reg[T](c, EAX), get[T](c, in))
	setPair[T](c, uint64(v))
}

// product multiplies with sign; CF and OF tell whether it does not fit T.
func product[T number](c *CPU, a, b T) int64 {
	v := int64(int32(signed(a))) * int64(int32(signed(b)))
	over := uint32(0)
	if int64(int32(signed(T(v)))) != v {
		over = 1
	}
	setResult(c, T(v))
	c.setCFOF(over, over)
	return v
}

func imulGE[T number](c *CPU, in *inst) {
	setReg(c, in.reg, T(product(c, reg[T](c, in.reg), get[T](c, in))))
}

func imulGEI[T number](c *CPU, in *inst) {
	setReg(c, in.reg, T(product(c, get[T](c, in), T(in.imm))))
}

func div[T number](c *CPU, in *inst) {
	b := uint64(get[T](c, in))
	if b == 0 {
		raise(excDE)
	}
	a := pair[T](c)
	q := a / b
	if q>>bitsOf[T]() != 0 {
		raise(excDE)
	}
	setQuotient(c, T(q), T(a%b))
}

func idiv[T number](c *CPU, in *inst) {
	b := int64(int32(signed(get[T](c, in))))
	shift := 64 - 2*bitsOf[T]()
	a := int64(pair[T](c)<<shift) >> shift
	if b == 0 || a == -1<<63 && b == -1 {
		raise(excDE)
	}
	q := a / b
	if int64(int32(signed(T(q)))) != q {
		raise(excDE)
	}
	setQuotient(c, T(q), T(a%b))
}

func setQuotient[T number](c *CPU, quotient, remainder T) {
	if width[T]() == 1 {
		setReg(c, EAX, uint16(remainder)<<8|uint16(quotient))
		return
	}
	setReg(c, EAX, quotient)
	setReg(c, EDX, remainder)
}
