package x86

import (
	"fmt"
	"strings"
)

// disassemble returns the bytes of the instruction at a linear address and its
// name and operands in the manuals' notation, as far as they are known.
func (c *CPU) disassemble(linear uint32, big bool) ([]byte, string) {
	in, o := c.decode(linear, big)
	code := make([]byte, min(max(int(in.length), 8), maxLength))
	for i := range code {
		code[i] = byte(c.readSlow(linear+uint32(i), 1))
	}
	if o.name == "(unknown)" {
		return code, o.name
	}
	return code[:min(int(in.length), len(code))], o.text(&in)
}

var (
	names8   = [8]string{"al", "cl", "dl", "bl", "ah", "ch", "dh", "bh"}
	names16  = [16]string{"ax", "cx", "dx", "bx", "sp", "bp", "si", "di"}
	nameSegs = [8]string{"es", "cs", "ss", "ds", "fs", "gs", "?", "?"}
)

func (o *op) text(in *inst) string {
	parts := []string{}
	for _, a := range splitArgs(o.args) {
		parts = append(parts, argument(a, in))
	}
	name := o.name
	if in.rep != 0 && strings.HasSuffix(name, "s") {
		name = map[uint8]string{0xF2: "repne ", 0xF3: "rep "}[in.rep] + name
	}
	return strings.TrimSpace(name + " " + strings.Join(parts, ","))
}

func register(n, kind uint8, wide bool) string {
	switch {
	case kind == 'b':
		return names8[n]
	case kind == 'w' || kind == 'v' && !wide:
		return names16[n]
	}
	return "e" + names16[n]
}

func argument(a string, in *inst) string {
	if len(a) != 2 {
		return strings.ToLower(a)
	}
	switch a[0] {
	case 'G', 'Z':
		return register(in.reg, a[1], in.wide)
	case 'E', 'M', 'R':
		if !in.mem {
			return register(in.rm, a[1], in.wide)
		}
		return memoryOperand(in)
	case 'O':
		return memoryOperand(in)
	case 'I':
		return fmt.Sprintf("%#x", in.imm)
	case 'J':
		return fmt.Sprintf(".%+d", int32(in.imm)+int32(in.length))
	}
	switch a {
	case "Sw":
		return nameSegs[in.reg]
	case "Cd", "Dd":
		return fmt.Sprintf("%cr%d", a[0]|0x20, in.reg)
	case "Ap":
		return fmt.Sprintf("%#x:%#x", in.imm2, in.imm)
	}
	return strings.ToLower(a)
}

func memoryOperand(in *inst) string {
	s := nameSegs[in.seg] + ":["
	if in.base != zero {
		s += register(in.base, 'v', in.wideAddr) + "+"
	}
	if in.index != zero {
		s += fmt.Sprintf("%s*%d+", register(in.index, 'v', in.wideAddr), 1<<in.scale)
	}
	return fmt.Sprintf("%s%#x]", s, in.disp&in.mask)
}
