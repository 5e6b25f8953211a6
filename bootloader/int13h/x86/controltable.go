package x86

// conditions are the names of the conditions of Jcc, SETcc and CMOVcc.
var conditions = [16]string{"o", "no", "b", "nb", "z", "nz", "be", "a", "s", "ns", "p", "np", "l", "ge", "le", "g"}

func controlRows(t *[512]op) {
	for i, name := range conditions {
		t[0x70+i] = same("j"+name, "Jb", jcc).last()
		t[0x180+i] = same("j"+name, "Jz", jcc).last()
		t[0x190+i] = same("set"+name, "Eb", setcc)
		t[0x140+i] = sized("cmov"+name, "Gv,Ev", cmov[uint16], cmov[uint32])
	}
	t[0x9A] = sized("callf", "Ap", callFarI[uint16], callFarI[uint32]).last()
	t[0xC2] = sized("ret", "Iw", ret[uint16], ret[uint32]).last()
	t[0xC3] = sized("ret", "", ret[uint16], ret[uint32]).last()
	t[0xCA] = sized("retf", "Iw", retFar[uint16], retFar[uint32]).last()
	t[0xCB] = sized("retf", "", retFar[uint16], retFar[uint32]).last()
	t[0xCC] = same("int3", "", int3).last()
	t[0xCD] = same("int", "Ib", intN).last()
	t[0xCE] = same("into", "", into).last()
	t[0xCF] = sized("iret", "", iret[uint16], iret[uint32]).last()
	t[0xE0] = same("loopne", "Jb", loop(whenNotZF)).last()
	t[0xE1] = same("loope", "Jb", loop(whenZF)).last()
	t[0xE2] = same("loop", "Jb", loop(always)).last()
	t[0xE3] = same("jcxz", "Jb", jcxz).last()
	t[0xE8] = sized("call", "Jz", call[uint16], call[uint32]).last()
	t[0xE9] = same("jmp", "Jz", jmp).last()
	t[0xEA] = same("jmpf", "Ap", jmpFarI).last()
	t[0xEB] = same("jmp", "Jb", jmp).last()
	t[0xF1] = same("int1", "", icebp).last()
	t[0x10B] = same("ud2", "", ud2).last()
}

func shiftRows(t *[512]op) {
	group := func(args string, count func(*CPU, *inst) uint32, byteSized bool) *[8]op {
		g := new([8]op)
		for i, name := range []string{"rol", "ror", "rcl", "rcr", "shl", "shr", "shl", "sar"} {
			g[i] = sized(name, args, shiftBy[uint16](i, count), shiftBy[uint32](i, count))
			if byteSized {
				g[i] = same(name, args, shiftBy[uint8](i, count))
			}
		}
		return g
	}
	t[0xC0].group = group("Eb,Ib", countImm, true)
	t[0xC1].group = group("Ev,Ib", countImm, false)
	t[0xD0].group = group("Eb,1", countOne, true)
	t[0xD1].group = group("Ev,1", countOne, false)
	t[0xD2].group = group("Eb,CL", countCL, true)
	t[0xD3].group = group("Ev,CL", countCL, false)
	t[0x1A4] = sized("shld", "Ev,Gv,Ib", shld[uint16](countImm), shld[uint32](countImm))
	t[0x1A5] = sized("shld", "Ev,Gv,CL", shld[uint16](countCL), shld[uint32](countCL))
	t[0x1AC] = sized("shrd", "Ev,Gv,Ib", shrd[uint16](countImm), shrd[uint32](countImm))
	t[0x1AD] = sized("shrd", "Ev,Gv,CL", shrd[uint16](countCL), shrd[uint32](countCL))
}

