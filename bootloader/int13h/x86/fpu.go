package x86

// fpu is the state of the coprocessor that loaders touch: they look for it and
// reset it. It does not compute.
type fpu struct {
	control, status uint16
}

func (f *fpu) reset() { f.control, f.status = 0x37F, 0 }

func (c *CPU) fpuReady() {
	if c.cr0&(cr0EM|cr0TS) != 0 {
		raise(excNM)
	}
}

// fwait has no pending exception to wait for.
func fwait(c *CPU, _ *inst) {
	if c.cr0&(cr0MP|cr0TS) == cr0MP|cr0TS {
		raise(excNM)
	}
}

// The escape opcodes by their first byte.

func escD9(c *CPU, in *inst) {
	c.fpuReady()
	switch {
	case in.mem && in.reg == 5: // FLDCW
		c.fpu.control = uint16(c.read16(in.seg, c.ea(in)))
	case in.mem && in.reg == 7: // FNSTCW
		c.write16(in.seg, c.ea(in), uint32(c.fpu.control))
	default:
		c.unsupported("arithmetic of the coprocessor")
	}
}

func escDB(c *CPU, in *inst) {
	c.fpuReady()
	switch {
	case !in.mem && in.reg == 4 && in.rm == 3: // FNINIT
		c.fpu.reset()
	case !in.mem && in.reg == 4 && in.rm == 2: // FNCLEX
		c.fpu.status = 0
	case !in.mem && in.reg == 4 && in.rm == 4: // FNSETPM of the 287
	default:
		c.unsupported("arithmetic of the coprocessor")
	}
}

func escDD(c *CPU, in *inst) {
	c.fpuReady()
	if !in.mem || in.reg != 7 { // FNSTSW m16
		c.unsupported("arithmetic of the coprocessor")
	}
	c.write16(in.seg, c.ea(in), uint32(c.fpu.status))
}

func escDF(c *CPU, in *inst) {
	c.fpuReady()
	if in.mem || in.reg != 4 || in.rm != 0 { // FNSTSW AX
		c.unsupported("arithmetic of the coprocessor")
	}
	setReg(c, EAX, c.fpu.status)
}

func escNone(c *CPU, _ *inst) {
	c.fpuReady()
	c.unsupported("arithmetic of the coprocessor")
}
