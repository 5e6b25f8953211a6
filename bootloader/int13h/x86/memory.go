package x86

import "encoding/binary"

var le = binary.LittleEndian

// memory is the physical memory and what watches over it.
//
// Every access first tries the quick way: inside [0, fast), and for writes no
// mark on the chunk. What fails that goes byte by byte through the slow way,
// which knows A20, read-only memory, the end of memory, and decoded code.
type memory struct {
	ram   []byte
	marks []uint8 // one for each chunk of memory
	fast  uint32  // below it, addresses are indexes of ram
	a20   uint32  // which address bits there are
	coded map[uint32][]*block
}

const (
	chunkBits = 7

	markROM  = 1
	markCode = 2

	a20Off = 1<<32 - 1 - 1<<20
)

// maxMemory keeps every address of memory an int and fast below 4 GiB.
const maxMemory = 4<<30 - 1<<20

func (m *memory) init(size int) {
	size = min(max(size, 2<<20), maxMemory) &^ (1<<chunkBits - 1)
	m.ram = make([]byte, size)
	m.marks = make([]uint8, size>>chunkBits)
	m.coded = map[uint32][]*block{}
	m.setA20(true)
}

func (m *memory) setA20(on bool) {
	m.a20, m.fast = 1<<32-1, uint32(len(m.ram))
	if !on {
		m.a20, m.fast = a20Off, 1<<20
	}
}

// A20 tells whether address line 20 is on.
func (c *CPU) A20() bool { return c.a20 != a20Off }

// SetA20 turns address line 20 on or off.
func (c *CPU) SetA20(on bool) {
	if on != c.A20() {
		c.setA20(on)
		c.flush()
	}
}

// Memory is the physical memory, for reading: writes go through [CPU.Write].
func (c *CPU) Memory() []byte { return c.ram }

// Read copies physical memory, A20 not applied. What lies behind its end reads as FF.
func (c *CPU) Read(addr uint32, p []byte) {
	n := 0
	if uint64(addr) < uint64(len(c.ram)) {
		n = copy(p, c.ram[addr:])
	}
	for i := range p[n:] {
		p[n+i] = 0xFF
	}
}

// Write copies p into physical memory, A20 not applied, read-only memory
// included. What lies behind the end of memory is lost.
func (c *CPU) Write(addr uint32, p []byte) {
	if uint64(addr) >= uint64(len(c.ram)) || len(p) == 0 {
		return
	}
	n := copy(c.ram[addr:], p)
	c.forgetRange(addr, n)
}

// Protect makes the chunks of 128 bytes from addr to addr+size read-only.
func (c *CPU) Protect(addr, size uint32) {
	for i := addr >> chunkBits; i < (addr+size)>>chunkBits && int(i) < len(c.marks); i++ {
		c.marks[i] |= markROM
	}
}

// forgetRange drops what has been decoded from n bytes at addr, which have changed.
func (c *CPU) forgetRange(addr uint32, n int) {
	for i := addr >> chunkBits; i <= (addr+uint32(n)-1)>>chunkBits; i++ {
		if c.marks[i]&markCode != 0 {
			c.forget(i)
		}
	}
}

func (c *CPU) read8(s uint8, off uint32) uint32 {
	a := c.address(s, off, 1, canRead)
	if a < c.fast {
		return uint32(c.ram[a])
	}
	return c.readSlow(a, 1)
}

func (c *CPU) read16(s uint8, off uint32) uint32 {
	a := c.address(s, off, 2, canRead)
	if uint64(a)+2 <= uint64(c.fast) {
		return uint32(le.Uint16(c.ram[a:]))
	}
	return c.readSlow(a, 2)
}

func (c *CPU) read32(s uint8, off uint32) uint32 {
	a := c.address(s, off, 4, canRead)
	if uint64(a)+4 <= uint64(c.fast) {
		return le.Uint32(c.ram[a:])
	}
	return c.readSlow(a, 4)
}

func (c *CPU) write8(s uint8, off, v uint32) {
	a := c.address(s, off, 1, canWrite)
	if a < c.fast && c.marks[a>>chunkBits] == 0 {
		c.ram[a] = byte(v)
		return
	}
	c.writeSlow(a, v, 1)
}

func (c *CPU) write16(s uint8, off, v uint32) {
	a := c.address(s, off, 2, canWrite)
	if uint64(a)+2 <= uint64(c.fast) && c.marks[a>>chunkBits]|c.marks[(a+1)>>chunkBits] == 0 {
		le.PutUint16(c.ram[a:], uint16(v))
		return
	}
	c.writeSlow(a, v, 2)
}

func (c *CPU) write32(s uint8, off, v uint32) {
	a := c.address(s, off, 4, canWrite)
	if uint64(a)+4 <= uint64(c.fast) && c.marks[a>>chunkBits]|c.marks[(a+3)>>chunkBits] == 0 {
		le.PutUint32(c.ram[a:], v)
		return
	}
	c.writeSlow(a, v, 4)
}

// readSlow reads n bytes at a linear address.
func (c *CPU) readSlow(a uint32, n int) (v uint32) {
	for i := range n {
		p := (a + uint32(i)) & c.a20
		b := byte(0xFF)
		if uint64(p) < uint64(len(c.ram)) {
			b = c.ram[p]
		}
		v |= uint32(b) << (8 * i)
	}
	return v
}

// writeSlow writes n bytes at a linear address.
func (c *CPU) writeSlow(a, v uint32, n int) {
	for i := range n {
		p := (a + uint32(i)) & c.a20
		if uint64(p) >= uint64(len(c.ram)) || c.marks[p>>chunkBits]&markROM != 0 {
			continue
		}
		c.ram[p] = byte(v >> (8 * i))
		if c.marks[p>>chunkBits]&markCode != 0 {
			c.forget(p >> chunkBits)
		}
	}
}

// number is an operand's type.
type number interface{ uint8 | uint16 | uint32 }

// width is the size of an operand in bytes.
func width[T number]() uint32 {
	switch uint32(^T(0)) {
	case 0xFF:
		return 1
	case 0xFFFF:
		return 2
	}
	return 4
}

func read[T number](c *CPU, s uint8, off uint32) T {
	switch uint32(^T(0)) {
	case 0xFF:
		return T(c.read8(s, off))
	case 0xFFFF:
		return T(c.read16(s, off))
	}
	return T(c.read32(s, off))
}

func write[T number](c *CPU, s uint8, off uint32, v T) {
	switch uint32(^T(0)) {
	case 0xFF:
		c.write8(s, off, uint32(v))
	case 0xFFFF:
		c.write16(s, off, uint32(v))
	default:
		c.write32(s, off, uint32(v))
	}
}
