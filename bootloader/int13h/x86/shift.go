package x86

// Shifts and rotations. A count of zero changes no flag.

// shifts are the operations of the opcodes C0, C1 and D0 to D3 by ModRM's reg field.
func shiftOp[T number](n int) func(c *CPU, a T, count uint32) T {
	return [8]func(c *CPU, a T, count uint32) T{rol[T], ror[T], rcl[T], rcr[T], shl[T], shr[T], shl[T], sar[T]}[n]
}

func shiftBy[T number](n int, count func(c *CPU, in *inst) uint32) exec {
	f := shiftOp[T](n)
	return func(c *CPU, in *inst) {
		k := count(c, in) & 31
		modify(c, in, func(a T) T {
			if k == 0 {
				return a
			}
			return f(c, a, k)
		})
	}
}

func countOne(*CPU, *inst) uint32      { return 1 }
func countCL(c *CPU, _ *inst) uint32   { return c.r[ECX] }
func countImm(_ *CPU, in *inst) uint32 { return in.imm }

func msb[T number](v T) uint32 { return uint32(v >> (bitsOf[T]() - 1)) }

func rol[T number](c *CPU, a T, count uint32) T {
	n := bitsOf[T]()
	k := count % n
	r := a<<k | a>>(n-k)
	cf := uint32(r & 1)
	c.setCFOF(cf, cf^msb(r))
	return r
}

func ror[T number](c *CPU, a T, count uint32) T {
	n := bitsOf[T]()
	k := count % n
	r := a>>k | a<<(n-k)
	c.setCFOF(msb(r), msb(r)^msb(r<<1))
	return r
}

func rcl[T number](c *CPU, a T, count uint32) T {
	cf := c.cf()
	for range count % (bitsOf[T]() + 1) {
		out := msb(a)
		a = a<<1 | T(cf)
		cf = out
	}
	c.setCFOF(cf, cf^msb(a))
	return a
}

func rcr[T number](c *CPU, a T, count uint32) T {
	cf := c.cf()
	for range count % (bitsOf[T]() + 1) {
		out := uint32(a & 1)
		a = a>>1 | T(cf)<<(bitsOf[T]()-1)
		cf = out
	}
	c.setCFOF(cf, msb(a)^msb(a<<1))
	return a
}

func shl[T number](c *CPU, a T, count uint32) T {
	r := a << count
	cf := uint32(uint64(a) << count >> bitsOf[T]() & 1)
	setResult(c, r)
	c.aux = 0
	c.setCFOF(cf, cf^msb(r))
	return r
}

func shr[T number](c *CPU, a T, count uint32) T {
	r := a >> count
	setResult(c, r)
	c.aux = 0
	c.setCFOF(uint32(a>>(count-1)&1), msb(r)^msb(r<<1))
	return r
}

func sar[T number](c *CPU, a T, count uint32) T {
	s := int64(int32(signed(a)))
	r := T(s >> count)
	setResult(c, r)
	c.aux = 0
	c.setCFOF(uint32(s>>(count-1)&1), 0)
	return r
}

func shld[T number](count func(c *CPU, in *inst) uint32) exec {
	return func(c *CPU, in *inst) {
		k := count(c, in) & 31
		fill := reg[T](c, in.reg)
		modify(c, in, func(a T) T {
			if k == 0 {
				return a
			}
			n := bitsOf[T]()
			// Behind the filling comes the operand again, as processors do for
			// counts above 16 of a 16-bit operand.
			v := uint64(a)<<(2*n) | uint64(fill)<<n | uint64(a)
			if n == 32 {
				v = uint64(a)<<32 | uint64(fill)
				return shiftedDouble(c, a, T(v<<k>>32), uint32(v>>(64-k)&1))
			}
			return shiftedDouble(c, a, T(v<<k>>(2*n)), uint32(v>>(3*n-k)&1))
		})
	}
}

func shrd[T number](count func(c *CPU, in *inst) uint32) exec {
	return func(c *CPU, in *inst) {
		k := count(c, in) & 31
		fill := reg[T](c, in.reg)
		modify(c, in, func(a T) T {
			if k == 0 {
				return a
			}
			n := bitsOf[T]()
			v := uint64(fill)<<n | uint64(a)
			if n == 16 {
				v |= uint64(a) << 32
			}
			return shiftedDouble(c, a, T(v>>k), uint32(v>>(k-1)&1))
		})
	}
}

// shiftedDouble sets the flags of SHLD and SHRD; OF tells a change of sign.
func shiftedDouble[T number](c *CPU, a, r T, cf uint32) T {
	setResult(c, r)
	c.aux = 0
	c.setCFOF(cf, msb(a)^msb(r))
	return r
}
