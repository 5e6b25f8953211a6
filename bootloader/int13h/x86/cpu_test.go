package x86

import (
	"errors"
	"io"
	"testing"
)

// newProgram is a processor in real mode about to run code at 0000:1000, with a
// stack below it. HLT ends the run with io.EOF.
func newProgram(code ...byte) *CPU {
	c := New(quiet{}, 4<<20)
	c.Write(0x1000, code)
	c.SetReg(ESP, 0xF00)
	c.Jump(0, 0x1000)
	return c
}

func (c *CPU) mustHalt(t *testing.T) {
	t.Helper()
	if err := c.Run(t.Context(), 1000); !errors.Is(err, io.EOF) {
		t.Fatalf("at %s: %v", c.Where(), err)
	}
}

// TestSelfModification changes an instruction of the block under way.
func TestSelfModification(t *testing.T) {
	c := newProgram(
		0xC6, 0x06, 0x07, 0x10, 0x42, // mov byte [1007h],42h
		0x90,
		0xB0, 0x00, // mov al,0
		0xF4,
	)
	c.mustHalt(t)
	if c.Reg(EAX) != 0x42 {
		t.Errorf("AL %#x", c.Reg(EAX))
	}
}

// TestFaultReal: the handler finds the address of the instruction that divided.
func TestFaultReal(t *testing.T) {
	c := newProgram(0x40, 0xF6, 0xF1) // inc ax; div cl
	c.Write(0, []byte{0x00, 0x20, 0x00, 0x00})
	c.Write(0x2000, []byte{0xF4})
	c.mustHalt(t)
	if ip := le.Uint16(c.Memory()[0xEFA:]); ip != 0x1001 || c.Reg(EAX) != 1 || c.Reg(ESP) != 0xEFA {
		t.Errorf("IP %#x, AX %#x, SP %#x", ip, c.Reg(EAX), c.Reg(ESP))
	}
}

// descriptors installs a GDT with flat data (8) and flat 32-bit code (10h).
func (c *CPU) descriptors() {
	c.Write(0x1100, []byte{23, 0, 0x00, 0x12, 0, 0})
	c.Write(0x1200, []byte{
		0, 0, 0, 0, 0, 0, 0, 0,
		0xFF, 0xFF, 0, 0, 0, 0x92, 0xCF, 0,
		0xFF, 0xFF, 0, 0, 0, 0x9A, 0xCF, 0,
	})
}

func TestUnrealMode(t *testing.T) {
	store := []byte{0x66, 0xBE, 0x00, 0x00, 0x20, 0x00, 0x64, 0x67, 0xC6, 0x06, 0x5A, 0xF4} // mov esi,200000h; mov byte fs:[esi],5Ah
	c := newProgram(append([]byte{
		0x0F, 0x01, 0x16, 0x00, 0x11, // lgdt [1100h]
		0x0F, 0x20, 0xC0, 0x0C, 0x01, 0x0F, 0x22, 0xC0, // protected mode
		0xBB, 0x08, 0x00, 0x8E, 0xE3, // mov fs,8
		0x24, 0xFE, 0x0F, 0x22, 0xC0, // real mode
		0x31, 0xDB, 0x8E, 0xE3, // mov fs,0
	}, store...)...)
	c.descriptors()
	c.mustHalt(t)
	if c.Memory()[0x200000] != 0x5A {
		t.Error("nothing stored above 1 MiB")
	}

	c = newProgram(store...) // without: #GP
	c.Write(13*4, []byte{0x00, 0x20, 0x00, 0x00})
	c.Write(0x2000, []byte{0xF4})
	c.mustHalt(t)
	if c.EIP() != 0x2000 || c.Memory()[0x200000] != 0 {
		t.Errorf("stored beyond the limit; IP %#x", c.EIP())
	}
}

