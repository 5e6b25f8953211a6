package int13h

import (
	"bytes"
	"fmt"

	"github.com/bootlun/bootlun/bootloader/int13h/x86"
)

// elTorito is the boot image that a CD-ROM's catalog names first ("El Torito"
// Bootable CD-ROM Format Specification 1.0).
type elTorito struct {
	media   uint8
	segment uint16
	sectors uint16 // of 512 bytes, to be loaded
	block   uint32 // of 2048 bytes, where it begins
}

const (
	cdSector        = 2048
	bootRecordBlock = 17
	catalogPointer  = 0x47
	noEmulation     = 0
)

// findElTorito reads the disk's boot catalog; nil if it is no bootable CD-ROM.
func (d *drive) findElTorito() (*elTorito, error) {
	if d.Size() < (bootRecordBlock+1)*cdSector {
		return nil, nil
	}
	b := make([]byte, cdSector)
	if _, err := d.ReadAt(b, bootRecordBlock*cdSector); err != nil {
		return nil, fmt.Errorf("int13h: reading the CD-ROM's boot record: %w", err)
	}
	if !bytes.HasPrefix(b, []byte("\x00CD001\x01EL TORITO SPECIFICATION")) {
		return nil, nil
	}
	catalog := int64(le.Uint32(b[catalogPointer:]))
	if catalog >= d.Size()/cdSector {
		return nil, fmt.Errorf("int13h: the CD-ROM's boot catalog is said to be behind its end: %w", ErrNotBootable)
	}
	if _, err := d.ReadAt(b, catalog*cdSector); err != nil {
		return nil, fmt.Errorf("int13h: reading the CD-ROM's boot catalog: %w", err)
	}
	var sum uint16
	for i := 0; i < 32; i += 2 {
		sum += le.Uint16(b[i:])
	}
	entry := b[32:64]
	if b[0] != 1 || sum != 0 || entry[0] != 0x88 {
		return nil, fmt.Errorf("int13h: the CD-ROM's boot catalog has no bootable entry: %w", ErrNotBootable)
	}
	cd := &elTorito{
		media: entry[1] & 15, segment: le.Uint16(entry[2:]),
		sectors: max(le.Uint16(entry[6:]), 1), block: le.Uint32(entry[8:]),
	}
	if cd.segment == 0 {
		cd.segment = 0x7C0
	}
	if cd.media != noEmulation {
		return nil, fmt.Errorf("int13h: the CD-ROM pretends to be a floppy or a hard disk (El Torito media type %d), which is not here: %w", cd.media, ErrNotBootable)
	}
	return cd, nil
}

// loadCD loads the boot image and starts it.
func (m *machine) loadCD(d *drive) error {
	at := uint32(d.cd.segment) << 4
	size := min(int64(d.cd.sectors)*512, 0xA0000-int64(at))
	offset := int64(d.cd.block) * cdSector
	if size <= 0 || offset > d.Size()-size {
		return fmt.Errorf("int13h: the CD-ROM's boot image is said to be outside of it: %w", ErrNotBootable)
	}
	program := make([]byte, size)
	if _, err := d.ReadAt(program, offset); err != nil {
		return fmt.Errorf("int13h: reading the CD-ROM's boot image: %w", err)
	}
	m.start(d, program, at)
	return nil
}

// emulation is function 4Bh: 00h ends the emulation, of which there is none, 01h
// tells of it (specification packet at DS:SI).
func (m *machine) emulation(r regs, d *drive) {
	if d.cd == nil || r.al() > 1 {
		m.diskStatus(r, statusInvalid)
		return
	}
	p := make([]byte, 0x13)
	p[0], p[1], p[2] = 0x13, d.cd.media, d.number
	le.PutUint32(p[4:], d.cd.block)
	le.PutUint16(p[12:], d.cd.segment)
	le.PutUint16(p[14:], d.cd.sectors)
	m.cpu.Write(r.at(x86.DS, r.low(x86.ESI)), p)
	m.diskStatus(r, statusOK)
}
