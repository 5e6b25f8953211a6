package bootloader

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"strings"
	"unicode/utf16"
)

// Partition is one entry of a partition table.
type Partition struct {
	// Number is Linux's: 1-based; MBR logical partitions start at 5. 0 stands for the whole disk.
	Number int
	// Start and Size are in bytes.
	Start, Size int64
	// Type is a GPT type GUID in lower case, or an MBR type as "0x83".
	Type string
	// UUID is what root=PARTUUID= names: the GPT partition's GUID, or "signature-number" in hexadecimal for an MBR.
	UUID string
	// Label is the GPT partition name. An MBR has none.
	Label string
}

// tableError is a partition table that is there but cannot be trusted.
type tableError struct{ kind, problem, remedy string }

func (e *tableError) Error() string {
	return fmt.Sprintf("the %s partition table is damaged: %s (%s)", e.kind, e.problem, e.remedy)
}

// readPartitions gives the partitions that Linux would show for the disk; none and no error if it has no table.
// sector is the logical block size; a GPT is found by it, since its header sits in block 1.
func readPartitions(r io.ReaderAt, size int64, sector int) ([]Partition, error) {
	mbr, err := readSector(r, size, 0, 512)
	if err != nil || mbr == nil {
		return nil, err
	}
	entries, ok := mbrEntries(mbr)
	if !ok {
		return nil, nil
	}
	for _, e := range entries {
		if e.kind == 0xEE { // UEFI 2.10, 5.2.3: a protective MBR
			return readGPT(r, size, int64(sector))
		}
	}
	return readMBR(r, size, int64(sector), mbr, entries)
}

// readSector gives nil for what lies outside the disk.
func readSector(r io.ReaderAt, size, off int64, n int) ([]byte, error) {
	if off < 0 || off > size-int64(n) {
		return nil, nil
	}
	b := make([]byte, n)
	if got, err := r.ReadAt(b, off); got < n {
		return nil, fmt.Errorf("read the partition table at byte %d: %w", off, noEOF(err))
	}
	return b, nil
}

// mbrEntry is one of the four 16-byte entries at 446 (UEFI 2.10, 5.2.1), in blocks.
type mbrEntry struct {
	kind         byte
	start, count int64
}

func (e mbrEntry) extended() bool { return e.kind == 0x05 || e.kind == 0x0F || e.kind == 0x85 }

// mbrEntries is false for a sector without signature, or whose boot flags show that it is a boot sector with code there.
func mbrEntries(b []byte) (entries [4]mbrEntry, ok bool) {
	if b[510] != 0x55 || b[511] != 0xAA {
		return entries, false
	}
	for i := range entries {
		e := b[446+16*i:]
		if e[0]&0x7F != 0 {
			return entries, false
		}
		entries[i] = mbrEntry{
			kind:  e[4],
			start: int64(binary.LittleEndian.Uint32(e[8:])),
			count: int64(binary.LittleEndian.Uint32(e[12:])),
		}
	}
	return entries, true
}

func readMBR(r io.ReaderAt, size, sector int64, mbr []byte, entries [4]mbrEntry) ([]Partition, error) {
	signature := binary.LittleEndian.Uint32(mbr[440:])
	var parts []Partition
	add := func(number int, start int64, e mbrEntry) {
		p := Partition{
			Number: number, Start: start * sector, Size: e.count * sector,
			Type: fmt.Sprintf("0x%02x", e.kind),
		}
		if signature != 0 {
			p.UUID = fmt.Sprintf("%08x-%02x", signature, number)
		}
		if p.Size > 0 && p.Start < size {
			p.Size = min(p.Size, size-p.Start)
			parts = append(parts, p)
		}
	}
	for i, e := range entries {
		if e.kind != 0 && !e.extended() {
			add(i+1, e.start, e)
		}
	}
	number := 5
	for _, e := range entries {
		if !e.extended() {
			continue
		}
		err := walkLogical(r, size, sector, e.start, func(start int64, l mbrEntry) {
			add(number, start, l)
			number++
		})
		if err != nil {
			return nil, err
		}
	}
	return parts, nil
}

// walkLogical follows the chain of extended boot records from block base. Each holds one partition, relative to itself,
// and the next link, relative to base. The chain is cut at 100 links, as Linux cuts it: it may be a ring.
func walkLogical(r io.ReaderAt, size, sector, base int64, found func(start int64, e mbrEntry)) error {
	next := base
	for range 100 {
		b, err := readSector(r, size, next*sector, 512)
		if err != nil || b == nil {
			return err
		}
		entries, ok := mbrEntries(b)
		if !ok {
			return nil
		}
		at := next
		next = -1
		for _, e := range entries {
			switch {
			case e.kind == 0 || e.count == 0:
			case e.extended() && next < 0:
				next = base + e.start
			case !e.extended():
				found(at+e.start, e)
			}
		}
		if next < 0 {
			return nil
		}
	}
	return nil
}

