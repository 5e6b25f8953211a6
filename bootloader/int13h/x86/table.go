package x86

// opcodes are the instructions by first byte; 100 and up are those after 0F.
// They do not change.
var opcodes = makeOpcodes()

func makeOpcodes() *[512]op {
	t := new([512]op)
	arithmeticRows(t)
	dataRows(t)
	stackRows(t)
	stringRows(t)
	controlRows(t)
	shiftRows(t)
	groupRows(t)
	systemRows(t)
	extendedRows(t)
	bitRows(t)
	for i := range t {
		t[i].settle()
		if g := t[i].group; g != nil {
			for j := range g {
				g[j].settle()
			}
		}
	}
	return t
}

// settle derives tail from args.
func (o *op) settle() {
	for _, a := range splitArgs(o.args) {
		switch a {
		case "Eb", "Ev", "Ew", "Gb", "Gv", "Gw", "Sw", "Cd", "Dd":
			o.tail |= hasModRM
		case "Ib":
			o.tail |= hasImm8
		case "Is":
			o.tail |= hasImm8s
		case "Iw":
			o.tail |= hasImm16
		case "Iz":
			o.tail |= hasImmZ
		case "Jb":
			o.tail |= hasRel8
		case "Jz":
			o.tail |= hasRelZ
		case "Ap":
			o.tail |= hasFar
		case "Ob", "Ov":
			o.tail |= hasOffset
		case "Mv", "Mp":
			o.tail |= hasModRM | needsMem
		case "Rd":
			o.tail |= hasModRM | needsReg
		}
	}
}

func splitArgs(s string) (args []string) {
	for s != "" {
		n := 0
		for n < len(s) && s[n] != ',' {
			n++
		}
		args = append(args, s[:n])
		s = s[min(n+1, len(s)):]
	}
	return args
}

// same makes an entry of one exec for both operand sizes.
func same(name, args string, f exec) op { return op{name: name, args: args, run: [2]exec{f, f}} }

// sized makes an entry of one exec for each operand size.
func sized(name, args string, w, d exec) op { return op{name: name, args: args, run: [2]exec{w, d}} }

func (o op) locked() op { o.lock = true; return o }
func (o op) last() op   { o.ends = true; return o }

func arithmeticRows(t *[512]op) {
	row := func(i int, name string, b func(*CPU, uint8, uint8) uint8, w func(*CPU, uint16, uint16) uint16, d func(*CPU, uint32, uint32) uint32) {
		t[i*8+0] = same(name, "Eb,Gb", opEG(b)).locked()
		t[i*8+1] = sized(name, "Ev,Gv", opEG(w), opEG(d)).locked()
		t[i*8+2] = same(name, "Gb,Eb", opGE(b))
		t[i*8+3] = sized(name, "Gv,Ev", opGE(w), opGE(d))
		t[i*8+4] = same(name, "AL,Ib", opAI(b))
		t[i*8+5] = sized(name, "eAX,Iz", opAI(w), opAI(d))
	}
	row(0, "add", add[uint8], add[uint16], add[uint32])
	row(1, "or", or[uint8], or[uint16], or[uint32])
	row(2, "adc", adc[uint8], adc[uint16], adc[uint32])
	row(3, "sbb", sbb[uint8], sbb[uint16], sbb[uint32])
	row(4, "and", and[uint8], and[uint16], and[uint32])
	row(5, "sub", sub[uint8], sub[uint16], sub[uint32])
	row(6, "xor", xor[uint8], xor[uint16], xor[uint32])
	t[0x38] = same("cmp", "Eb,Gb", flagsEG(sub[uint8]))
	t[0x39] = sized("cmp", "Ev,Gv", flagsEG(sub[uint16]), flagsEG(sub[uint32]))
	t[0x3A] = same("cmp", "Gb,Eb", flagsGE(sub[uint8]))
	t[0x3B] = sized("cmp", "Gv,Ev", flagsGE(sub[uint16]), flagsGE(sub[uint32]))
	t[0x3C] = same("cmp", "AL,Ib", flagsAI(sub[uint8]))
	t[0x3D] = sized("cmp", "eAX,Iz", flagsAI(sub[uint16]), flagsAI(sub[uint32]))
	t[0x84] = same("test", "Eb,Gb", flagsEG(and[uint8]))
	t[0x85] = sized("test", "Ev,Gv", flagsEG(and[uint16]), flagsEG(and[uint32]))
	t[0xA8] = same("test", "AL,Ib", flagsAI(and[uint8]))
	t[0xA9] = sized("test", "eAX,Iz", flagsAI(and[uint16]), flagsAI(and[uint32]))
	for i := range 8 {
		t[0x40+i] = sized("inc", "Zv", opZ(inc[uint16]), opZ(inc[uint32]))
		t[0x48+i] = sized("dec", "Zv", opZ(dec[uint16]), opZ(dec[uint32]))
	}
	t[0x27] = same("daa", "", daa)
	t[0x2F] = same("das", "", das)
	t[0x37] = same("aaa", "", aaa)
	t[0x3F] = same("aas", "", aas)
	t[0xD4] = same("aam", "Ib", aam)
	t[0xD5] = same("aad", "Ib", aad)
	t[0x69] = sized("imul", "Gv,Ev,Iz", imulGEI[uint16], imulGEI[uint32])
	t[0x6B] = sized("imul", "Gv,Ev,Is", imulGEI[uint16], imulGEI[uint32])
}

