package x86

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"testing"
)

// loops are such that are done at once, as compilers make them: they count
// with ECX or against EBX, and move between ESI and EDI.
var loops = map[string][]byte{
	"without an end":                {0x39, 0xD9, 0x75, 0x03, 0xA4, 0xEB, 0xF9, 0xF4},                                     // cmp ecx,ebx; jnz; movsb; jmp
	"GRUB 2.06's memmove, backward": {0x83, 0xE9, 0x01, 0x72, 0x08, 0x8A, 0x14, 0x0E, 0x88, 0x14, 0x0F, 0xEB, 0xF3, 0xF4}, // sub ecx,1; jb; mov dl,[esi+ecx]; mov [edi+ecx],dl
	"GRUB 2.06's memmove, forward":  {0x39, 0xFB, 0x74, 0x03, 0xA4, 0xEB, 0xF9, 0xF4},                                     // cmp ebx,edi; jz; movsb; jmp
	"up to EBX":                     {0x8A, 0x14, 0x06, 0x88, 0x14, 0x07, 0x40, 0x39, 0xD8, 0x75, 0xF5, 0xF4},             // mov dl,[esi+eax]; mov [edi+eax],dl; inc eax; cmp eax,ebx; jne
	"below EBX, dwords":             {0x8B, 0x16, 0x89, 0x17, 0x83, 0xC6, 0x04, 0x83, 0xC7, 0x04, 0x39, 0xDF, 0x72, 0xF2, 0xF4},
	"dec ecx":                       {0x8A, 0x06, 0x46, 0x88, 0x07, 0x47, 0x49, 0x75, 0xF7, 0xF4},
	"words, index of 2":             {0x66, 0x8B, 0x14, 0x46, 0x66, 0x89, 0x14, 0x47, 0x40, 0x39, 0xD8, 0x76, 0xF3, 0xF4},
	"fill":                          {0x88, 0x17, 0x47, 0x39, 0xDF, 0x75, 0xF9, 0xF4},
	"fill, stosd":                   {0xAB, 0x83, 0xE9, 0x01, 0x75, 0xFA, 0xF4},
	"test":                          {0x85, 0xC9, 0x74, 0x06, 0xA4, 0x83, 0xE9, 0x01, 0xEB, 0xF6, 0xF4},
	"downwards":                     {0x8A, 0x06, 0x88, 0x07, 0x4E, 0x4F, 0x83, 0xE9, 0x01, 0x77, 0xF5, 0xF4},
}

// others look like such loops and are none, or only at times.
var others = map[string][]byte{
	"adds what it reads":        {0x8A, 0x14, 0x06, 0x00, 0x14, 0x07, 0x40, 0x39, 0xD8, 0x75, 0xF5, 0xF4},
	"different strides":         {0x8A, 0x06, 0x46, 0x46, 0x88, 0x07, 0x47, 0x49, 0x75, 0xF6, 0xF4},
	"counts what it loads":      {0x8B, 0x0E, 0x89, 0x0F, 0x83, 0xC6, 0x04, 0x83, 0xC7, 0x04, 0x49, 0x75, 0xF3, 0xF4},
	"jcxz":                      {0xE3, 0x04, 0xA4, 0x49, 0xEB, 0xFA, 0xF4},
	"signed":                    {0x8A, 0x06, 0x46, 0x88, 0x07, 0x47, 0x49, 0x7F, 0xF7, 0xF4},
	"stores another register":   {0x8A, 0x06, 0x46, 0x88, 0x37, 0x47, 0x49, 0x75, 0xF7, 0xF4},
	"stores before it loads":    {0x88, 0x07, 0x8A, 0x06, 0x46, 0x47, 0x49, 0x75, 0xF7, 0xF4},
	"carry of inc":              {0xA4, 0x41, 0x72, 0xFC, 0xF4},
	"16-bit addresses":          {0x67, 0x8A, 0x04, 0x46, 0x67, 0x88, 0x05, 0x47, 0x49, 0x75, 0xF5, 0xF4},
	"uses the register's upper": {0x8A, 0x34, 0x16, 0x88, 0x34, 0x17, 0x42, 0x39, 0xDA, 0x75, 0xF5, 0xF4},
}

