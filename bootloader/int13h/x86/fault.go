package x86

import "fmt"

// Exceptions by vector.
const (
	excDE = 0  // divide error
	excBP = 3  // breakpoint
	excOF = 4  // overflow
	excBR = 5  // bound range
	excUD = 6  // invalid opcode
	excNM = 7  // no coprocessor
	excDF = 8  // double fault
	excTS = 10 // invalid task state segment
	excNP = 11 // segment not present
	excSS = 12 // stack segment
	excGP = 13 // general protection

	stopped = 0xFF // no exception: Run ends, for the fault's reason
)

// fault is an exception on its way from the instruction that raised it, by panic,
// to guarded, which finds the processor as it was before the instruction:
// instructions change it only when nothing can fail any more.
type fault struct {
	vector  uint8
	code    uint32
	hasCode bool
	reason  string // of stopped
}

func raise(vector uint8) { panic(&fault{vector: vector}) }

func raiseCode(vector uint8, code uint32) { panic(&fault{vector: vector, code: code, hasCode: true}) }

func (f *fault) contributory() bool {
	return f.vector == excDE || f.vector >= excTS && f.vector <= excGP
}

// deliver runs the handler of an exception, or of the double fault that comes of
// trying, or ends Run.
func (c *CPU) deliver(f *fault) {
	for range 8 {
		if f.vector == stopped {
			c.refuse(f.reason)
			return
		}
		next := c.attempt(f)
		if next == nil {
			return
		}
		if f.vector == excDF || !c.Protected() {
			break
		}
		if f.contributory() && next.contributory() {
			next = &fault{vector: excDF, hasCode: true}
		}
		f = next
	}
	c.stop(fmt.Errorf("x86: at %s: exception %d: %w", c.Where(), f.vector, ErrShutdown))
}

func (c *CPU) attempt(f *fault) (next *fault) {
	defer func() {
		if r := recover(); r != nil {
			var ok bool
			if next, ok = r.(*fault); !ok {
				panic(r)
			}
		}
	}()
	c.interruptCode(f.vector, exception, f)
	c.leave = false
	return nil
}

// cause is what an interrupt comes from.
type cause uint8

const (
	software cause = iota
	external
	exception
)

// interrupt enters the handler of a vector. It changes nothing if it faults.
func (c *CPU) interrupt(vector uint8, why cause) { c.interruptCode(vector, why, nil) }

func (c *CPU) interruptCode(vector uint8, why cause, f *fault) {
	if c.Protected() {
		c.interruptProtected(vector, why, f)
		return
	}
	if uint32(vector)*4+3 > uint32(c.idt.limit) {
		raiseCode(excGP, uint32(vector)*8+2)
	}
	entry := c.readSlow(c.idt.base+uint32(vector)*4, 4)
	c.pushAll(2, c.eflags(), uint32(c.seg[CS].selector), c.eip)
	c.flags &^= flagIF | flagTF | flagAC
	c.loadReal(CS, uint16(entry>>16))
	c.eip = entry & 0xFFFF
}

func (c *CPU) interruptProtected(vector uint8, why cause, f *fault) {
	code := uint32(vector)*8 + 2
	if why != software {
		code |= 1
	}
	if uint32(vector)*8+7 > uint32(c.idt.limit) {
		raiseCode(excGP, code)
	}
	at := c.idt.base + uint32(vector)*8
	gate := descriptor{lo: c.readSlow(at, 4), hi: c.readSlow(at+4, 4), at: at}
	size := uint32(4)
	offset := gate.lo&0xFFFF | gate.hi&0xFFFF0000
	switch gate.kind() {
	case 0x06, 0x07:
		size = 2
		offset &= 0xFFFF
	case 0x0E, 0x0F:
	case 0x05:
		c.unsupported("an interrupt through a task gate")
	default:
		raiseCode(excGP, code)
	}
	if !gate.present() {
		raiseCode(excNP, code)
	}
	s := c.code(uint16(gate.lo>>16), offset)
	frame := []uint32{c.eflags(), uint32(c.seg[CS].selector), c.eip}
	if f != nil && f.hasCode {
		frame = append(frame, f.code)
	}
	c.pushAll(size, frame...)
	c.flags &^= flagTF | flagNT | flagRF | flagVM
	if gate.kind()&1 == 0 {
		c.flags &^= flagIF
	}
	c.goTo(s, offset)
}
