package x86

// exec carries out one decoded instruction.
type exec func(c *CPU, in *inst)

// inst is a decoded instruction: all that its exec needs, looked up and
// sign-extended.
type inst struct {
	exec     exec
	imm      uint32 // immediate, branch distance, or offset of a far pointer
	disp     uint32
	mask     uint32 // what addresses are cut to
	imm2     uint16 // selector of a far pointer; second immediate of ENTER
	length   uint8
	reg      uint8 // the register that ModRM's reg field or the opcode names
	rm       uint8
	base     uint8
	index    uint8
	scale    uint8
	seg      uint8
	rep      uint8 // the prefix F2 or F3, or 0
	cond     uint8 // low four bits of the opcode
	mem      bool  // ModRM names memory
	wide     bool  // operands are of 32 bits, not 16
	wideAddr bool
}

// What follows an opcode.
const (
	hasModRM = 1 << iota
	hasImm8
	hasImm8s // sign-extended
	hasImm16
	hasImmZ // 16 or 32 bits
	hasRel8
	hasRelZ
	hasFar
	hasOffset // an address without ModRM
	needsMem  // ModRM must name memory
	needsReg  // ModRM must name a register
)

// op is an entry of the opcode tables.
type op struct {
	name  string
	args  string // as in Intel's opcode maps; Is is a sign-extended Ib
	run   [2]exec
	ends  bool // the block
	lock  bool // takes LOCK with memory
	group *[8]op
	tail  uint16 // from args
}

// decoder reads one instruction.
type decoder struct {
	c      *CPU
	at     uint32 // linear address
	in     inst
	seg    int // override, or -1
	lock   bool
	opcode uint16 // 0F xx is 1xx
}

func (d *decoder) u8() uint8 {
	v := uint8(d.c.readSlow(d.at+uint32(d.in.length), 1))
	d.in.length++
	return v
}

func (d *decoder) u16() uint32 { v := uint32(d.u8()); return v | uint32(d.u8())<<8 }
func (d *decoder) u32() uint32 { v := d.u16(); return v | d.u16()<<16 }
func (d *decoder) s8() uint32  { return uint32(int32(int8(d.u8()))) }

func (d *decoder) uz() uint32 {
	if d.in.wide {
		return d.u32()
	}
	return d.u16()
}

// decode decodes the instruction at a linear address. Bytes that are none decode
// to an instruction that fails when it runs.
func (c *CPU) decode(linear uint32, big bool) (inst, *op) {
	d := decoder{c: c, at: linear, seg: -1}
	d.in.wide, d.in.wideAddr = big, big
	o := d.op()
	switch {
	case o == nil:
		d.in.exec, o = unknown, &op{name: "(unknown)", ends: true}
	case d.in.length > maxLength:
		d.in.exec, o = tooLong, &op{name: "(too long)", ends: true}
	case d.lock && !(o.lock && d.in.mem), o.tail&needsMem != 0 && !d.in.mem, o.tail&needsReg != 0 && d.in.mem:
		d.in.exec, o = invalid, &op{name: "(invalid)", ends: true}
	}
	return d.in, o
}

func unknown(c *CPU, _ *inst) { c.unsupported("an instruction that is not here") }
func tooLong(*CPU, *inst)     { raiseCode(excGP, 0) }
func invalid(*CPU, *inst)     { raise(excUD) }

func (d *decoder) op() *op {
	opcode, ok := d.prefixes()
	if !ok {
		return &op{}
	}
	d.opcode = uint16(opcode)
	if opcode == 0x0F {
		d.opcode = 0x100 | uint16(d.u8())
	}
	o := &opcodes[d.opcode]
	d.in.cond = uint8(d.opcode & 15)
	d.in.reg = uint8(d.opcode & 7)
	if o.tail&hasModRM != 0 || o.group != nil {
		d.modRM()
		if o.group != nil {
			o = &o.group[d.in.reg]
		}
	} else {
		d.segment(DS)
	}
	if o.name == "" {
		return nil
	}
	d.immediates(o.tail)
	d.in.exec = o.run[0]
	if d.in.wide {
		d.in.exec = o.run[1]
	}
	return o
}

// prefixes reads prefixes and the first byte of the opcode; false if there are
// too many.
func (d *decoder) prefixes() (uint8, bool) {
	wide, wideAddr := d.in.wide, d.in.wideAddr
	for d.in.length < maxLength {
		b := d.u8()
		switch b {
		case 0x26, 0x2E, 0x36, 0x3E:
			d.seg = int(b >> 3 & 3)
		case 0x64, 0x65:
			d.seg = int(b & 7)
		case 0x66:
			d.in.wide = !wide
		case 0x67:
			d.in.wideAddr = !wideAddr
		case 0xF0:
			d.lock = true
		case 0xF2, 0xF3:
			d.in.rep = b
		default:
			d.setMask()
			return b, true
		}
	}
	d.in.length = maxLength + 1
	return 0, false
}

