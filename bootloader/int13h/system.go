package int13h

import (
	"time"

	"github.com/bootlun/bootlun/bootloader/int13h/x86"
)

// system is int 15h.
func (m *machine) system(r regs) error {
	r.fail(false)
	switch r.ax() {
	case 0xE820:
		m.memoryMap(r)
		return nil
	case 0xE801:
		m.memorySizes(r)
		return nil
	case 0x2400, 0x2401:
		r.SetA20(r.al() == 1)
		r.setAH(0)
		return nil
	case 0x2402:
		r.setAX(0)
		if r.A20() {
			r.setAX(1)
		}
		return nil
	case 0x2403:
		r.setAH(0)
		r.set(x86.EBX, 3) // by the keyboard controller and by port 92h
		return nil
	}
	switch r.ah() {
	case 0x4F: // a key is pressed: the keyboard is to have it
		r.fail(true)
	case 0x86:
		wait := time.Duration(r.low(x86.ECX))<<16 | time.Duration(r.low(x86.EDX))
		return m.clock.pass(m, wait*time.Microsecond)
	case 0x87:
		m.moveBlock(r)
	case 0x88:
		r.setAX(uint16(min(m.extendedKiB(), 63<<10)))
	case 0xC0:
		r.SetReal(x86.ES, rom>>4)
		r.set(x86.EBX, romConfig)
		r.setAH(0)
	case 0xC1:
		r.SetReal(x86.ES, m.word(bdaEBDA))
	default:
		r.setAH(0x86)
		r.fail(true)
	}
	return nil
}

// memoryMap is E820h: a range at a time, EBX the number of the next.
func (m *machine) memoryMap(r regs) {
	i := r.Reg(x86.EBX)
	if r.Reg(x86.EDX) != 0x534D4150 || uint64(i) >= uint64(len(m.ranges)) || r.Reg(x86.ECX) < 20 {
		r.setAH(0x86)
		r.fail(true)
		return
	}
	entry := m.ranges[i]
	b := le.AppendUint64(nil, entry.Start)
	b = le.AppendUint64(b, entry.Size)
	b = le.AppendUint32(b, entry.Type)
	m.cpu.Write(r.at(x86.ES, r.low(x86.EDI)), b)
	r.SetReg(x86.EAX, 0x534D4150)
	r.SetReg(x86.ECX, 20)
	r.SetReg(x86.EBX, i+1)
	if int(i)+1 == len(m.ranges) {
		r.SetReg(x86.EBX, 0)
	}
}

// extendedKiB is the usable memory from 1 MiB on.
func (m *machine) extendedKiB() uint64 {
	for _, entry := range m.ranges {
		if entry.Start == 1<<20 && entry.Type == 1 {
			return min(entry.Size>>10, (4<<30-1<<20)>>10)
		}
	}
	return 0
}

// memorySizes is E801h: KiB below 16 MiB, blocks of 64 KiB above.
func (m *machine) memorySizes(r regs) {
	total := m.extendedKiB()
	low := min(total, 15<<10)
	high := uint16(min((total-low)>>6, 0xFFFF))
	r.setAX(uint16(low))
	r.set(x86.ECX, uint16(low))
	r.set(x86.EBX, high)
	r.set(x86.EDX, high)
}

// moveBlock is function 87h: CX words between two linear addresses, from a
// descriptor table at ES:SI.
func (m *machine) moveBlock(r regs) {
	at := r.at(x86.ES, r.low(x86.ESI))
	base := func(a uint32) uint32 {
		return m.long(a+2)&0xFFFFFF | uint32(m.byteAt(a+7))<<24
	}
	from, to := base(at+0x10), base(at+0x18)
	n := 2 * min(int(r.low(x86.ECX)), 0x8000)
	m.cpu.Charge(uint64(n / bytesPerStep))
	m.cpu.Write(to, m.bytes(from, n))
	r.setAH(0)
	r.setFlag(flagZF, true)
}

// time is int 1Ah.
func (m *machine) time(r regs) {
	r.fail(false)
	now := m.wallTime()
	switch r.ah() {
	case 0x00:
		ticks := m.long(bdaTicks)
		r.set(x86.ECX, uint16(ticks>>16))
		r.set(x86.EDX, uint16(ticks))
		r.setAL(m.byteAt(bdaMidnight))
		m.setByte(bdaMidnight, 0)
		m.idle()
	case 0x01:
		m.setLong(bdaTicks, uint32(r.low(x86.ECX))<<16|uint32(r.low(x86.EDX)))
	case 0x02:
		r.set(x86.ECX, uint16(bcd(now.Hour()))<<8|uint16(bcd(now.Minute())))
		r.set(x86.EDX, uint16(bcd(now.Second()))<<8)
	case 0x04:
		r.set(x86.ECX, uint16(bcd(now.Year()/100))<<8|uint16(bcd(now.Year()%100)))
		r.set(x86.EDX, uint16(bcd(int(now.Month())))<<8|uint16(bcd(now.Day())))
	case 0x03, 0x05: // the clock cannot be set
	case 0xB1: // the PCI BIOS: not supported
		r.setAH(0x81)
		r.fail(true)
	default:
		r.fail(true)
	}
}

// idle lets a program that asks for the time see it pass.
func (m *machine) idle() {
	if !m.Interactive {
		m.clock.skipped += pollTime
	}
}

// epoch is when a machine is started whose time is not that of the wall.
const epoch = 1767225600 // 2026-01-01

func (m *machine) wallTime() time.Time {
	if m.Interactive {
		return time.Now().UTC()
	}
	return time.Unix(epoch, 0).UTC().Add(m.clock.now(m))
}

func bcd(n int) byte { return byte(n/10%10<<4 | n%10) }

// tick is the timer's interrupt: it counts in the BIOS data area.
func (m *machine) tick() {
	n := m.long(bdaTicks) + 1
	if n >= ticksPerDay {
		n = 0
		m.setByte(bdaMidnight, 1)
	}
	m.setLong(bdaTicks, n)
}