func groupRows(t *[512]op) {
	immediate(t)
	t[0xF6].group = &[8]op{
		same("test", "Eb,Ib", flagsEI(and[uint8])), same("test", "Eb,Ib", flagsEI(and[uint8])),
		same("not", "Eb", opE(not[uint8])).locked(), same("neg", "Eb", opE(neg[uint8])).locked(),
		same("mul", "Eb", mul[uint8]), same("imul", "Eb", imul1[uint8]),
		same("div", "Eb", div[uint8]), same("idiv", "Eb", idiv[uint8]),
	}
	t[0xF7].group = &[8]op{
		sized("test", "Ev,Iz", flagsEI(and[uint16]), flagsEI(and[uint32])), sized("test", "Ev,Iz", flagsEI(and[uint16]), flagsEI(and[uint32])),
		sized("not", "Ev", opE(not[uint16]), opE(not[uint32])).locked(), sized("neg", "Ev", opE(neg[uint16]), opE(neg[uint32])).locked(),
		sized("mul", "Ev", mul[uint16], mul[uint32]), sized("imul", "Ev", imul1[uint16], imul1[uint32]),
		sized("div", "Ev", div[uint16], div[uint32]), sized("idiv", "Ev", idiv[uint16], idiv[uint32]),
	}
	t[0xFE].group = &[8]op{
		same("inc", "Eb", opE(inc[uint8])).locked(), same("dec", "Eb", opE(dec[uint8])).locked(),
	}
	t[0xFF].group = &[8]op{
		sized("inc", "Ev", opE(inc[uint16]), opE(inc[uint32])).locked(), sized("dec", "Ev", opE(dec[uint16]), opE(dec[uint32])).locked(),
		sized("call", "Ev", callE[uint16], callE[uint32]).last(), sized("callf", "Mp", callFarE[uint16], callFarE[uint32]).last(),
		sized("jmp", "Ev", jmpE[uint16], jmpE[uint32]).last(), sized("jmpf", "Mp", jmpFarE[uint16], jmpFarE[uint32]).last(),
		sized("push", "Ev", pushE[uint16], pushE[uint32]),
	}
	t[0xC6].group = &[8]op{same("mov", "Eb,Ib", movEI[uint8])}
	t[0xC7].group = &[8]op{sized("mov", "Ev,Iz", movEI[uint16], movEI[uint32])}
}

// immediate fills 80 to 83.
func immediate(t *[512]op) {
	b, w, d := new([8]op), new([8]op), new([8]op)
	row := func(i int, name string, fb, fw, fd exec, lock bool) {
		b[i], w[i], d[i] = same(name, "Eb,Ib", fb), sized(name, "Ev,Iz", fw, fd), sized(name, "Ev,Is", fw, fd)
		b[i].lock, w[i].lock, d[i].lock = lock, lock, lock
	}
	row(0, "add", opEI(add[uint8]), opEI(add[uint16]), opEI(add[uint32]), true)
	row(1, "or", opEI(or[uint8]), opEI(or[uint16]), opEI(or[uint32]), true)
	row(2, "adc", opEI(adc[uint8]), opEI(adc[uint16]), opEI(adc[uint32]), true)
	row(3, "sbb", opEI(sbb[uint8]), opEI(sbb[uint16]), opEI(sbb[uint32]), true)
	row(4, "and", opEI(and[uint8]), opEI(and[uint16]), opEI(and[uint32]), true)
	row(5, "sub", opEI(sub[uint8]), opEI(sub[uint16]), opEI(sub[uint32]), true)
	row(6, "xor", opEI(xor[uint8]), opEI(xor[uint16]), opEI(xor[uint32]), true)
	row(7, "cmp", flagsEI(sub[uint8]), flagsEI(sub[uint16]), flagsEI(sub[uint32]), false)
	t[0x80].group, t[0x81].group, t[0x82].group, t[0x83].group = b, w, b, d
}