// GPT limits of ours. The usual table is 128 entries of 128 bytes.
const (
	maxGPTEntries   = 1024
	maxGPTEntrySize = 4096
)

// readGPT reads the primary header and its entries (UEFI 2.10, 5.3). The backup at the end of the disk is left alone: Linux
// does not use it either, so its partitions would have no devices.
func readGPT(r io.ReaderAt, size, sector int64) ([]Partition, error) {
	bad := func(problem string) error {
		return &tableError{"GPT", problem, "gdisk can rebuild it from the backup at the end of the disk"}
	}
	h, err := readSector(r, size, sector, int(sector))
	if err != nil {
		return nil, err
	}
	if h == nil || string(h[:8]) != "EFI PART" {
		return nil, bad(fmt.Sprintf("the protective MBR announces one, block 1 (of %d bytes) has no header", sector))
	}
	if headerSize := binary.LittleEndian.Uint32(h[12:]); headerSize < 92 || int64(headerSize) > sector {
		return nil, bad(fmt.Sprintf("its header claims %d bytes", headerSize))
	} else if !headerSumOK(h[:headerSize]) {
		return nil, bad("the checksum of its header is wrong")
	}
	count, entrySize := binary.LittleEndian.Uint32(h[80:]), binary.LittleEndian.Uint32(h[84:])
	if count > maxGPTEntries || entrySize < 128 || entrySize > maxGPTEntrySize {
		return nil, bad(fmt.Sprintf("it claims %d entries of %d bytes", count, entrySize))
	}
	first := binary.LittleEndian.Uint64(h[72:])
	if first > uint64(size/sector) {
		return nil, bad("its entries lie outside the disk")
	}
	entries, err := readSector(r, size, int64(first)*sector, int(count*entrySize))
	if err != nil {
		return nil, err
	}
	if entries == nil {
		return nil, bad("its entries lie outside the disk")
	}
	if crc32.ChecksumIEEE(entries) != binary.LittleEndian.Uint32(h[88:]) {
		return nil, bad("the checksum of its entries is wrong")
	}
	return gptPartitions(entries, int(entrySize), size, sector), nil
}

func headerSumOK(h []byte) bool {
	sum := crc32.NewIEEE()
	sum.Write(h[:16])
	sum.Write(make([]byte, 4)) // the sum's own field counts as zero
	sum.Write(h[20:])
	return sum.Sum32() == binary.LittleEndian.Uint32(h[16:])
}

// gptPartitions leaves out unused entries and, as Linux does, those that do not fit the disk.
func gptPartitions(entries []byte, entrySize int, size, sector int64) []Partition {
	var parts []Partition
	for i := 0; (i+1)*entrySize <= len(entries); i++ {
		e := entries[i*entrySize:]
		kind := guid(e[:16])
		first, last := binary.LittleEndian.Uint64(e[32:]), binary.LittleEndian.Uint64(e[40:])
		if kind == "" || last < first || last >= uint64(size/sector) {
			continue
		}
		parts = append(parts, Partition{
			Number: i + 1,
			Start:  int64(first) * sector,
			Size:   int64(last-first+1) * sector,
			Type:   kind,
			UUID:   guid(e[16:32]),
			Label:  utf16Text(e[56:128]),
		})
	}
	return parts
}

// guid formats a GUID as stored in a GPT: its first three fields are little-endian (UEFI 2.10, appendix A).
func guid(b []byte) string {
	var u [16]byte
	binary.BigEndian.PutUint32(u[0:], binary.LittleEndian.Uint32(b[0:]))
	binary.BigEndian.PutUint16(u[4:], binary.LittleEndian.Uint16(b[4:]))
	binary.BigEndian.PutUint16(u[6:], binary.LittleEndian.Uint16(b[6:]))
	copy(u[8:], b[8:16])
	return formatUUID(u)
}

func utf16Text(b []byte) string {
	var units []uint16
	for ; len(b) >= 2; b = b[2:] {
		c := binary.LittleEndian.Uint16(b)
		if c == 0 {
			break
		}
		units = append(units, c)
	}
	return strings.TrimRight(string(utf16.Decode(units)), " ")
}
