package int13h

import (
	"time"

	"github.com/bootlun/bootlun/bootloader/int13h/x86"
)

// ports are the devices that programs reach without the BIOS, as far as they do.
type ports struct {
	cmos    uint8
	crtc    uint8
	crtcReg [32]uint8
	retrace uint8
	control uint8 // keyboard controller: the command whose data comes next
	output  []byte
	speaker uint8 // port 61h
	uart    uart
	pic     [2]pic
	pit     [3]counter
}

// pic is an interrupt controller: its mask, and how far it is initialised.
type pic struct{ mask, base, step uint8 }

// counter is one of the timer's three.
type counter struct {
	reload  uint16
	mode    uint8
	access  uint8
	second  bool // the high byte comes next
	latched []byte
	since   time.Duration
}

func (p *ports) reset() {
	p.pic = [2]pic{{mask: 0xB8, base: 0x08}, {mask: 0xFF, base: 0x70}}
	for i := range p.pit {
		p.pit[i] = counter{mode: 3, access: 3}
	}
}

func (p *ports) unmasked(irq uint8) bool { return p.pic[0].mask>>irq&1 == 0 }
func (p *ports) vector(irq uint8) uint8  { return p.pic[0].base + irq }

// In reads a port; one that nothing is behind reads as ones.
func (m *machine) In(port uint16, width int) (v uint32) {
	for i := range width {
		v |= uint32(m.in(port+uint16(i))) << (8 * i)
	}
	return v
}

func (m *machine) in(port uint16) uint8 {
	p := &m.ports
	switch {
	case port == 0x21 || port == 0xA1:
		return p.pic[port>>7&1].mask
	case port == 0x20 || port == 0xA0:
		return 0
	case port >= 0x40 && port <= 0x42:
		return m.readCounter(&p.pit[port-0x40])
	case port == 0x60:
		return p.keyboardData()
	case port == 0x61:
		return m.readSpeaker()
	case port == 0x64:
		return p.keyboardStatus()
	case port == 0x71:
		return m.readCMOS(p.cmos)
	case port == 0x92:
		return uint8(boolBit(m.cpu.A20(), 1))
	case port >= 0x3F8 && port <= 0x3FF:
		return m.readUART(port & 7)
	case port == 0x3D4:
		return p.crtc
	case port == 0x3D5:
		return p.crtcReg[p.crtc&31]
	case port == 0x3DA:
		p.retrace ^= 0x09
		return p.retrace
	}
	return 0xFF
}

func boolBit(on bool, bit int) int {
	if on {
		return 1 << bit
	}
	return 0
}

// Out writes a port.
func (m *machine) Out(port uint16, width int, value uint32) {
	for i := range width {
		m.out(port+uint16(i), uint8(value>>(8*i)))
	}
}

func (m *machine) out(port uint16, v uint8) {
	p := &m.ports
	switch {
	case port&^1 == 0x20 || port&^1 == 0xA0:
		p.pic[port>>7&1].write(port&1 != 0, v)
	case port >= 0x40 && port <= 0x42:
		m.writeCounter(&p.pit[port-0x40], v)
	case port == 0x43:
		m.controlCounter(v)
	case port == 0x60:
		m.writeKeyboard(v)
	case port == 0x61:
		m.writeSpeaker(v)
	case port == 0x64:
		m.commandKeyboard(v)
	case port == 0x70:
		p.cmos = v & 0x7F
	case port == 0x92:
		m.cpu.SetA20(v&2 != 0)
	case port >= 0x3F8 && port <= 0x3FF:
		m.writeUART(port&7, v)
	case port == 0x3D4:
		p.crtc = v
	case port == 0x3D5:
		m.writeCRTC(v)
	}
}

// write takes an initialisation (ICW1 to ICW4) or a mask.
func (p *pic) write(odd bool, v uint8) {
	switch {
	case !odd && v&0x10 != 0:
		p.step = 1
	case odd && p.step == 1:
		p.base, p.step = v&^7, 2
	case odd && p.step == 2:
		p.step = 3
	case odd && p.step == 3:
		p.step = 0
	case odd:
		p.mask = v
	}
}

// writeCRTC has the BIOS know where a program has put the cursor.
func (m *machine) writeCRTC(v uint8) {
	p := &m.ports
	p.crtcReg[p.crtc&31] = v
	if p.crtc == 0x0E || p.crtc == 0x0F {
		at := int(p.crtcReg[0x0E])<<8 | int(p.crtcReg[0x0F])
		m.setCursor(min(at/columns, rows-1), at%columns)
	}
}

// The keyboard controller, which switches A20.

func (p *ports) keyboardStatus() uint8 {
	return 0x14 | uint8(boolBit(len(p.output) > 0, 0))
}

func (p *ports) keyboardData() uint8 {
	if len(p.output) == 0 {
		return 0
	}
	v := p.output[0]
	p.output = p.output[1:]
	return v
}

func (m *machine) commandKeyboard(v uint8) {
	p := &m.ports
	p.control = 0
	switch v {
	case 0x20:
		p.output = []byte{0x61}
	case 0xD0:
		p.output = []byte{uint8(1 | boolBit(m.cpu.A20(), 1))}
	case 0x60, 0xD1:
		p.control = v
	case 0xAA:
		p.output = []byte{0x55}
	case 0xDD:
		m.cpu.SetA20(false)
	case 0xDF:
		m.cpu.SetA20(true)
	case 0xFE:
		m.cpu.Stop(ErrReset)
	}
}

func (m *machine) writeKeyboard(v uint8) {
	if m.ports.control == 0xD1 {
		m.cpu.SetA20(v&2 != 0)
	} else if m.ports.control == 0 {
		m.ports.output = []byte{0xFA} // acknowledged
	}
	m.ports.control = 0
}

// readCMOS is the real-time clock and what the firmware keeps beside it.
func (m *machine) readCMOS(n uint8) uint8 {
	now := m.wallTime()
	extended := min(m.extendedKiB(), 0xFFFF)
	above := (m.extendedKiB() - min(m.extendedKiB(), 15<<10)) >> 6
	switch n {
	case 0x00:
		return bcd(now.Second())
	case 0x02:
		return bcd(now.Minute())
	case 0x04:
		return bcd(now.Hour())
	case 0x06:
		return bcd(int(now.Weekday()) + 1)
	case 0x07:
		return bcd(now.Day())
	case 0x08:
		return bcd(int(now.Month()))
	case 0x09:
		return bcd(now.Year() % 100)
	case 0x32:
		return bcd(now.Year() / 100)
	case 0x0A:
		return 0x26
	case 0x0B:
		return 0x02 // BCD, 24 hours
	case 0x0D:
		return 0x80
	case 0x15:
		return m.byteAt(bdaMemory)
	case 0x16:
		return m.byteAt(bdaMemory + 1)
	case 0x17, 0x30:
		return uint8(extended)
	case 0x18, 0x31:
		return uint8(extended >> 8)
	case 0x34:
		return uint8(above)
	case 0x35:
		return uint8(above >> 8)
	}
	return 0
}

var _ x86.Bus = (*machine)(nil)
