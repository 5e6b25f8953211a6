package x86

import "fmt"

// Descriptor table registers. A 16-bit operand size loads 24 bits of base.

func loadTable(which func(c *CPU) *table) exec {
	return func(c *CPU, in *inst) {
		at := c.ea(in)
		limit, base := c.read16(in.seg, at), c.read32(in.seg, at+2)
		if !in.wide {
			base &= 0xFFFFFF
		}
		*which(c) = table{base, uint16(limit)}
	}
}

func storeTable(which func(c *CPU) *table) exec {
	return func(c *CPU, in *inst) {
		at := c.writable(in, 6)
		c.write16(in.seg, at, uint32(which(c).limit))
		c.write32(in.seg, at+2, which(c).base)
	}
}

func gdtr(c *CPU) *table { return &c.gdt }
func idtr(c *CPU) *table { return &c.idt }

func (c *CPU) protectedOnly() {
	if !c.Protected() {
		raise(excUD)
	}
}

// system returns the descriptor of an LDT or a TSS.
func (c *CPU) system(selector uint16, kinds ...uint8) descriptor {
	d := c.find(selector)
	known := false
	for _, k := range kinds {
		known = known || d.kind() == k
	}
	if selector&4 != 0 || !known {
		raiseCode(excGP, uint32(selector&^3))
	}
	if !d.present() {
		raiseCode(excNP, uint32(selector&^3))
	}
	return d
}

func systemSegment(d descriptor, selector uint16) segment {
	return segment{selector: selector, base: d.base(), hi: d.limit(), access: canRead}
}

func lldt(c *CPU, in *inst) {
	c.protectedOnly()
	selector := get[uint16](c, in)
	if selector&^3 == 0 {
		c.ldt = segment{selector: selector}
		return
	}
	c.ldt = systemSegment(c.system(selector, typeLDT), selector)
}

func ltr(c *CPU, in *inst) {
	c.protectedOnly()
	selector := get[uint16](c, in)
	d := c.system(selector, typeTSS, typeTSS&^8)
	c.writeSlow(d.at+5, d.hi>>8&0xFF|typeBusy, 1)
	c.task = systemSegment(d, selector)
}

func storeSelector(which func(c *CPU) uint16) exec {
	return func(c *CPU, in *inst) {
		c.protectedOnly()
		storeWord(c, in, uint32(which(c)))
	}
}

// storeWord stores 16 bits to memory, the whole operand size to a register.
func storeWord(c *CPU, in *inst, v uint32) {
	switch {
	case in.mem:
		c.write16(in.seg, c.ea(in), v)
	case in.wide:
		c.r[in.rm] = v
	default:
		setReg(c, in.rm, uint16(v))
	}
}

func ldtSelector(c *CPU) uint16  { return c.ldt.selector }
func taskSelector(c *CPU) uint16 { return c.task.selector }

// visible finds a descriptor for LAR, LSL, VERR and VERW, which never fault
// about it.
func (c *CPU) visible(in *inst) (descriptor, bool) {
	c.protectedOnly()
	selector := get[uint16](c, in)
	d, ok := c.lookup(selector)
	ok = ok && selector&^3 != 0
	conforming := d.isCode() && d.kind()&typeGrows != 0
	return d, ok && (conforming || selector&3 <= d.dpl())
}

// knownTo tells for each system type whether LAR (bit 0) and LSL (bit 1) accept it.
var knownTo = [16]uint8{1: 3, 2: 3, 3: 3, 4: 1, 5: 1, 9: 3, 11: 3, 12: 1}

func lar[T number](c *CPU, in *inst) {
	d, ok := c.visible(in)
	ok = ok && (d.kind()&typeSegment != 0 || knownTo[d.kind()]&1 != 0)
	if ok {
		setReg(c, in.reg, T(d.hi&0x00FFFF00))
	}
	c.setZF(ok)
}

func lsl[T number](c *CPU, in *inst) {
	d, ok := c.visible(in)
	ok = ok && (d.kind()&typeSegment != 0 || knownTo[d.kind()]&2 != 0)
	if ok {
		setReg(c, in.reg, T(d.limit()))
	}
	c.setZF(ok)
}

func verr(c *CPU, in *inst) {
	d, ok := c.visible(in)
	c.setZF(ok && (d.isData() || d.isCode() && d.kind()&typeWrite != 0))
}

func verw(c *CPU, in *inst) {
	d, ok := c.visible(in)
	c.setZF(ok && d.isData() && d.kind()&typeWrite != 0)
}

