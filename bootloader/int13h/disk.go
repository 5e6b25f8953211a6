package int13h

import (
	"errors"
	"io"

	"github.com/bootlun/bootlun/bootloader/int13h/x86"
)

// Status codes of int 13h.
const (
	statusOK        = 0x00
	statusInvalid   = 0x01
	statusProtected = 0x03
	statusNotFound  = 0x04
	statusFailed    = 0x20
	statusNoMedia   = 0xB2 // volume not removable
)

// geometry is what cylinders, heads and sectors pretend.
type geometry struct{ cylinders, heads, sectors uint32 }

// guessGeometry takes the heads and sectors with which the partition table was
// made, from where its partitions end; 255 heads of 63 sectors if there are none.
func guessGeometry(mbr []byte, blocks int64) geometry {
	g := geometry{heads: 255, sectors: 63}
	heads, sectors := uint32(0), uint32(0)
	for i := range 4 {
		entry := mbr[446+16*i:]
		if entry[4] == 0 || entry[4] == 0xEE {
			continue
		}
		if s := uint32(entry[6] & 63); s != 0 && entry[5] != 0xFF {
			heads, sectors = max(heads, uint32(entry[5])+1), max(sectors, s)
		}
	}
	if heads > 1 && sectors > 1 {
		g.heads, g.sectors = heads, sectors
	}
	g.cylinders = uint32(min(max(blocks/int64(g.heads*g.sectors), 1), 1024))
	return g
}

// disk is int 13h.
func (m *machine) disk(r regs) {
	d := m.drive(r.low8(x86.EDX))
	if d == nil {
		m.diskStatus(r, statusInvalid)
		return
	}
	function := r.ah()
	if function >= 0x41 {
		m.extended(r, d, function)
		return
	}
	switch function {
	case 0x00, 0x09, 0x0D, 0x10, 0x11, 0x14:
		m.diskStatus(r, statusOK)
	case 0x01:
		status := m.byteAt(bdaStatus)
		r.setAH(status)
		r.fail(status != 0)
	case 0x02, 0x03, 0x04:
		m.chs(r, d, function)
	case 0x08:
		m.parameters(r, d)
	case 0x0C:
		_, ok := d.chsBlock(r)
		m.diskStatus(r, statusIf(ok))
	case 0x15:
		m.diskType(r, d)
	default:
		m.diskStatus(r, statusInvalid)
	}
}

func statusIf(ok bool) uint8 {
	if ok {
		return statusOK
	}
	return statusInvalid
}

// diskStatus ends a function.
func (m *machine) diskStatus(r regs, status uint8) {
	m.setByte(bdaStatus, status)
	r.setAH(status)
	r.fail(status != statusOK)
}

// chsBlock is the block that CH, CL and DH name.
func (d *drive) chsBlock(r regs) (int64, bool) {
	cx := r.low(x86.ECX)
	g := d.geometry
	sector, head := uint32(cx&63), uint32(r.high8(x86.EDX))
	cylinder := uint32(cx>>8) | uint32(cx&0xC0)<<2
	ok := sector >= 1 && sector <= g.sectors && head < g.heads && cylinder < g.cylinders
	return int64((cylinder*g.heads+head)*g.sectors) + int64(sector) - 1, ok
}

func (m *machine) chs(r regs, d *drive, function uint8) {
	block, ok := d.chsBlock(r)
	count := int64(r.al())
	if !ok || count == 0 || count > maxBlocks {
		m.diskStatus(r, statusInvalid)
		return
	}
	m.diskStatus(r, m.transfer(d, function, block, count, r.at(x86.ES, r.low(x86.EBX))))
}

// maxBlocks is how many blocks one call transfers at most.
const maxBlocks = 128

// bytesPerStep is how many bytes a service moves for one step of the limit.
const bytesPerStep = 32

// transfer reads (2), writes (3) or verifies (4) blocks and returns the status.
func (m *machine) transfer(d *drive, function uint8, block, count int64, address uint32) uint8 {
	size := d.Size()
	if block < 0 || block >= size/d.sector || count > size/d.sector-block {
		return statusNotFound
	}
	buf := make([]byte, count*d.sector)
	m.cpu.Charge(uint64(len(buf) / bytesPerStep))
	offset := block * d.sector
	switch function {
	case 2:
		if n, err := d.ReadAt(buf, offset); err != nil && (n < len(buf) || !errors.Is(err, io.EOF)) {
			m.Log.Warn("int 13h: read failed", "block", block, "blocks", count, "error", err)
			return statusFailed
		}
		m.cpu.Write(address, buf)
	case 3:
		w, ok := d.Disk.(io.WriterAt)
		if !ok || m.ReadOnly {
			return statusProtected
		}
		m.cpu.Read(address, buf)
		if _, err := w.WriteAt(buf, offset); err != nil {
			m.Log.Warn("int 13h: write failed", "block", block, "blocks", count, "error", err)
			return statusFailed
		}
	}
	return statusOK
}

func (m *machine) parameters(r regs, d *drive) {
	g := d.geometry
	last := g.cylinders - 1
	r.set(x86.ECX, uint16(last<<8|last>>2&0xC0|g.sectors))
	r.set(x86.EDX, uint16((g.heads-1)<<8|uint32(len(m.drives))))
	r.setLow(x86.EBX, 0)
	r.setAL(0)
	m.diskStatus(r, statusOK)
}

// diskType is function 15h, whose AH is no status.
func (m *machine) diskType(r regs, d *drive) {
	blocks := uint32(min(d.Size()/d.sector, 1<<32-1))
	m.setByte(bdaStatus, statusOK)
	r.setAH(3) // a fixed disk
	r.set(x86.ECX, uint16(blocks>>16))
	r.set(x86.EDX, uint16(blocks))
	r.fail(false)
}
