package x86

import (
	"errors"
	"strings"
	"testing"
)

// What the processor lacks ends the run with an error that names it: a program
// that comes to its end has used none of it.
func TestUnsupported(t *testing.T) {
	real := func(code ...byte) *CPU { return newProgram(code...) }
	protected := func(code ...byte) *CPU {
		c := newProgram(
			0x0F, 0x01, 0x16, 0x00, 0x11, // lgdt [1100h]
			0x0F, 0x20, 0xC0, 0x0C, 0x01, 0x0F, 0x22, 0xC0, // protected mode
			0xEA, 0x20, 0x10, 0x10, 0x00, // jmp 10h:1020h
		)
		c.descriptors()
		c.Write(0x1100, []byte{31})                                       // and one more:
		c.Write(0x1218, []byte{0x67, 0x00, 0x00, 0x30, 0x00, 0x89, 0, 0}) // a task
		c.Write(0x1020, append([]byte{
			0x66, 0xB8, 0x08, 0x00, 0x8E, 0xD0, // mov ss,8
			0xBC, 0x00, 0x0F, 0x00, 0x00, // mov esp,0F00h
		}, code...))
		return c
	}
	for reason, c := range map[string]*CPU{
		"paging": protected(0x0F, 0x20, 0xC0, 0x0D, 0, 0, 0, 0x80, 0x0F, 0x22, 0xC0), // cr0 |= PG
		"virtual-8086 mode": protected(
			0x68, 0x00, 0x00, 0x02, 0x00, 0x6A, 0x00, 0x6A, 0x00, 0xCF, // push VM; push 0; push 0; iret
		),
		"less privileged code":            protected(0x6A, 0x13, 0x6A, 0x00, 0xCB), // retf 13h:0
		"control register 4":              real(0x66, 0xB8, 0x20, 0, 0, 0, 0x0F, 0x22, 0xE0),
		"single stepping":                 real(0x68, 0x00, 0x01, 0x9D), // push TF; popf
		"hardware breakpoints":            real(0x66, 0xB8, 0x01, 0, 0, 0, 0x0F, 0x23, 0xF8),
		"a task switch":                   protected(0xEA, 0, 0, 0, 0, 0x18, 0x00),
		"an instruction that is not here": real(0x0F, 0x32), // rdmsr
		"arithmetic of the coprocessor":   real(0xD8, 0xC1), // fadd
	} {
		t.Run(reason, func(t *testing.T) {
			err := c.Run(t.Context(), 100)
			var unsupported *UnsupportedError
			if !errors.As(err, &unsupported) || !strings.Contains(err.Error(), reason) {
				t.Errorf("error %v", err)
			}
		})
	}
}
