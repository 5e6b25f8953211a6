package ibft

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
)

// segment is a piece of physical memory.
type segment struct {
	addr uint64
	data []byte
}

// image is physical memory, as far as it is known. It reads by physical address, and as zeros where it has holes.
type image []segment

// ReadAt implements io.ReaderAt.
func (m image) ReadAt(p []byte, off int64) (int, error) {
	clear(p)
	var end uint64
	for _, s := range m {
		top := s.addr + uint64(len(s.data))
		end = max(end, top)
		from, to := max(s.addr, uint64(off)), min(top, uint64(off)+uint64(len(p)))
		if from < to {
			copy(p[from-uint64(off):], s.data[from-s.addr:to-s.addr])
		}
	}
	if n := int64(end) - off; n < int64(len(p)) {
		return int(max(n, 0)), io.EOF
	}
	return len(p), nil
}

// bytes returns n bytes at an address, nil unless they lie in one piece.
func (m image) bytes(addr, n uint64) []byte {
	for _, s := range m {
		if addr >= s.addr && addr-s.addr <= uint64(len(s.data)) && n <= uint64(len(s.data))-(addr-s.addr) {
			return s.data[addr-s.addr:][:n:n]
		}
	}
	return nil
}

// decodeCore reads the memory in an ELF core.
func decodeCore(data []byte) ([]Found, error) {
	f, err := elf.NewFile(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("ibft: ELF core: %w", err)
	}
	var m image
	for _, p := range f.Progs {
		if p.Type != elf.PT_LOAD || p.Off > uint64(len(data)) || p.Paddr > 1<<62 {
			continue
		}
		rest := data[p.Off:]
		m = append(m, segment{p.Paddr, rest[:min(p.Filesz, uint64(len(rest)))]})
	}
	return memoryTables("ELF core", m)
}

// memoryTables finds the tables in memory, those in low memory first, as Linux prefers them.
func memoryTables(source string, m image) ([]Found, error) {
	found, err := ScanMemory(m)
	if err != nil {
		return nil, err
	}
	found = append(found, m.acpiTables()...)
	if len(found) == 0 {
		return nil, errors.New("ibft: " + source + ": no table, neither in low memory nor in the ACPI tables")
	}
	for i := range found {
		found[i].Source = source + ", " + found[i].Source
	}
	return found, nil
}

// An RSDP (ACPI 6.5, 5.2.5.3) and the table that it points to.
const (
	rsdpSignature = "RSD PTR "
	rsdpLen       = 36 // that of revision 0 ends at 20
	rsdpRevision  = 15
	rsdpRSDT      = 16
	rsdpXSDT      = 24
	rsdpMinLen    = 20
	acpiHeaderLen = 36

	maxRSDPs = 64 // what looks like one, and is not, must not cost more than the search
)

// acpiTables returns the tables that the XSDT or RSDT of any RSDP names. On a BIOS machine the RSDP is in the ROM or
// the EBDA, on UEFI anywhere.
func (m image) acpiTables() []Found {
	var found []Found
	seen := make(map[uint64]bool)
	for _, rsdp := range m.rsdps() {
		root, width := uint64(binary.LittleEndian.Uint32(rsdp[rsdpRSDT:])), 4
		if len(rsdp) == rsdpLen && rsdp[rsdpRevision] >= 2 {
			root, width = binary.LittleEndian.Uint64(rsdp[rsdpXSDT:]), 8
		}
		for _, addr := range m.rootEntries(root, width) {
			if seen[addr] {
				continue
			}
			seen[addr] = true
			if b := m.acpiTable(addr); b != nil && Signature(b[:4]).known() {
				found = append(found, newFound(fmt.Sprintf("ACPI table at %#x", addr), b))
			}
		}
	}
	return found
}

func (m image) rsdps() [][]byte {
	var found [][]byte
	for _, s := range m {
		for at := 0; len(found) < maxRSDPs; {
			i := bytes.Index(s.data[at:], []byte(rsdpSignature))
			if i < 0 {
				break
			}
			at += i
			b := s.data[at:]
			if (s.addr+uint64(at))%16 == 0 && len(b) >= rsdpMinLen && sum(b[:rsdpMinLen]) == 0 {
				found = append(found, b[:min(len(b), rsdpLen)])
			}
			at += len(rsdpSignature)
		}
	}
	return found
}

// rootEntries returns the addresses in an RSDT or XSDT.
func (m image) rootEntries(root uint64, width int) []uint64 {
	b := m.acpiTable(root)
	want := map[int]string{4: "RSDT", 8: "XSDT"}[width]
	if b == nil || string(b[:4]) != want {
		return nil
	}
	var addrs []uint64
	for e := range slices.Chunk(b[acpiHeaderLen:], width) {
		var wide [8]byte
		if len(e) == width && copy(wide[:], e) > 0 {
			addrs = append(addrs, binary.LittleEndian.Uint64(wide[:]))
		}
	}
	return addrs
}

// acpiTable returns the table at an address, nil if there is none.
func (m image) acpiTable(addr uint64) []byte {
	h := m.bytes(addr, acpiHeaderLen)
	if h == nil {
		return nil
	}
	length := binary.LittleEndian.Uint32(h[hdrLength:])
	if length < acpiHeaderLen || length > maxACPITable {
		return nil
	}
	return m.bytes(addr, uint64(length))
}
