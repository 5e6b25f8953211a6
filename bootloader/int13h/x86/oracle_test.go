package x86

import (
	"bytes"
	"encoding/binary"
	"io"
	"math/rand/v2"
	command "os/exec"
	"path/filepath"
	"testing"
)

// The oracle's addresses and sizes; see testdata/oracle.s.
const (
	oracleCode   = 0x500000
	oracleDone   = 0x500100
	oracleWindow = 0x600000
	windowSize   = 256
)

// question is the state before an instruction.
type question struct {
	Code   [32]byte
	R      [8]uint32
	Flags  uint32
	Window [windowSize]byte
}

// answer is the state after it.
type answer struct {
	R      [8]uint32
	Flags  uint32
	Signal uint32
	Window [windowSize]byte
}

// sample is a question with what is known about it.
type sample struct {
	question
	op     *op
	in     inst
	length int
}

// ask has the machine's processor answer.
func ask(t *testing.T, samples []sample) []answer {
	t.Helper()
	object, program := filepath.Join(t.TempDir(), "o"), filepath.Join(t.TempDir(), "oracle")
	for _, args := range [][]string{
		{"as", "--32", "-o", object, "testdata/oracle.s"},
		{"ld", "-m", "elf_i386", "--section-start=.cases=0x500000", "--section-start=.window=0x600000", "-o", program, object},
	} {
		if out, err := command.CommandContext(t.Context(), args[0], args[1:]...).CombinedOutput(); err != nil {
			t.Skipf("SKIP: needs binutils of an x86 machine (apt install binutils): %v: %s", err, out)
		}
	}
	var in bytes.Buffer
	for i := range samples {
		_ = binary.Write(&in, le, &samples[i].question)
	}
	cmd := command.CommandContext(t.Context(), program)
	cmd.Stdin = &in
	out, err := cmd.Output()
	if err != nil {
		t.Skipf("SKIP: needs a machine that runs 32-bit x86 programs: %v", err)
	}
	answers := make([]answer, len(samples))
	if err := binary.Read(bytes.NewReader(out), le, answers); err != nil {
		t.Fatal(err)
	}
	return answers
}

// makeSamples makes n questions for each instruction with each operand size, the
// same ones for a seed.
func makeSamples(seed uint64, n int) (samples []sample) {
	r := rand.New(rand.NewPCG(seed, 386))
	for i := range opcodes {
		group := []int{0}
		if opcodes[i].group != nil {
			group = []int{0, 1, 2, 3, 4, 5, 6, 7}
		}
		for _, g := range group {
			for k := range 2 * n {
				if s, ok := makeSample(r, i, g, k&1 == 0); ok {
					samples = append(samples, s)
				}
			}
		}
	}
	return samples
}

// notAsked are instructions whose behaviour in a process is not that of a bare
// machine, and those that go elsewhere.
var notAsked = map[string]bool{
	"popf": true, "bound": true, "arpl": true, "fwait": true, "coprocessor": true, "cpuid": true, "rdtsc": true,
	"ins": true, "insb": true, "outs": true, "outsb": true, "in": true, "out": true, "cli": true, "sti": true,
	"les": true, "lds": true, "lss": true, "lfs": true, "lgs": true, "clts": true, "invd": true, "wbinvd": true, "invlpg": true,
	"sgdt": true, "sidt": true, "lgdt": true, "lidt": true, "smsw": true, "lmsw": true, "sldt": true, "str": true,
	"lldt": true, "ltr": true, "verr": true, "verw": true, "lar": true, "lsl": true, "prefetch": true, "enter": true,
}

func asked(o *op) bool {
	if o.name == "" || notAsked[o.name] || o.ends {
		return false
	}
	for _, a := range splitArgs(o.args) {
		switch a {
		case "Sw", "Cd", "Dd", "CS", "DS", "ES", "SS", "FS", "GS":
			return false
		}
	}
	return true
}

func makeSample(r *rand.Rand, opcode, group int, wide bool) (s sample, ok bool) {
	o := &opcodes[opcode]
	if o.group != nil {
		o = &o.group[group]
	}
	if !asked(o) || o.name == "bswap" && !wide {
		return s, false
	}
	s.op = o
	for i := range s.R {
		s.R[i] = randomValue(r)
	}
	for i := range s.Window {
		s.Window[i] = byte(r.Uint32())
	}
	s.Flags = r.Uint32()&(arithmeticFlags|flagDF) | flagIF | 2
	s.R[ESP] = oracleWindow + 64 + r.Uint32N(64)
	s.encode(r, opcode, group, wide)
	return s, true
}