func dataRows(t *[512]op) {
	t[0x86] = same("xchg", "Eb,Gb", xchgEG[uint8]).locked()
	t[0x87] = sized("xchg", "Ev,Gv", xchgEG[uint16], xchgEG[uint32]).locked()
	t[0x88] = same("mov", "Eb,Gb", movEG[uint8])
	t[0x89] = sized("mov", "Ev,Gv", movEG[uint16], movEG[uint32])
	t[0x8A] = same("mov", "Gb,Eb", movGE[uint8])
	t[0x8B] = sized("mov", "Gv,Ev", movGE[uint16], movGE[uint32])
	t[0x8C] = same("mov", "Ev,Sw", movES)
	t[0x8D] = sized("lea", "Gv,Mv", lea[uint16], lea[uint32])
	t[0x8E] = same("mov", "Sw,Ew", movSE)
	t[0x90] = same("nop", "", nop)
	for i := 1; i < 8; i++ {
		t[0x90+i] = sized("xchg", "eAX,Zv", xchgAZ[uint16], xchgAZ[uint32])
	}
	t[0x98] = sized("cbw", "", cbw, cwde)
	t[0x99] = sized("cwd", "", cwd, cdq)
	t[0x9E] = same("sahf", "", sahf)
	t[0x9F] = same("lahf", "", lahf)
	t[0xA0] = same("mov", "AL,Ob", movAO[uint8])
	t[0xA1] = sized("mov", "eAX,Ov", movAO[uint16], movAO[uint32])
	t[0xA2] = same("mov", "Ob,AL", movOA[uint8])
	t[0xA3] = sized("mov", "Ov,eAX", movOA[uint16], movOA[uint32])
	for i := range 8 {
		t[0xB0+i] = same("mov", "Zb,Ib", movZI[uint8])
		t[0xB8+i] = sized("mov", "Zv,Iz", movZI[uint16], movZI[uint32])
	}
	t[0xC4] = sized("les", "Gv,Mp", loadFar[uint16](ES), loadFar[uint32](ES))
	t[0xC5] = sized("lds", "Gv,Mp", loadFar[uint16](DS), loadFar[uint32](DS))
	t[0xD7] = same("xlat", "", xlat)
	t[0xD6] = op{} // SALC, which no manual has
}

func stackRows(t *[512]op) {
	seg := func(i, n int, name string) {
		t[i] = sized("push", name, pushSeg[uint16](n), pushSeg[uint32](n))
		if n != CS {
			t[i+1] = sized("pop", name, popSeg[uint16](n), popSeg[uint32](n))
		}
	}
	seg(0x06, ES, "ES")
	seg(0x0E, CS, "CS")
	seg(0x16, SS, "SS")
	seg(0x1E, DS, "DS")
	seg(0x1A0, FS, "FS")
	seg(0x1A8, GS, "GS")
	for i := range 8 {
		t[0x50+i] = sized("push", "Zv", pushZ[uint16], pushZ[uint32])
		t[0x58+i] = sized("pop", "Zv", popZ[uint16], popZ[uint32])
	}
	t[0x60] = sized("pusha", "", pusha[uint16], pusha[uint32])
	t[0x61] = sized("popa", "", popa[uint16], popa[uint32])
	t[0x62] = sized("bound", "Gv,Mv", bound[uint16], bound[uint32])
	t[0x68] = sized("push", "Iz", pushI[uint16], pushI[uint32])
	t[0x6A] = sized("push", "Is", pushI[uint16], pushI[uint32])
	t[0x8F] = op{group: &[8]op{0: sized("pop", "Ev", popE[uint16], popE[uint32])}}
	t[0x9C] = sized("pushf", "", pushf[uint16], pushf[uint32])
	t[0x9D] = sized("popf", "", popf[uint16], popf[uint32])
	t[0xC8] = sized("enter", "Iw,Ib", enter[uint16], enter[uint32])
	t[0xC9] = sized("leave", "", leave[uint16], leave[uint32])
}

func stringRows(t *[512]op) {
	row := func(i int, name string, b, w, d exec) {
		t[i] = same(name+"b", "", b)
		t[i+1] = sized(name, "", w, d)
	}
	row(0x6C, "ins", ins[uint8], ins[uint16], ins[uint32])
	row(0x6E, "outs", outs[uint8], outs[uint16], outs[uint32])
	row(0xA4, "movs", movs[uint8], movs[uint16], movs[uint32])
	row(0xA6, "cmps", cmps[uint8], cmps[uint16], cmps[uint32])
	row(0xAA, "stos", stos[uint8], stos[uint16], stos[uint32])
	row(0xAC, "lods", lods[uint8], lods[uint16], lods[uint32])
	row(0xAE, "scas", scas[uint8], scas[uint16], scas[uint32])
}