func arpl(c *CPU, in *inst) {
	c.protectedOnly()
	rpl := reg[uint16](c, in.reg) & 3
	modify(c, in, func(a uint16) uint16 {
		c.setZF(a&3 < rpl)
		return max(a, a&^3|rpl)
	})
}

// Control registers.

func movFromCR(c *CPU, in *inst) {
	switch in.reg {
	case 0:
		c.r[in.rm] = c.cr0
	case 2:
		c.r[in.rm] = c.cr2
	case 3:
		c.r[in.rm] = c.cr3
	case 4:
		c.r[in.rm] = c.cr4
	default:
		raise(excUD)
	}
}

func movToCR(c *CPU, in *inst) {
	v := c.r[in.rm]
	switch in.reg {
	case 0:
		c.setCR0(v)
	case 2:
		c.cr2 = v
	case 3:
		c.cr3 = v
	case 4:
		if v != 0 {
			c.unsupported(fmt.Sprintf("a control register 4 of %#x", v))
		}
	default:
		raise(excUD)
	}
}

func (c *CPU) setCR0(v uint32) {
	if v&cr0PG != 0 {
		c.unsupported("paging")
	}
	c.cr0 = v | cr0ET
	c.leave = true
}

func smsw(c *CPU, in *inst) {
	if !in.mem && in.wide {
		c.r[in.rm] = c.cr0
		return
	}
	storeWord(c, in, c.cr0&0xFFFF)
}

// lmsw can set PE but not clear it.
func lmsw(c *CPU, in *inst) {
	v := uint32(get[uint16](c, in)) & 15
	c.setCR0(c.cr0&^(cr0MP|cr0EM|cr0TS) | v)
}

func clts(c *CPU, _ *inst) { c.cr0 &^= cr0TS }

func movFromDR(c *CPU, in *inst) { c.r[in.rm] = c.dr[in.reg] }

func movToDR(c *CPU, in *inst) {
	if in.reg == 7 && c.r[in.rm]&0xFF != 0 {
		c.unsupported("hardware breakpoints")
	}
	c.dr[in.reg] = c.r[in.rm]
}

// Ports.

func inImm[T number](c *CPU, in *inst) {
	setReg(c, EAX, T(c.bus.In(uint16(in.imm), int(width[T]()))))
}

func inDX[T number](c *CPU, _ *inst) {
	setReg(c, EAX, T(c.bus.In(uint16(c.r[EDX]), int(width[T]()))))
}

func outImm[T number](c *CPU, in *inst) {
	c.bus.Out(uint16(in.imm), int(width[T]()), uint32(reg[T](c, EAX)))
}

func outDX[T number](c *CPU, _ *inst) {
	c.bus.Out(uint16(c.r[EDX]), int(width[T]()), uint32(reg[T](c, EAX)))
}

// hlt lets the bus pass the time.
func hlt(c *CPU, _ *inst) {
	c.leave = true
	c.check = 0
	if err := c.bus.Halt(c); err != nil {
		c.eip = c.start
		c.stop(err)
	}
}

// trap calls the bus. In memory that can be written it is no instruction.
func trap(c *CPU, in *inst) {
	p := (c.seg[CS].base + c.start) & c.a20 >> chunkBits
	if uint64(p) >= uint64(len(c.marks)) || c.marks[p]&markROM == 0 {
		raise(excUD)
	}
	c.leave = true
	if err := c.bus.Trap(c, uint8(in.imm)); err != nil {
		c.eip = c.start
		c.stop(err)
	}
}

func rdtsc(c *CPU, _ *inst) {
	v := c.bus.TSC()
	c.r[EAX], c.r[EDX] = uint32(v), uint32(v>>32)
}

// Features of CPUID leaf 1, EDX.
const (
	featureFPU  = 1 << 0
	featureTSC  = 1 << 4
	featureCX8  = 1 << 8
	featureCMOV = 1 << 15

	featureLM = 1 << 29 // of leaf 80000001h
)

// cpuid presents a plain processor of family 6. That it has long mode is said
// because loaders ask on behalf of the kernel, which does not run here.
func cpuid(c *CPU, _ *inst) {
	a, b, cx, d := uint32(0), uint32(0), uint32(0), uint32(0)
	switch c.r[EAX] {
	case 0:
		a, b, d, cx = 1, le.Uint32([]byte("Genu")), le.Uint32([]byte("ineI")), le.Uint32([]byte("ntel"))
	case 1:
		a, d = 0x611, featureFPU|featureTSC|featureCX8|featureCMOV
	case 1 << 31:
		a = 1<<31 + 1
	case 1<<31 + 1:
		d = featureLM
	}
	c.r[EAX], c.r[EBX], c.r[ECX], c.r[EDX] = a, b, cx, d
}
