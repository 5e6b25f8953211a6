package int13h

import "fmt"

// drive is a disk as int 13h knows it.
type drive struct {
	Disk
	number   uint8
	sector   int64 // bytes of the blocks that int 13h counts in
	geometry geometry
	cd       *elTorito // how it boots, if as a CD-ROM
}

// openDrives gives the disks their numbers.
func (m *machine) openDrives() error {
	first, err := openDrive(m.Disk)
	if err != nil {
		return err
	}
	first.number = m.Drive
	switch {
	case m.Drive != 0:
	case first.cd != nil:
		first.number = firstCD
	default:
		first.number = firstDisk
	}
	m.drives = []*drive{first}
	next := max(first.number&firstDisk, firstDisk)
	for _, disk := range m.Others {
		if next == first.number {
			next++
		}
		d, err := openDrive(disk)
		if err != nil {
			return err
		}
		d.number, d.cd = next, nil
		m.drives = append(m.drives, d)
		next++
	}
	return nil
}

const (
	firstDisk = 0x80
	firstCD   = 0xE0
)

func openDrive(disk Disk) (*drive, error) {
	d := &drive{Disk: disk, sector: int64(disk.BlockSize())}
	if d.sector < 512 || d.sector > maxSectorSize || d.sector&(d.sector-1) != 0 {
		return nil, fmt.Errorf("int13h: a disk with blocks of %d bytes: only 512 to %d can be presented", d.sector, maxSectorSize)
	}
	sector, err := d.bootSector()
	if err != nil {
		return nil, err
	}
	if d.sector == cdSector || le.Uint16(sector[510:]) != bootFlag {
		if d.cd, err = d.findElTorito(); err != nil {
			return nil, err
		}
		if d.cd != nil {
			d.sector = cdSector
		}
	}
	d.geometry = guessGeometry(sector, d.Size()/d.sector)
	return d, nil
}

func (d *drive) bootSector() ([]byte, error) {
	sector := make([]byte, 512)
	if _, err := d.ReadAt(sector, 0); err != nil {
		return nil, fmt.Errorf("int13h: reading the boot sector: %w", err)
	}
	return sector, nil
}

// drive is the one of that number; nil if there is none.
func (m *machine) drive(number uint8) *drive {
	for _, d := range m.drives {
		if d.number == number {
			return d
		}
	}
	return nil
}