// newFlat is a processor in 32-bit code about to run at 1000h.
func newFlat(code []byte, noLoops bool) *CPU {
	c := newProgram(code...)
	c.noLoops = noLoops
	c.cr0 |= cr0PE
	for i := range c.seg {
		c.seg[i] = segment{selector: 8, big: true, hi: 1<<32 - 1, access: canRead | canWrite}
	}
	c.spMask = 1<<32 - 1
	return c
}

// TestCopyLoops runs loops in both ways, from random states, and compares all.
func TestCopyLoops(t *testing.T) {
	for name, code := range loops {
		t.Run(name, func(t *testing.T) {
			if done := compareLoops(t, code); done == 0 {
				t.Error("it was never done at once")
			}
		})
	}
	for name, code := range others {
		t.Run(name, func(t *testing.T) { compareLoops(t, code) })
	}
}

func compareLoops(t *testing.T, code []byte) (found int) {
	random := rand.New(rand.NewPCG(13, uint64(len(code))))
	for range 30 {
		var regs [8]uint32
		for i := range regs {
			regs[i] = random.Uint32()
		}
		n := 1 + random.Uint32N(3000)
		regs[ESP], regs[ESI], regs[EDI] = 0xF00, 0x3000+random.Uint32N(0x2000), 0x3000+random.Uint32N(0x2000)
		regs[ECX], regs[EAX] = n, 0
		regs[EBX] = []uint32{n, regs[EDI] + n, regs[EDI] + n&^3}[random.IntN(3)]
		hi := []uint32{1<<32 - 1, 1<<32 - 1, 0x4800}[random.IntN(3)]
		flags := []uint32{2, 2, 2, 2 | flagDF}[random.IntN(4)]
		var plain, quick *CPU
		for _, noLoops := range []bool{true, false} {
			c := newFlat(code, noLoops)
			for i := range 0x4000 {
				c.ram[0x2000+i] = byte(i*7) ^ byte(i>>8)
			}
			c.r = [16]uint32{}
			copy(c.r[:], regs[:])
			c.setEFlags(flags)
			c.seg[DS].hi, c.seg[ES].hi = hi, hi
			c.Protect(0x5800, 0x80)
			err := c.Run(t.Context(), 9000)
			if !errors.Is(err, io.EOF) && !errors.Is(err, ErrSteps) && !errors.Is(err, ErrShutdown) {
				t.Fatal(err)
			}
			if plain, quick = quick, c; noLoops {
				continue
			}
			if l := c.findLoop(0x1000, true); l != nil {
				found++
			}
		}
		if plain.r != quick.r || plain.eip != quick.eip || plain.steps != quick.steps || plain.eflags() != quick.eflags() || !bytes.Equal(plain.ram, quick.ram) {
			t.Fatalf("from %x, limit %x, flags %x:\n%x at %x, flags %x, %d steps; want\n%x at %x, flags %x, %d steps; same memory: %v",
				regs, hi, flags, quick.r, quick.eip, quick.eflags(), quick.steps, plain.r, plain.eip, plain.eflags(), plain.steps, bytes.Equal(plain.ram, quick.ram))
		}
	}
	return found
}

// TestCopyUp copies within memory at all distances that matter, element by element.
func TestCopyUp(t *testing.T) {
	for _, w := range []uint32{1, 2, 4} {
		for from := range uint32(24) {
			for to := range uint32(24) {
				got, want := make([]byte, 64), make([]byte, 64)
				for i := range got {
					got[i], want[i] = byte(i), byte(i)
				}
				copyUp(got, from, to, 32, w)
				for i := uint32(0); i < 32; i += w {
					copy(want[to+i:to+i+w], bytes.Clone(want[from+i:from+i+w]))
				}
				if !bytes.Equal(got, want) {
					t.Fatalf("from %d to %d by %d: %v", from, to, w, got)
				}
			}
		}
	}
}