func (d *decoder) setMask() {
	d.in.base, d.in.index = zero, zero
	d.in.mask = 0xFFFF
	if d.in.wideAddr {
		d.in.mask = 1<<32 - 1
	}
}

// segment settles the segment of a memory operand.
func (d *decoder) segment(usual uint8) {
	d.in.seg = usual
	if d.seg >= 0 {
		d.in.seg = uint8(d.seg)
	}
}

func (d *decoder) modRM() {
	b := d.u8()
	mod := b >> 6
	d.in.reg, d.in.rm = b>>3&7, b&7
	d.in.mem = mod != 3
	switch {
	case !d.in.mem:
		d.segment(DS)
	case d.in.wideAddr:
		d.modRM32(mod)
	default:
		d.modRM16(mod)
	}
}

// bases16 are the base, index and segment of 16-bit addresses.
var bases16 = [8][3]uint8{
	{EBX, ESI, DS},
	{EBX, EDI, DS},
	{EBP, ESI, SS},
	{EBP, EDI, SS},
	{ESI, zero, DS},
	{EDI, zero, DS},
	{EBP, zero, SS},
	{EBX, zero, DS},
}

func (d *decoder) modRM16(mod uint8) {
	a := bases16[d.in.rm]
	if mod == 0 && d.in.rm == 6 {
		a = [3]uint8{zero, zero, DS}
		d.in.disp = d.u16()
	}
	d.in.base, d.in.index = a[0], a[1]
	d.segment(a[2])
	d.displacement(mod)
}

func (d *decoder) displacement(mod uint8) {
	switch {
	case mod == 1:
		d.in.disp = d.s8()
	case mod == 2 && d.in.wideAddr:
		d.in.disp = d.u32()
	case mod == 2:
		d.in.disp = d.u16()
	}
}

func (d *decoder) modRM32(mod uint8) {
	base := d.in.rm
	if base == ESP { // a SIB byte follows
		sib := d.u8()
		base = sib & 7
		if index := sib >> 3 & 7; index != ESP {
			d.in.index, d.in.scale = index, sib>>6
		}
	}
	usual := uint8(DS)
	switch {
	case base == EBP && mod == 0:
		base = zero
		d.in.disp = d.u32()
	case base == EBP || base == ESP:
		usual = SS
	}
	d.in.base = base
	d.segment(usual)
	d.displacement(mod)
}

func (d *decoder) immediates(tail uint16) {
	in := &d.in
	switch {
	case tail&hasOffset != 0:
		in.mem = true
		if in.wideAddr {
			in.disp = d.u32()
		} else {
			in.disp = d.u16()
		}
	case tail&hasFar != 0:
		in.imm = d.uz()
		in.imm2 = uint16(d.u16())
	case tail&(hasImm8s|hasRel8) != 0:
		in.imm = d.s8()
	case tail&(hasImmZ|hasRelZ) != 0:
		in.imm = d.uz()
	case tail&hasImm16 != 0 && tail&hasImm8 != 0: // ENTER
		in.imm2 = uint16(d.u16())
		in.imm = uint32(d.u8())
	case tail&hasImm16 != 0:
		in.imm = d.u16()
	case tail&hasImm8 != 0:
		in.imm = uint32(d.u8())
	}
}

// ea is the offset of the memory operand.
func (c *CPU) ea(in *inst) uint32 {
	return (c.r[in.base&15] + c.r[in.index&15]<<in.scale + in.disp) & in.mask
}

func reg[T number](c *CPU, n uint8) T {
	if width[T]() == 1 {
		return T(c.r[n&3] >> (n & 4 * 2))
	}
	return T(c.r[n&7])
}

func setReg[T number](c *CPU, n uint8, v T) {
	switch width[T]() {
	case 1:
		shift := n & 4 * 2
		r := &c.r[n&3]
		*r = *r&^(0xFF<<shift) | uint32(v)<<shift
	case 2:
		r := &c.r[n&7]
		*r = *r&^0xFFFF | uint32(v)
	default:
		c.r[n&7] = uint32(v)
	}
}

// get reads the operand that ModRM names.
func get[T number](c *CPU, in *inst) T {
	if in.mem {
		return read[T](c, in.seg, c.ea(in))
	}
	return reg[T](c, in.rm)
}

// put writes it.
func put[T number](c *CPU, in *inst, v T) {
	if in.mem {
		write(c, in.seg, c.ea(in), v)
		return
	}
	setReg(c, in.rm, v)
}

// modify replaces it by f of it. f may set flags: that it can be written is
// certain before.
func modify[T number](c *CPU, in *inst, f func(T) T) {
	if !in.mem {
		setReg(c, in.rm, f(reg[T](c, in.rm)))
		return
	}
	a := c.writable(in, width[T]())
	write(c, in.seg, a, f(read[T](c, in.seg, a)))
}

// writable is the offset of a memory operand that is sure to take a write.
func (c *CPU) writable(in *inst, n uint32) uint32 {
	a := c.ea(in)
	c.address(in.seg, a, n, canWrite)
	return a
}
