package x86

import "math/bits"

// Bits of EFLAGS.
const (
	flagCF   = 1 << 0
	flagPF   = 1 << 2
	flagAF   = 1 << 4
	flagZF   = 1 << 6
	flagSF   = 1 << 7
	flagTF   = 1 << 8
	flagIF   = 1 << 9
	flagDF   = 1 << 10
	flagOF   = 1 << 11
	flagIOPL = 3 << 12
	flagNT   = 1 << 14
	flagRF   = 1 << 16
	flagVM   = 1 << 17
	flagAC   = 1 << 18
	flagID   = 1 << 21

	arithmeticFlags = flagCF | flagPF | flagAF | flagZF | flagSF | flagOF
	flagsKept       = flagTF | flagIF | flagDF | flagIOPL | flagNT | flagAC | flagID
)

// flagState holds the arithmetic flags as the values that they follow from: an
// instruction stores them, and only who asks for a flag works it out.
type flagState struct {
	result  uint32 // ZF: it is zero
	sign    uint32 // SF: bit 31; PF: the parity of its low byte
	carries uint32 // CF: bit 31; OF: bit 31 differs from bit 30
	aux     uint32 // AF: bit 4
	flags   uint32 // the other flags, in their places
}

func (f *flagState) cf() uint32 { return f.carries >> 31 }
func (f *flagState) of() uint32 { return (f.carries ^ f.carries<<1) >> 31 }
func (f *flagState) sf() uint32 { return f.sign >> 31 }
func (f *flagState) zf() bool   { return f.result == 0 }
func (f *flagState) pf() bool   { return bits.OnesCount8(uint8(f.sign))&1 == 0 }

func (f *flagState) setCFOF(cf, of uint32) {
	f.carries = (cf&1)<<31 | ((cf^of)&1)<<30
}

func (f *flagState) setCF(cf uint32) { f.setCFOF(cf, f.of()) }

func (f *flagState) setZF(on bool) {
	f.result = 1
	if on {
		f.result = 0
	}
}

func (f *flagState) eflags() uint32 {
	v := f.flags | 2 | f.cf() | f.aux&flagAF | f.sf()<<7 | f.of()<<11
	if f.zf() {
		v |= flagZF
	}
	if f.pf() {
		v |= flagPF
	}
	return v
}

func (f *flagState) setEFlags(v uint32) {
	f.setArithmetic(v)
	f.setCFOF(v, v>>11)
	f.flags = v & flagsKept
}

// setArithmetic sets the flags that SAHF sets: SF, ZF, AF, PF and CF.
func (f *flagState) setArithmetic(v uint32) {
	f.setZF(v&flagZF != 0)
	f.sign = v & flagSF << 24
	if v&flagPF == 0 {
		f.sign |= 1
	}
	f.aux = v & flagAF
	f.setCF(v)
}

// signed extends an operand's sign to 32 bits.
func signed[T number](v T) uint32 {
	switch uint32(^T(0)) {
	case 0xFF:
		return uint32(int32(int8(v)))
	case 0xFFFF:
		return uint32(int32(int16(v)))
	}
	return uint32(v)
}

// top moves an operand's highest bit to bit 31.
func top[T number](v T) uint32 {
	return uint32(v) << (32 - 8*width[T]())
}

// setResult sets ZF, SF and PF.
func setResult[T number](c *CPU, r T) {
	s := signed(r)
	c.result, c.sign = s, s
}

// condition evaluates the condition n of Jcc, SETcc and CMOVcc.
func (c *CPU) condition(n uint8) bool {
	var v bool
	switch n >> 1 & 7 {
	case 0:
		v = c.of() != 0
	case 1:
		v = c.cf() != 0
	case 2:
		v = c.zf()
	case 3:
		v = c.cf() != 0 || c.zf()
	case 4:
		v = c.sf() != 0
	case 5:
		v = c.pf()
	case 6:
		v = c.sf() != c.of()
	default:
		v = c.zf() || c.sf() != c.of()
	}
	return v != (n&1 != 0)
}
