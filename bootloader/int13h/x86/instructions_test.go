package x86

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"flag"
	"os"
	"testing"
)

var (
	update = flag.Bool("update", false, "ask this machine's processor and write the corpus of instruction tests anew")
	oracle = flag.Int("oracle", 0, "ask this machine's processor about this many cases of each instruction, besides the corpus")
)

const (
	corpusFile  = "testdata/instructions.bin.gz"
	corpusSeed  = 1
	corpusCases = 12 // of each instruction and operand size
)

// TestInstructions compares each unprivileged instruction with what a real
// processor made of the same state. The questions follow from a seed; the corpus
// holds the answers.
func TestInstructions(t *testing.T) {
	samples := makeSamples(corpusSeed, corpusCases)
	if *update {
		writeCorpus(t, samples, ask(t, samples))
	}
	compare(t, samples, readCorpus(t, samples))
	if *oracle > 0 {
		samples := makeSamples(corpusSeed+uint64(*oracle), *oracle)
		compare(t, samples, ask(t, samples))
	}
}

func compare(t *testing.T, samples []sample, answers []answer) {
	t.Helper()
	c := New(quiet{}, 8<<20)
	failed := map[string]int{}
	faults := 0
	for i := range samples {
		s, want := &samples[i], answers[i]
		got := s.run(c)
		if want.Signal != 0 {
			faults++
		}
		mask, comparable := s.defined()
		if !comparable {
			continue
		}
		if want.Signal != got.Signal || want.Signal == 0 && (want.R != got.R || want.Window != got.Window || (want.Flags^got.Flags)&mask != 0) {
			if failed[s.op.name]++; failed[s.op.name] <= 3 {
				t.Errorf("% x %s\n before %x %x\n got    %x %x signal %d\n want   %x %x signal %d, flags differ in %x", s.Code[:s.length], s.op.text(&s.in),
					s.R, s.Flags, got.R, got.Flags, got.Signal, want.R, want.Flags, want.Signal, (want.Flags^got.Flags)&mask)
			}
		}
	}
	t.Logf("%d cases, %d of them faults", len(samples), faults)
}

// run runs a sample here.
func (s *sample) run(c *CPU) (a answer) {
	flat := segment{hi: 1<<32 - 1, access: canRead | canWrite, big: true}
	for i := range c.seg {
		c.seg[i] = flat
	}
	c.spMask = 1<<32 - 1
	copy(c.r[:8], s.R[:])
	c.setEFlags(s.Flags)
	c.Write(oracleCode, s.Code[:])
	c.Write(oracleWindow, s.Window[:])
	c.eip, c.check = oracleCode, 1<<63
	s.in, _ = c.decode(oracleCode, true)
	c.leave, c.err = false, nil
	for c.eip == oracleCode && a.Signal == 0 { // once, and again while it repeats
		a.Signal = c.single()
	}
	if int(c.eip) != oracleCode+s.length && a.Signal == 0 {
		a.Signal = 1000 // the length is wrong
	}
	copy(a.R[:], c.r[:8])
	a.Flags = c.eflags()
	copy(a.Window[:], c.ram[oracleWindow:])
	return a
}

// single runs one instruction and returns the signal that a process would get.
func (c *CPU) single() (signal uint32) {
	defer func() {
		if r := recover(); r != nil {
			f, ok := r.(*fault)
			if !ok {
				panic(r)
			}
			switch f.vector {
			case excDE:
				signal = 8
			case excUD:
				signal = 4
			default:
				signal = 11
			}
		}
	}()
	in, _ := c.decode(c.eip, true)
	c.start = c.eip
	c.eip += uint32(in.length)
	in.exec(c, &in)
	return 0
}

