package x86

import (
	"context"
	"errors"
	"fmt"
)

// The general registers, by the numbers that instructions give them.
const (
	EAX = iota
	ECX
	EDX
	EBX
	ESP
	EBP
	ESI
	EDI

	zero // always 0: the base and the index of an address that has none
)

// The segment registers, by the numbers that instructions give them.
const (
	ES = iota
	CS
	SS
	DS
	FS
	GS
)

// Bus is the machine around a processor. The processor calls it from within
// Run, one call at a time.
type Bus interface {
	// In reads a port, width bytes (1, 2 or 4).
	In(port uint16, width int) uint32
	// Out writes a port.
	Out(port uint16, width int, value uint32)
	// Trap serves the instruction 0F 3F n, which exists in read-only memory alone.
	Trap(c *CPU, n uint8) error
	// Enter is told of code about to run at the linear address addr for the first
	// time, or for the first time since it has changed. An error ends Run before
	// the code runs.
	Enter(c *CPU, addr uint32) error
	// Tick is called every few thousand steps: the time to raise an interrupt.
	Tick(c *CPU) error
	// Halt serves HLT. Without an error the processor goes on, first with an
	// interrupt if Halt has raised one.
	Halt(c *CPU) error
	// TSC is the time stamp counter.
	TSC() uint64
}

// What Run ends with, wrapped in an error that says where.
var (
	// ErrSteps: the limit of steps is reached.
	ErrSteps = errors.New("out of steps")
	// ErrShutdown: an exception could not be delivered, nor the double fault after
	// it; a real processor resets.
	ErrShutdown = errors.New("triple fault")
)

// CPU is a processor of the 486's kind with the Pentium instructions that boot
// loaders use. It is not safe for concurrent use.
type CPU struct {
	bus Bus
	memory

	r     [16]uint32 // by number; from zero on they stay 0
	eip   uint32
	start uint32 // eip of the instruction under way: where a fault returns to

	flagState
	seg    [6]segment
	spMask uint32 // which bits of ESP the stack uses

	cr0, cr2, cr3, cr4 uint32
	dr                 [8]uint32
	gdt, idt           table
	ldt, task          segment
	fpu                fpu

	blocks []*block
	leave  bool // leave the block after this instruction

	noLoops bool // loops are not done at once, for tests
	err     error
	irq     int // a vector raised by the bus, or -1

	steps, check, limit uint64
}

type table struct {
	base  uint32
	limit uint16
}

// Bits of CR0.
const (
	cr0PE = 1 << 0
	cr0MP = 1 << 1
	cr0EM = 1 << 2
	cr0TS = 1 << 3
	cr0ET = 1 << 4
	cr0PG = 1 << 31
)

// checkEvery is how many steps lie between two looks at the context and the bus.
const checkEvery = 1 << 14

// faultSteps is what an exception counts as: it takes that much longer.
const faultSteps = 100

// New makes a processor in real mode with size bytes of zeroed memory, all
// registers zero, interrupts off, A20 on.
func New(bus Bus, size int) *CPU {
	c := &CPU{bus: bus, irq: -1, cr0: cr0ET, blocks: make([]*block, blockSlots)}
	c.memory.init(size)
	c.idt.limit = 0x3FF
	c.fpu.reset()
	for i := range c.seg {
		c.seg[i] = realSegment(0)
	}
	c.spMask = 0xFFFF
	c.setEFlags(0)
	return c
}

// Run executes until an error ends it: the bus's, the context's, ErrSteps after
// limit steps, an [*UnsupportedError]. The processor stands before the
// instruction that the error is about, so Run may be called again.
func (c *CPU) Run(ctx context.Context, limit uint64) error {
	c.err = nil
	c.limit = c.steps + limit
	for {
		if err := c.pause(ctx); err != nil {
			return err
		}
		if err := c.slice(); err != nil {
			return err
		}
	}
}

// pause is what happens between two slices.
func (c *CPU) pause(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if c.steps >= c.limit {
		return fmt.Errorf("x86: at %s after %d steps: %w", c.Where(), c.steps, ErrSteps)
	}
	if err := c.bus.Tick(c); err != nil {
		return err
	}
	c.check = min(c.steps+checkEvery, c.limit)
	return nil
}

// slice runs until the next check or an error; faults are delivered on the way.
func (c *CPU) slice() error {
	for c.err == nil && c.steps < c.check {
		if f := c.guarded(); f != nil {
			c.deliver(f)
		}
	}
	return c.err
}

// guarded runs blocks until the check; it returns early with a fault.
func (c *CPU) guarded() (f *fault) {
	defer func() {
		if r := recover(); r != nil {
			var ok bool
			if f, ok = r.(*fault); !ok {
				panic(r)
			}
			c.steps += faultSteps
			c.eip = c.start
		}
	}()
	if c.irq >= 0 && c.flags&flagIF != 0 {
		vector := uint8(c.irq)
		c.irq = -1
		c.start = c.eip
		c.interrupt(vector, external)
	}
	for c.err == nil && c.steps < c.check {
		c.runBlock()
	}
	return nil
}

func (c *CPU) runBlock() {
	b := c.block()
	if b == nil {
		return
	}
	if b.loop != nil {
		b.loop.run(c)
	}
	n := len(b.insts)
	for i := range b.insts {
		in := &b.insts[i]
		c.start = c.eip
		c.eip += uint32(in.length)
		in.exec(c, in)
		if c.leave {
			c.leave = false
			n = i + 1
			break
		}
	}
	c.steps += uint64(n)
}

// stop ends Run with err once the instruction is done.
func (c *CPU) stop(err error) {
	if c.err == nil {
		c.err = err
	}
	c.leave = true
}

// retry makes the instruction under way the next one too: it has done a part of
// its work.
func (c *CPU) retry() {
	c.eip = c.start
	c.leave = true
}

// Interrupt raises a maskable interrupt with the given vector; it is delivered
// when the processor next takes interrupts. Only the last one raised is kept.
func (c *CPU) Interrupt(vector uint8) {
	c.irq = int(vector)
	c.check = 0
}

// Pending tells whether an interrupt waits to be taken.
func (c *CPU) Pending() bool { return c.irq >= 0 }

// Steps is how many instructions have run, elements of string instructions
// counted in part.
func (c *CPU) Steps() uint64 { return c.steps }

// Charge counts n steps for work that the bus has done at the program's wish, so
// that the limit of steps limits it too.
func (c *CPU) Charge(n uint64) { c.steps += n }

// Stop ends Run with err after the instruction under way.
func (c *CPU) Stop(err error) { c.stop(err) }
