package x86

import "fmt"

// Reg returns a general register, all 32 bits.
func (c *CPU) Reg(n int) uint32 { return c.r[n&7] }

// SetReg sets a general register, all 32 bits.
func (c *CPU) SetReg(n int, v uint32) { c.r[n&7] = v }

// Selector returns what a segment register holds.
func (c *CPU) Selector(n int) uint16 { return c.seg[n].selector }

// Base returns the linear address at which the segment in a register begins.
func (c *CPU) Base(n int) uint32 { return c.seg[n].base }

// SetReal loads a segment register as an instruction does in real mode.
func (c *CPU) SetReal(n int, selector uint16) { c.loadReal(n, selector) }

// EIP returns the offset of the next instruction.
func (c *CPU) EIP() uint32 { return c.eip }

// Jump makes selector:offset the next instruction, as a jump in real mode does.
func (c *CPU) Jump(selector uint16, offset uint32) {
	c.loadReal(CS, selector)
	c.eip = offset
	c.leave = true
}

// EFlags returns the flags register.
func (c *CPU) EFlags() uint32 { return c.eflags() }

// SetEFlags sets the flags register.
func (c *CPU) SetEFlags(v uint32) { c.setEFlags(v) }

// Protected tells whether the processor is in protected mode.
func (c *CPU) Protected() bool { return c.cr0&cr0PE != 0 }

// Code32 tells whether the code segment is a 32-bit one.
func (c *CPU) Code32() bool { return c.seg[CS].big }

// Where says what is next, for messages: selector, offset, and the linear address.
func (c *CPU) Where() string {
	return fmt.Sprintf("%04x:%x (linear %#x)", c.seg[CS].selector, c.eip, c.seg[CS].base+c.eip)
}

// UnsupportedError is an instruction, or a use of one, that this processor does
// not have. It stands before the instruction.
type UnsupportedError struct {
	Where  string // selector, offset and linear address
	Code   []byte // what is there
	Text   string // the instruction in words, as far as known
	Reason string
}

func (e *UnsupportedError) Error() string {
	return fmt.Sprintf("x86: at %s: % x (%s): %s", e.Where, e.Code, e.Text, e.Reason)
}

// unsupported ends Run before the instruction under way. It does not return: the
// instruction is left as by a fault.
func (c *CPU) unsupported(reason string) {
	panic(&fault{vector: stopped, reason: reason})
}

// refuse ends Run for what unsupported said.
func (c *CPU) refuse(reason string) {
	code, text := c.disassemble(c.seg[CS].base+c.eip, c.seg[CS].big)
	c.stop(&UnsupportedError{Where: c.Where(), Code: code, Text: text, Reason: reason})
}