func systemRows(t *[512]op) {
	t[0x63] = same("arpl", "Ew,Gw", arpl)
	t[0xF4] = same("hlt", "", hlt).last()
	t[0xF5] = same("cmc", "", cmc)
	t[0xF8] = same("clc", "", clc)
	t[0xF9] = same("stc", "", stc)
	t[0xFA] = same("cli", "", cli)
	t[0xFB] = same("sti", "", sti)
	t[0xFC] = same("cld", "", cld)
	t[0xFD] = same("std", "", std)
	t[0xE4] = same("in", "AL,Ib", inImm[uint8])
	t[0xE5] = sized("in", "eAX,Ib", inImm[uint16], inImm[uint32])
	t[0xE6] = same("out", "Ib,AL", outImm[uint8])
	t[0xE7] = sized("out", "Ib,eAX", outImm[uint16], outImm[uint32])
	t[0xEC] = same("in", "AL,DX", inDX[uint8])
	t[0xED] = sized("in", "eAX,DX", inDX[uint16], inDX[uint32])
	t[0xEE] = same("out", "DX,AL", outDX[uint8])
	t[0xEF] = sized("out", "DX,eAX", outDX[uint16], outDX[uint32])
	t[0x9B] = same("fwait", "", fwait)
	for i, f := range []exec{escNone, escD9, escNone, escDB, escNone, escDD, escNone, escDF} {
		t[0xD8+i] = same("coprocessor", "Ev", f)
	}
	t[0x100].group = &[8]op{
		same("sldt", "Ev", storeSelector(ldtSelector)), same("str", "Ev", storeSelector(taskSelector)),
		same("lldt", "Ew", lldt), same("ltr", "Ew", ltr), same("verr", "Ew", verr), same("verw", "Ew", verw),
	}
	t[0x101].group = &[8]op{
		same("sgdt", "Mp", storeTable(gdtr)), same("sidt", "Mp", storeTable(idtr)),
		same("lgdt", "Mp", loadTable(gdtr)), same("lidt", "Mp", loadTable(idtr)),
		4: same("smsw", "Ev", smsw), 6: same("lmsw", "Ew", lmsw).last(), 7: same("invlpg", "Mv", nop),
	}
	t[0x102] = sized("lar", "Gv,Ew", lar[uint16], lar[uint32])
	t[0x103] = sized("lsl", "Gv,Ew", lsl[uint16], lsl[uint32])
	t[0x106] = same("clts", "", clts)
	t[0x108] = same("invd", "", nop)
	t[0x109] = same("wbinvd", "", nop)
	t[0x120] = same("mov", "Rd,Cd", movFromCR)
	t[0x121] = same("mov", "Rd,Dd", movFromDR)
	t[0x122] = same("mov", "Cd,Rd", movToCR).last()
	t[0x123] = same("mov", "Dd,Rd", movToDR)
	t[0x131] = same("rdtsc", "", rdtsc)
	t[0x13F] = same("trap", "Ib", trap).last()
	t[0x1A2] = same("cpuid", "", cpuid)
}

func extendedRows(t *[512]op) {
	t[0x118] = same("prefetch", "Ev", nop)
	for i := 0x119; i < 0x120; i++ {
		t[i] = same("nop", "Ev", nop) // ENDBR32 among them
	}
	t[0x1B2] = sized("lss", "Gv,Mp", loadFar[uint16](SS), loadFar[uint32](SS))
	t[0x1B4] = sized("lfs", "Gv,Mp", loadFar[uint16](FS), loadFar[uint32](FS))
	t[0x1B5] = sized("lgs", "Gv,Mp", loadFar[uint16](GS), loadFar[uint32](GS))
	t[0x1AF] = sized("imul", "Gv,Ev", imulGE[uint16], imulGE[uint32])
	t[0x1B6] = sized("movzx", "Gv,Eb", movzx[uint8, uint16], movzx[uint8, uint32])
	t[0x1B7] = sized("movzx", "Gv,Ew", movzx[uint16, uint16], movzx[uint16, uint32])
	t[0x1BE] = sized("movsx", "Gv,Eb", movsx[uint8, uint16], movsx[uint8, uint32])
	t[0x1BF] = sized("movsx", "Gv,Ew", movsx[uint16, uint16], movsx[uint16, uint32])
	t[0x1B0] = same("cmpxchg", "Eb,Gb", cmpxchg[uint8]).locked()
	t[0x1B1] = sized("cmpxchg", "Ev,Gv", cmpxchg[uint16], cmpxchg[uint32]).locked()
	t[0x1C0] = same("xadd", "Eb,Gb", xadd[uint8]).locked()
	t[0x1C1] = sized("xadd", "Ev,Gv", xadd[uint16], xadd[uint32]).locked()
	t[0x1C7].group = &[8]op{1: same("cmpxchg8b", "Mv", cmpxchg8b).locked()}
	for i := range 8 {
		t[0x1C8+i] = same("bswap", "Zv", bswap)
	}
}

func bitRows(t *[512]op) {
	g := new([8]op)
	row := func(n int, name string, w func(a, m uint16) uint16, d func(a, m uint32) uint32) {
		writes := n > 0
		t[0x1A3+n*8] = sized(name, "Ev,Gv", btReg(w, writes), btReg(d, writes))
		g[4+n] = sized(name, "Ev,Ib", btImm(w, writes), btImm(d, writes))
		t[0x1A3+n*8].lock, g[4+n].lock = writes, writes
	}
	row(0, "bt", btNone[uint16], btNone[uint32])
	row(1, "bts", btSet[uint16], btSet[uint32])
	row(2, "btr", btReset[uint16], btReset[uint32])
	row(3, "btc", btToggle[uint16], btToggle[uint32])
	t[0x1BA].group = g
	t[0x1BC] = sized("bsf", "Gv,Ev", bsf[uint16], bsf[uint32])
	t[0x1BD] = sized("bsr", "Gv,Ev", bsr[uint16], bsr[uint32])
}
