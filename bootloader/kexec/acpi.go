package kexec

import (
	"encoding/binary"
	"fmt"
	"io"
	"strings"
)

// Where ACPI's tables say what (ACPI 6.5, 5.2.5.3, 5.2.6, 5.2.8).
const (
	rsdpSize1 = 20 // of the root pointer's structure before ACPI 2.0
	rsdpSize2 = 36 // and since

	acpiHeader  = 36 // bytes of each other table, with its signature, length, revision and checksum
	acpiLength  = 4
	acpiSum     = 9
	maxACPIRoot = 64 << 10
	acpiAlign   = 16
)

// acpiRoot is where ACPI begins: the root pointer, and the table of tables that it points at.
type acpiRoot struct {
	rsdp   []byte
	header []byte // of the table of tables
	tables []uint64
}

// readACPI reads ACPI's root as the firmware made it from physical memory. iBFTs are left out.
func readACPI(memory io.ReaderAt, at uint64) (acpiRoot, error) {
	var r acpiRoot
	var err error
	read := func(what string, at uint64, size int) []byte {
		b := make([]byte, size)
		if err == nil {
			if _, err = memory.ReadAt(b, int64(at)); err != nil {
				err = fmt.Errorf("read %s of ACPI at %#x: %w", what, at, err)
			}
		}
		return b
	}
	le := binary.LittleEndian
	r.rsdp = read("the root pointer", at, rsdpSize2)
	if err == nil && string(r.rsdp[:8]) != "RSD PTR " {
		return acpiRoot{}, fmt.Errorf("at %#x is no root pointer of ACPI", at)
	}
	pointer, root := 8, le.Uint64(r.rsdp[24:])
	if r.rsdp[15] < 2 { // revision
		r.rsdp = r.rsdp[:rsdpSize1]
	}
	if len(r.rsdp) == rsdpSize1 || root == 0 {
		pointer, root = 4, uint64(le.Uint32(r.rsdp[16:]))
	}
	r.header = read("the table of tables", root, acpiHeader)
	size := int64(le.Uint32(r.header[acpiLength:]))
	if err == nil && (size < acpiHeader || size > maxACPIRoot) {
		return acpiRoot{}, fmt.Errorf("ACPI's table of tables has %d bytes", size)
	}
	list := read("the table of tables", root, int(size))
	for i := acpiHeader; err == nil && i+pointer <= len(list); i += pointer {
		table := uint64(le.Uint32(list[i:]))
		if pointer == 8 {
			table = le.Uint64(list[i:])
		}
		if signature := read("a table", table, 4); !strings.EqualFold(string(signature), "iBFT") {
			r.tables = append(r.tables, table)
		}
	}
	if err != nil {
		return acpiRoot{}, err
	}
	return r, nil
}

// with makes a root for at, with an iBFT behind it: the root pointer, the table of tables (an XSDT), the iBFT.
func (r acpiRoot) with(ibft []byte, at uint64) []byte {
	align := func(n int) int { return (n + acpiAlign - 1) &^ (acpiAlign - 1) }
	le := binary.LittleEndian
	xsdtAt := align(rsdpSize2)
	xsdt := make([]byte, acpiHeader)
	copy(xsdt, r.header)
	copy(xsdt, "XSDT")
	ibftAt := align(xsdtAt + acpiHeader + 8*(len(r.tables)+1))
	for _, table := range append(r.tables[:len(r.tables):len(r.tables)], at+uint64(ibftAt)) {
		xsdt = le.AppendUint64(xsdt, table)
	}
	le.PutUint32(xsdt[acpiLength:], uint32(len(xsdt)))
	xsdt[8] = 1 // revision
	setSum(xsdt, acpiSum)

	rsdp := make([]byte, rsdpSize2)
	copy(rsdp, r.rsdp)
	rsdp[15] = 2
	le.PutUint32(rsdp[16:], 0) // no RSDT
	le.PutUint32(rsdp[20:], rsdpSize2)
	le.PutUint64(rsdp[24:], at+uint64(xsdtAt))
	setSum(rsdp[:rsdpSize1], 8)
	setSum(rsdp, 32)

	block := make([]byte, ibftAt+len(ibft))
	copy(block, rsdp)
	copy(block[xsdtAt:], xsdt)
	copy(block[ibftAt:], ibft)
	return block
}

// setSum makes the sum of all bytes zero by the one at an offset.
func setSum(b []byte, offset int) {
	b[offset] = 0
	var sum byte
	for _, v := range b {
		sum += v
	}
	b[offset] = -sum
}
