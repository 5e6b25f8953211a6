package int13h

import "github.com/bootlun/bootlun/bootloader/int13h/x86"

// The extensions of int 13h: BIOS Enhanced Disk Drive Services 3.0, 8.

// extended is the functions from 41h on.
func (m *machine) extended(r regs, d *drive, function uint8) {
	switch function {
	case 0x41:
		m.installationCheck(r)
	case 0x42, 0x43, 0x44, 0x47:
		m.packet(r, d, function)
	case 0x45: // locking: only removable drives have it
		m.diskStatus(r, statusNoMedia)
	case 0x46:
		m.diskStatus(r, statusNoMedia)
	case 0x48:
		m.extendedParameters(r, d)
	case 0x49: // never changed
		m.diskStatus(r, statusOK)
	case 0x4E:
		m.setHardware(r)
	case 0x4B:
		m.emulation(r, d)
	default:
		m.diskStatus(r, statusInvalid)
	}
}

// installationCheck: version 3.0, packet access, EDD support, 64-bit addresses.
func (m *machine) installationCheck(r regs) {
	if r.low(x86.EBX) != 0x55AA {
		m.diskStatus(r, statusInvalid)
		return
	}
	r.set(x86.EBX, 0xAA55)
	r.set(x86.ECX, 1|4|8)
	m.diskStatus(r, statusOK)
	r.setAH(0x30)
}

// packet is the functions with a disk address packet at DS:SI (EDD 3.0, 7).
func (m *machine) packet(r regs, d *drive, function uint8) {
	at := r.at(x86.DS, r.low(x86.ESI))
	p := m.bytes(at, 24)
	count := int64(le.Uint16(p[2:]))
	address := uint32(le.Uint16(p[6:]))<<4 + uint32(le.Uint16(p[4:]))
	block := int64(le.Uint64(p[8:]))
	switch {
	case p[0] < 16:
		m.diskStatus(r, statusInvalid)
		return
	case p[0] >= 24 && le.Uint32(p[4:]) == 1<<32-1:
		long := le.Uint64(p[16:])
		if long >= 1<<32 {
			m.diskStatus(r, statusInvalid)
			return
		}
		address = uint32(long)
	}
	status := uint8(statusInvalid)
	if function == 0x47 {
		count = 1
	}
	if count <= maxBlocks {
		status = m.transfer(d, function-0x40, block, count, address)
	}
	if status != statusOK {
		m.setWord(at+2, 0)
	}
	m.diskStatus(r, status)
}

// extendedParameters is function 48h (EDD 3.0, 8.22).
func (m *machine) extendedParameters(r regs, d *drive) {
	at := r.at(x86.DS, r.low(x86.ESI))
	room := m.word(at)
	if room < 26 {
		m.diskStatus(r, statusInvalid)
		return
	}
	b := make([]byte, 66)
	le.PutUint16(b[2:], 1|2) // no DMA boundaries to mind; CHS information is valid
	le.PutUint32(b[4:], d.geometry.cylinders)
	le.PutUint32(b[8:], d.geometry.heads)
	le.PutUint32(b[12:], d.geometry.sectors)
	le.PutUint64(b[16:], uint64(d.Size()/d.sector))
	le.PutUint16(b[24:], uint16(d.sector))
	le.PutUint32(b[26:], 1<<32-1) // no table of its own
	m.devicePath(b)
	length := 26
	switch {
	case room >= 66:
		length = 66
	case room >= 30:
		length = 30
	}
	le.PutUint16(b, uint16(length))
	m.cpu.Write(at, b[:length])
	m.diskStatus(r, statusOK)
}

// devicePath fills in where the disk is, with its checksum.
func (m *machine) devicePath(b []byte) {
	p := m.Path
	le.PutUint16(b[30:], 0xBEDD)
	b[32] = 36
	copy(b[36:], "PCI SCSI    ")
	copy(b[48:], []byte{p.Bus, p.Slot, p.Function, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF})
	le.PutUint16(b[56:], 0) // the target has no number
	le.PutUint32(b[58:], uint32(p.LUN))
	le.PutUint16(b[62:], uint16(p.LUN>>32))
	for _, v := range b[30:65] {
		b[65] -= v
	}
}

// setHardware is function 4Eh: what it could change is always as asked.
func (m *machine) setHardware(r regs) {
	if r.al() > 6 {
		m.diskStatus(r, statusInvalid)
		return
	}
	r.setAL(0)
	m.diskStatus(r, statusOK)
}
