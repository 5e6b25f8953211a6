package ibft

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
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
	found, err := searchMemory(m, m.rsdps())
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return nil, errors.New("ibft: " + source + ": no table, neither in low memory nor in the ACPI tables")
	}
	for i := range found {
		found[i].Source = source + ", " + found[i].Source
	}
	return found, nil
}

// Region is a piece of physical memory.
type Region struct{ Addr, Length uint64 }

// SearchMemory finds the tables in physical memory as Linux does: those in low memory first (see [ScanMemory]), then
// those among the ACPI tables, which the RSDP leads to by XSDT or RSDT. A BIOS leaves the RSDP in the EBDA or its ROM
// (ACPI 6.5, 5.2.5.1); UEFI has no place for it, and a caller who knows where its firmware keeps such things names
// the regions to search after these, in their order until one has an RSDP. mem is read by physical address, in pieces;
// what lies there is not trusted.
//
// To find none is no error. An error means that memory could not be read; what was found is returned with it.
func SearchMemory(mem io.ReaderAt, also ...Region) ([]Found, error) {
	var rsdps [][]byte
	for _, r := range append(biosRegions(mem), also...) {
		var err error
		if rsdps, err = r.rsdps(mem); err != nil {
			return nil, err
		}
		if len(rsdps) > 0 {
			break
		}
	}
	return searchMemory(mem, rsdps)
}

func searchMemory(mem io.ReaderAt, rsdps [][]byte) ([]Found, error) {
	found, err := ScanMemory(mem)
	if err != nil {
		return found, err
	}
	return append(found, acpiTables(mem, rsdps)...), nil
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

	ebdaPointer = 0x40e // the segment of the EBDA, a word
	ebdaLen     = 1 << 10
	romStart    = 0xe0000

	maxRSDPs       = 64      // what looks like one, and is not, must not cost more than the search
	maxRootEntries = 1 << 12 // nor must a root table whose length is wrong
	maxTables      = 64
	searchPiece    = 1 << 20
)

func biosRegions(mem io.ReaderAt) []Region {
	regions := []Region{{romStart, scanEnd - romStart}}
	if b := readMemory(mem, ebdaPointer, 2); b != nil {
		if ebda := uint64(getU16(b, 0)) << 4; ebda > 0x400 && ebda < scanVGA {
			regions = append([]Region{{ebda, ebdaLen}}, regions...)
		}
	}
	return regions
}

// readMemory returns n bytes at an address, nil if they are not all there.
func readMemory(mem io.ReaderAt, addr, n uint64) []byte {
	if addr > math.MaxInt64-n {
		return nil
	}
	b := make([]byte, n)
	if got, _ := mem.ReadAt(b, int64(addr)); got < len(b) {
		return nil
	}
	return b
}

// rsdps returns the RSDPs in the region. Pieces overlap, for one that lies across their border.
func (r Region) rsdps(mem io.ReaderAt) ([][]byte, error) {
	var found [][]byte
	for at, end := r.Addr, r.Addr+r.Length; at < end; {
		b := make([]byte, min(end-at, searchPiece+rsdpLen))
		n, err := mem.ReadAt(b, int64(at))
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("ibft: memory at %#x: %w", at, err)
		}
		found = findRSDPs(b[:n], at, found)
		at += searchPiece
	}
	return found, nil
}

// rsdps returns those in all of the image.
func (m image) rsdps() [][]byte {
	var found [][]byte
	for _, s := range m {
		found = findRSDPs(s.data, s.addr, found)
	}
	return found
}

// findRSDPs adds the RSDPs in data, which lies at addr, to found.
func findRSDPs(data []byte, addr uint64, found [][]byte) [][]byte {
	for at := 0; len(found) < maxRSDPs; {
		i := bytes.Index(data[at:], []byte(rsdpSignature))
		if i < 0 {
			break
		}
		at += i
		b := data[at:]
		if (addr+uint64(at))%16 == 0 && len(b) >= rsdpMinLen && sum(b[:rsdpMinLen]) == 0 {
			found = append(found, b[:min(len(b), rsdpLen)])
		}
		at += len(rsdpSignature)
	}
	return found
}

// acpiTables returns the tables that the XSDT or RSDT of any RSDP names.
func acpiTables(mem io.ReaderAt, rsdps [][]byte) []Found {
	var found []Found
	seen := make(map[uint64]bool)
	for _, rsdp := range rsdps {
		root, width := uint64(binary.LittleEndian.Uint32(rsdp[rsdpRSDT:])), 4
		if len(rsdp) == rsdpLen && rsdp[rsdpRevision] >= 2 {
			root, width = binary.LittleEndian.Uint64(rsdp[rsdpXSDT:]), 8
		}
		for _, addr := range rootEntries(mem, root, width) {
			if seen[addr] {
				continue
			}
			seen[addr] = true
			if b := acpiTable(mem, addr, Signature.known); b != nil && len(found) < maxTables {
				found = append(found, newFound(fmt.Sprintf("ACPI table at %#x", addr), b))
			}
		}
	}
	return found
}

// rootEntries returns the addresses in an RSDT or XSDT.
func rootEntries(mem io.ReaderAt, root uint64, width int) []uint64 {
	want := map[int]Signature{4: "RSDT", 8: "XSDT"}[width]
	b := acpiTable(mem, root, func(s Signature) bool { return s == want })
	if b == nil {
		return nil
	}
	b = b[acpiHeaderLen:]
	var addrs []uint64
	for e := range slices.Chunk(b[:min(len(b), width*maxRootEntries)], width) {
		var wide [8]byte
		if len(e) == width && copy(wide[:], e) > 0 {
			addrs = append(addrs, binary.LittleEndian.Uint64(wide[:]))
		}
	}
	return addrs
}

// acpiTable returns the table at an address if its signature is wanted, else nil.
func acpiTable(mem io.ReaderAt, addr uint64, wanted func(Signature) bool) []byte {
	h := readMemory(mem, addr, acpiHeaderLen)
	if h == nil || !wanted(Signature(h[:4])) {
		return nil
	}
	length := binary.LittleEndian.Uint32(h[hdrLength:])
	if length < acpiHeaderLen || length > maxACPITable {
		return nil
	}
	return readMemory(mem, addr, uint64(length))
}