// TestFaultProtected: a bad selector comes with an error code through a 32-bit gate.
func TestFaultProtected(t *testing.T) {
	c := newProgram(
		0x0F, 0x01, 0x16, 0x00, 0x11, // lgdt [1100h]
		0x0F, 0x01, 0x1E, 0x08, 0x11, // lidt [1108h]
		0x0F, 0x20, 0xC0, 0x0C, 0x01, 0x0F, 0x22, 0xC0, // protected mode
		0xEA, 0x20, 0x10, 0x10, 0x00, // jmp 10h:1020h
	)
	c.Write(0x1020, []byte{
		0x66, 0xB8, 0x08, 0x00, 0x8E, 0xD0, 0x8E, 0xD8, // mov ss,8; mov ds,8
		0xBC, 0x00, 0x0F, 0x00, 0x00, // mov esp,0F00h
		0x66, 0xB8, 0x50, 0x00, 0x8E, 0xD8, // mov ds,50h
	})
	c.descriptors()
	c.Write(0x1108, []byte{14*8 - 1, 0, 0x00, 0x13, 0, 0})
	c.Write(0x1300+13*8, []byte{0x00, 0x20, 0x10, 0x00, 0x00, 0x8E, 0x00, 0x00})
	c.Write(0x2000, []byte{0xF4})
	c.mustHalt(t)
	code, eip := le.Uint32(c.Memory()[0xEF0:]), le.Uint32(c.Memory()[0xEF4:])
	if code != 0x50 || eip != 0x1031 || c.Selector(DS) != 8 || c.Reg(ESP) != 0xEF0 {
		t.Errorf("error code %#x, EIP %#x, DS %#x, ESP %#x", code, eip, c.Selector(DS), c.Reg(ESP))
	}
}

func TestA20(t *testing.T) {
	c := newProgram(0xB8, 0xFF, 0xFF, 0x8E, 0xD8, 0xC6, 0x06, 0x10, 0x05, 0x77, 0xF4) // mov byte FFFF:0510,77h
	c.SetA20(false)
	c.mustHalt(t)
	if c.Memory()[0x500] != 0x77 || c.Memory()[0x100500] != 0 {
		t.Error("A20 is off, and the address has not wrapped")
	}
}

func TestReadOnly(t *testing.T) {
	c := newProgram(0xC6, 0x06, 0x00, 0x80, 0x77, 0xF4) // mov byte [8000h],77h
	c.Protect(0x8000, 0x80)
	c.mustHalt(t)
	if c.Memory()[0x8000] != 0 {
		t.Error("read-only memory has changed")
	}
}

// FuzzCode: no code makes it panic or run past its limit.
func FuzzCode(f *testing.F) {
	f.Add([]byte{0xF3, 0xA4, 0xF4})
	f.Add([]byte{0x0F, 0x01, 0x16, 0x00, 0x11, 0x0F, 0x20, 0xC0, 0x0C, 0x01, 0x0F, 0x22, 0xC0, 0xEA, 0x20, 0x10, 0x10, 0x00})
	f.Fuzz(func(t *testing.T, code []byte) {
		c := newProgram(code...)
		c.descriptors()
		if err := c.Run(t.Context(), 3000); err == nil {
			t.Error("no error")
		}
		if c.Steps() > 3000+checkEvery+stringChunk {
			t.Errorf("%d steps", c.Steps())
		}
	})
}

// BenchmarkInstructions is a loop as compilers make them.
func BenchmarkInstructions(b *testing.B) {
	c := newProgram(
		0x66, 0x89, 0xC2, // mov edx,eax
		0x66, 0x01, 0xC3, // add ebx,eax
		0x66, 0xC1, 0xC2, 0x05, // rol edx,5
		0xA1, 0x00, 0x80, // mov ax,[8000h]
		0x83, 0xC0, 0x07, // add ax,7
		0xA3, 0x00, 0x80, // mov [8000h],ax
		0x39, 0xD8, // cmp ax,bx
		0x75, 0xE9, // jne start
		0xEB, 0xE7, // jmp start
	)
	const steps = 1 << 20
	for b.Loop() {
		if err := c.Run(b.Context(), steps); !errors.Is(err, ErrSteps) {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)*steps/b.Elapsed().Seconds()/1e6, "MIPS")
}