// defined tells which flags the manuals define after a sample, and whether its
// result is defined at all.
func (s *sample) defined() (flags uint32, ok bool) {
	all := uint32(arithmeticFlags | flagDF | flagIF)
	size := uint32(32)
	if !s.in.wide {
		size = 16
	}
	if len(s.op.args) > 1 && s.op.args[1] == 'b' {
		size = 8
	}
	count := s.shiftCount()
	switch s.op.name {
	case "and", "or", "xor", "test":
		return all &^ flagAF, true
	case "shl", "shr", "sar":
		return all &^ undefinedByShift(count, size), true
	case "rol", "ror", "rcl", "rcr":
		if count > 1 {
			return all &^ flagOF, true
		}
	case "shld", "shrd":
		return all &^ undefinedByShift(count, size), count <= size
	case "mul", "imul":
		return all &^ (flagSF | flagZF | flagAF | flagPF), true
	case "div", "idiv":
		return all &^ arithmeticFlags, true
	case "bt", "bts", "btr", "btc":
		return all &^ (flagOF | flagSF | flagAF | flagPF), true
	case "bsf", "bsr":
		return all &^ (flagCF | flagOF | flagSF | flagAF | flagPF), true
	case "aaa", "aas":
		return all &^ (flagOF | flagSF | flagZF | flagPF), true
	case "daa", "das":
		return all &^ flagOF, true
	case "aam", "aad":
		return all &^ (flagOF | flagAF | flagCF), true
	}
	return all, true
}

func undefinedByShift(count, size uint32) uint32 {
	switch {
	case count == 0:
		return 0
	case count >= size:
		return flagAF | flagOF | flagCF
	case count > 1:
		return flagAF | flagOF
	}
	return flagAF
}

func (s *sample) shiftCount() uint32 {
	args := splitArgs(s.op.args)
	if len(args) == 0 {
		return 0
	}
	switch args[len(args)-1] {
	case "1":
		return 1
	case "CL":
		return s.R[ECX] & 31
	}
	return s.in.imm & 31
}

// The corpus holds for each sample what an answer changes: a bitmap of registers
// (bit 8: a fault, with the signal; bit 9: memory) and the new values, then the flags.

func writeCorpus(t *testing.T, samples []sample, answers []answer) {
	t.Helper()
	var packed bytes.Buffer
	z, _ := gzip.NewWriterLevel(&packed, gzip.BestCompression)
	for i := range samples {
		if _, err := z.Write(packAnswer(&samples[i].question, &answers[i])); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(corpusFile, packed.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}

func packAnswer(q *question, a *answer) []byte {
	if a.Signal != 0 {
		return []byte{0, 1, byte(a.Signal)}
	}
	bitmap, b := uint16(0), []byte{0, 0}
	for i := range a.R {
		if a.R[i] != q.R[i] {
			bitmap |= 1 << i
			b = le.AppendUint32(b, a.R[i])
		}
	}
	first, last := windowSize, 0
	for i := range a.Window {
		if a.Window[i] != q.Window[i] {
			first, last = min(first, i), i
		}
	}
	if first <= last {
		bitmap |= 1 << 9
		b = append(append(b, byte(first), byte(last)), a.Window[first:last+1]...)
	}
	le.PutUint16(b, bitmap)
	return le.AppendUint32(b, a.Flags)
}

func readCorpus(t *testing.T, samples []sample) []answer {
	t.Helper()
	f, err := os.Open(corpusFile)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	answers := make([]answer, len(samples))
	for i := range answers {
		unpackAnswer(t, z, &samples[i].question, &answers[i])
	}
	return answers
}

func unpackAnswer(t *testing.T, z *gzip.Reader, q *question, a *answer) {
	t.Helper()
	take := func(v any) {
		if err := binary.Read(z, le, v); err != nil {
			t.Fatal("corpus: ", err)
		}
	}
	a.R, a.Window = q.R, q.Window
	var bitmap uint16
	take(&bitmap)
	if bitmap&(1<<8) != 0 {
		var signal uint8
		take(&signal)
		a.Signal = uint32(signal)
		return
	}
	for i := range a.R {
		if bitmap&(1<<i) != 0 {
			take(&a.R[i])
		}
	}
	if bitmap&(1<<9) != 0 {
		var ends [2]uint8
		take(&ends)
		take(a.Window[ends[0] : int(ends[1])+1])
	}
	take(&a.Flags)
}
