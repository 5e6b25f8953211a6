package x86

import "math/bits"

// The operations of BT, BTS, BTR and BTC on the bit chosen by a mask.
func btNone[T number](a, _ T) T   { return a }
func btSet[T number](a, m T) T    { return a | m }
func btReset[T number](a, m T) T  { return a &^ m }
func btToggle[T number](a, m T) T { return a ^ m }

// btReg has the bit's number in a register; in memory it may lie anywhere in 2^32 bits.
func btReg[T number](f func(a, mask T) T, writes bool) exec {
	return func(c *CPU, in *inst) {
		n := bitsOf[T]()
		at := reg[T](c, in.reg)
		far := *in
		far.disp += uint32(int32(signed(at))>>bits.Len32(n-1)) * width[T]()
		bt(c, &far, uint32(at)&(n-1), f, writes)
	}
}

func btImm[T number](f func(a, mask T) T, writes bool) exec {
	return func(c *CPU, in *inst) { bt(c, in, in.imm&(bitsOf[T]()-1), f, writes) }
}

func bt[T number](c *CPU, in *inst, bit uint32, f func(a, mask T) T, writes bool) {
	if !writes {
		c.setCF(uint32(get[T](c, in) >> bit & 1))
		return
	}
	modify(c, in, func(a T) T {
		c.setCF(uint32(a >> bit & 1))
		return f(a, 1<<bit)
	})
}

func bsf[T number](c *CPU, in *inst) {
	v := uint32(get[T](c, in))
	c.setZF(v == 0)
	if v != 0 {
		setReg(c, in.reg, T(bits.TrailingZeros32(v)))
	}
}

func bsr[T number](c *CPU, in *inst) {
	v := uint32(get[T](c, in))
	c.setZF(v == 0)
	if v != 0 {
		setReg(c, in.reg, T(bits.Len32(v)-1))
	}
}

func bswap(c *CPU, in *inst) { c.r[in.reg] = bits.ReverseBytes32(c.r[in.reg]) }

func xadd[T number](c *CPU, in *inst) {
	b := reg[T](c, in.reg)
	if !in.mem {
		a := reg[T](c, in.rm)
		r := add(c, a, b)
		setReg(c, in.reg, a)
		setReg(c, in.rm, r)
		return
	}
	at := c.writable(in, width[T]())
	a := read[T](c, in.seg, at)
	write(c, in.seg, at, add(c, a, b))
	setReg(c, in.reg, a)
}

func cmpxchg[T number](c *CPU, in *inst) {
	acc := reg[T](c, EAX)
	modify(c, in, func(a T) T {
		sub(c, acc, a)
		if a == acc {
			return reg[T](c, in.reg)
		}
		setReg(c, EAX, a)
		return a
	})
}

func cmpxchg8b(c *CPU, in *inst) {
	at := c.writable(in, 8)
	lo, hi := c.read32(in.seg, at), c.read32(in.seg, at+4)
	equal := lo == c.r[EAX] && hi == c.r[EDX]
	if equal {
		c.write32(in.seg, at, c.r[EBX])
		c.write32(in.seg, at+4, c.r[ECX])
	} else {
		c.r[EAX], c.r[EDX] = lo, hi
	}
	c.setZF(equal)
}
