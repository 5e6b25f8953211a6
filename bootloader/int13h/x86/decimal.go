package x86

// Decimal and ASCII adjustment (Intel SDM, volume 2, at each instruction).

func daa(c *CPU, _ *inst) { c.decimalAdjust(1) }
func das(c *CPU, _ *inst) { c.decimalAdjust(-1) }

func (c *CPU) decimalAdjust(sign int) {
	al := reg[uint8](c, EAX)
	old, cf, af := al, c.cf(), uint32(0)
	carry := uint32(0)
	if al&15 > 9 || c.aux&flagAF != 0 {
		r := int(al) + sign*6
		carry = cf
		if r < 0 || r > 0xFF {
			carry = 1
		}
		al, af = uint8(r), flagAF
	}
	if old > 0x99 || cf != 0 {
		al = uint8(int(al) + sign*0x60)
		carry = 1
	} else if sign > 0 {
		carry = 0
	}
	setReg(c, EAX, al)
	setResult(c, al)
	c.aux = af
	c.setCFOF(carry, 0)
}

func aaa(c *CPU, _ *inst) { c.asciiAdjust(1) }
func aas(c *CPU, _ *inst) { c.asciiAdjust(-1) }

func (c *CPU) asciiAdjust(sign int) {
	ax := reg[uint16](c, EAX)
	adjust := uint32(0)
	if ax&15 > 9 || c.aux&flagAF != 0 {
		ax = uint16(int(ax) + sign*0x106)
		adjust = 1
	}
	ax &= 0xFF0F
	setReg(c, EAX, ax)
	setResult(c, uint8(ax))
	c.aux = adjust << 4
	c.setCFOF(adjust, 0)
}

func aam(c *CPU, in *inst) {
	base := uint8(in.imm)
	if base == 0 {
		raise(excDE)
	}
	al := reg[uint8](c, EAX)
	setReg(c, EAX, uint16(al/base)<<8|uint16(al%base))
	logic(c, al%base)
}

func aad(c *CPU, in *inst) {
	ax := reg[uint16](c, EAX)
	al := uint8(ax) + uint8(ax>>8)*uint8(in.imm)
	setReg(c, EAX, uint16(al))
	logic(c, al)
}
