package int13h

import (
	"encoding/binary"

	"github.com/bootlun/bootlun/bootloader/int13h/x86"
)

var le = binary.LittleEndian

// Where things are: the BIOS data area, the extended one, the read-only memory.
const (
	bda  = 0x400
	ebda = 0x9FC00
	rom  = 0xF0000

	bdaCOM1      = bda + 0x00
	bdaEBDA      = bda + 0x0E
	bdaEquipment = bda + 0x10
	bdaMemory    = bda + 0x13 // KiB
	bdaShift     = bda + 0x17
	bdaKeyHead   = bda + 0x1A
	bdaKeyTail   = bda + 0x1C
	bdaKeys      = bda + 0x1E
	bdaVideoMode = bda + 0x49
	bdaColumns   = bda + 0x4A
	bdaPageSize  = bda + 0x4C
	bdaCursor    = bda + 0x50
	bdaShape     = bda + 0x60
	bdaCRTC      = bda + 0x63
	bdaTicks     = bda + 0x6C
	bdaMidnight  = bda + 0x70
	bdaStatus    = bda + 0x74
	bdaDrives    = bda + 0x75
	bdaKeyStart  = bda + 0x80
	bdaKeyEnd    = bda + 0x82
	bdaRows      = bda + 0x84
	bdaKeyboard  = bda + 0x96

	// In the read-only memory, by offset.
	romServices   = 0xE000 // 8 bytes for each of the interrupts 00 to 1F
	romConfig     = 0xE6F5 // of int 15h, C0h
	romDriveTable = 0xE401 // of int 41h
	romIRET       = 0xFF53
	romReset      = 0xFFF0
	romDate       = 0xFFF5
	romModel      = 0xFFFE
)

// installFirmware writes interrupt vectors, data areas and read-only memory, and
// the iBFT where the program's memory ends.
func (m *machine) installFirmware(lowEnd uint32) {
	image := make([]byte, 0x10000)
	services(image)
	image[romIRET] = 0xCF
	copy(image[romReset:], []byte{0x0F, 0x3F, 0x19})
	copy(image[romDate:], "01/01/92")
	image[romModel] = 0xFC
	copy(image[romConfig:], []byte{8, 0, 0xFC, 0, 1, 0x74, 0x40, 0, 0, 0})
	m.cpu.Write(rom, image)
	m.cpu.Protect(0xC0000, 0x40000)
	m.vectors()
	m.dataArea(lowEnd)
	m.cpu.Write(lowEnd, m.Table)
}

// services writes the programs that interrupts run: they trap into Go and return.
// The timer's calls the user's interrupt 1Ch besides.
func services(image []byte) {
	for v := range 0x20 {
		code := []byte{0x0F, 0x3F, byte(v), 0xCF}
		switch v {
		case 0x08:
			code = []byte{0x0F, 0x3F, 0x08, 0xCD, 0x1C, 0xCF}
		case 0x1C:
			code = []byte{0xCF}
		}
		copy(image[romServices+8*v:], code)
	}
}

func (m *machine) vectors() {
	for v := range uint32(0x100) {
		offset := uint32(romIRET)
		switch {
		case v < 0x20:
			offset = romServices + 8*v
		case v == 0x41 || v == 0x46:
			offset = romDriveTable
		}
		m.setLong(4*v, rom>>4<<16|offset)
	}
}

func (m *machine) dataArea(lowEnd uint32) {
	m.setWord(bdaCOM1, 0x3F8)
	m.setWord(bdaEBDA, ebda>>4)
	m.setWord(bdaEquipment, 0x0226) // 80×25 colour, a mouse, coprocessor, one serial port
	m.setWord(bdaMemory, uint16(lowEnd>>10))
	m.setWord(bdaKeyHead, bdaKeys-bda)
	m.setWord(bdaKeyTail, bdaKeys-bda)
	m.setWord(bdaKeyStart, bdaKeys-bda)
	m.setWord(bdaKeyEnd, bdaKeys-bda+32)
	m.setByte(bdaKeyboard, 0x10)
	m.setByte(bdaDrives, uint8(len(m.drives)))
	m.setByte(ebda, 1)
}

// setDriveTable fills the fixed disk's parameter table.
func (m *machine) setDriveTable(d *drive) {
	t := make([]byte, 16)
	le.PutUint16(t, uint16(d.geometry.cylinders))
	t[2], t[8], t[14] = byte(d.geometry.heads), 0xC0, byte(d.geometry.sectors)
	m.cpu.Write(rom+romDriveTable, t)
}

// Physical memory, by value.

func (m *machine) byteAt(a uint32) uint8 { return m.bytes(a, 1)[0] }
func (m *machine) word(a uint32) uint16  { return le.Uint16(m.bytes(a, 2)) }
func (m *machine) long(a uint32) uint32  { return le.Uint32(m.bytes(a, 4)) }

func (m *machine) bytes(a uint32, n int) []byte {
	b := make([]byte, n)
	m.cpu.Read(a, b)
	return b
}

func (m *machine) setByte(a uint32, v uint8)  { m.cpu.Write(a, []byte{v}) }
func (m *machine) setWord(a uint32, v uint16) { m.cpu.Write(a, le.AppendUint16(nil, v)) }
func (m *machine) setLong(a uint32, v uint32) { m.cpu.Write(a, le.AppendUint32(nil, v)) }

// regs are the registers of the caller of a service.
type regs struct{ *x86.CPU }

const (
	flagCF = 1 << 0
	flagZF = 1 << 6
	flagIF = 1 << 9
)

func (r regs) low(n int) uint16       { return uint16(r.Reg(n)) }
func (r regs) set(n int, v uint16)    { r.SetReg(n, r.Reg(n)&^0xFFFF|uint32(v)) }
func (r regs) high8(n int) uint8      { return uint8(r.Reg(n) >> 8) }
func (r regs) low8(n int) uint8       { return uint8(r.Reg(n)) }
func (r regs) setHigh(n int, v uint8) { r.SetReg(n, r.Reg(n)&^0xFF00|uint32(v)<<8) }
func (r regs) setLow(n int, v uint8)  { r.SetReg(n, r.Reg(n)&^0xFF|uint32(v)) }

func (r regs) ah() uint8      { return r.high8(x86.EAX) }
func (r regs) al() uint8      { return r.low8(x86.EAX) }
func (r regs) ax() uint16     { return r.low(x86.EAX) }
func (r regs) setAX(v uint16) { r.set(x86.EAX, v) }
func (r regs) setAH(v uint8)  { r.setHigh(x86.EAX, v) }
func (r regs) setAL(v uint8)  { r.setLow(x86.EAX, v) }

// at is the linear address of an offset in a segment.
func (r regs) at(segment int, offset uint16) uint32 { return r.Base(segment) + uint32(offset) }

// setFlag changes a flag that the service returns: it lies on the stack, where
// the interrupt has pushed it.
func (r regs) setFlag(flag uint16, on bool) {
	a := r.at(x86.SS, r.low(x86.ESP)+4)
	b := make([]byte, 2)
	r.Read(a, b)
	v := le.Uint16(b) &^ flag
	if on {
		v |= flag
	}
	r.Write(a, le.AppendUint16(nil, v))
}

func (r regs) fail(on bool) { r.setFlag(flagCF, on) }