// randomValue likes the borders.
func randomValue(r *rand.Rand) uint32 {
	switch r.IntN(4) {
	case 0:
		return []uint32{0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 1<<31 - 1, 1 << 31, 1<<32 - 1}[r.IntN(11)]
	case 1:
		return r.Uint32() & 0x1F
	}
	return r.Uint32()
}

func (s *sample) encode(r *rand.Rand, opcode, group int, wide bool) {
	b := []byte{}
	if !wide {
		b = append(b, 0x66)
	}
	switch {
	case opcode >= 0xA4 && opcode <= 0xAF && opcode != 0xA8 && opcode != 0xA9:
		b = s.stringPrefix(r, b)
	case opcode == 0xC9: // LEAVE
		s.R[EBP] = oracleWindow + r.Uint32N(192)
	case opcode == 0xD7: // XLAT
		s.R[EBX], s.R[EAX] = oracleWindow+r.Uint32N(64), r.Uint32N(128)
	case opcode&^8 == 0x1A3 || opcode&^8 == 0x1B3: // BT and its like
		for i := range s.R {
			if i != ESP {
				s.R[i] = uint32(r.IntN(256) - 128)
			}
		}
	}
	if opcode >= 0x100 {
		b = append(b, 0x0F)
	}
	b = append(b, byte(opcode))
	if s.op.tail&hasModRM != 0 || opcodes[opcode].group != nil {
		reg := byte(r.IntN(8))
		if opcodes[opcode].group != nil {
			reg = byte(group)
		} else if reg == ESP && s.op.name[0] == 'b' {
			reg = EAX // a bit's number from ESP lies outside the window
		}
		b = s.operand(r, b, reg)
	}
	if s.op.tail&hasOffset != 0 {
		b = le.AppendUint32(b, oracleWindow+64+r.Uint32N(128))
	}
	b = s.immediate(r, b, wide)
	s.finish(b)
}

func (s *sample) stringPrefix(r *rand.Rand, b []byte) []byte {
	s.R[ESI], s.R[EDI] = oracleWindow+100+r.Uint32N(60), oracleWindow+100+r.Uint32N(60)
	s.R[ECX] = r.Uint32N(12)
	for i := range s.Window { // so that comparisons are sometimes equal
		s.Window[i] &= 1
	}
	s.R[EAX] &= 0x01010101
	switch r.IntN(3) {
	case 0:
		b = append(b, 0xF2)
	case 1:
		b = append(b, 0xF3)
	}
	return b
}

// operand appends ModRM, and what it asks for, of a register or of memory in the
// window by any of the 32-bit ways of addressing.
func (s *sample) operand(r *rand.Rand, b []byte, reg byte) []byte {
	if s.op.tail&needsMem == 0 && r.IntN(2) == 0 {
		return append(b, 0xC0|reg<<3|byte(r.IntN(8)))
	}
	target := oracleWindow + 96 + r.Uint32N(64)
	rm := byte(r.IntN(8))
	if rm == ESP {
		sib := byte(r.IntN(256))
		sum := s.R[sib&7]
		if index := sib >> 3 & 7; index != ESP {
			sum += s.R[index] << (sib >> 6)
		}
		b = append(b, 0x84|reg<<3, sib)
		return le.AppendUint32(b, target-sum)
	}
	if rm == EBP && r.IntN(2) == 0 {
		return le.AppendUint32(append(b, reg<<3|5), target)
	}
	return le.AppendUint32(append(b, 0x80|reg<<3|rm), target-s.R[rm])
}

func (s *sample) immediate(r *rand.Rand, b []byte, wide bool) []byte {
	v := randomValue(r)
	switch tail := s.op.tail; {
	case tail&(hasImm8|hasImm8s) != 0:
		return append(b, byte(v))
	case tail&hasImm16 != 0, tail&hasImmZ != 0 && !wide:
		return le.AppendUint16(b, uint16(v))
	case tail&hasImmZ != 0:
		return le.AppendUint32(b, v)
	}
	return b
}

// finish puts the jump behind the instruction.
func (s *sample) finish(b []byte) {
	s.length = len(b)
	b = append(b, 0xE9)
	b = le.AppendUint32(b, uint32(oracleDone-oracleCode-s.length-5))
	copy(s.Code[:], b)
}

// quiet is a bus with nothing on it.
type quiet struct{}

func (quiet) In(uint16, int) uint32    { return 1<<32 - 1 }
func (quiet) Out(uint16, int, uint32)  {}
func (quiet) Trap(*CPU, uint8) error   { return io.EOF }
func (quiet) Enter(*CPU, uint32) error { return nil }
func (quiet) Tick(*CPU) error          { return nil }
func (quiet) Halt(*CPU) error          { return io.EOF }
func (quiet) TSC() uint64              { return 0 }
