package kexec

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Where ACPI's tables say what (ACPI 6.5, 5.2.5.3, 5.2.6, 5.2.8).
const (
	rsdpSize = 36 // of the root pointer's structure, since ACPI 2.0

	acpiHeader  = 36 // bytes of each other table, with its signature, length, revision and checksum
	acpiLength  = 4
	acpiSum     = 9
	acpiOEM     = 10 // six bytes: whose the table is; to the header's end more of that kind
	acpiAlign   = 16
	maxACPISize = 8 << 20 // of all tables
)

// acpiTables are the tables that ACPI's root has: not those that one of them points at, which stay where they are (DSDT, FACS).
type acpiTables [][]byte

// readACPI reads the tables as Linux shows them in /sys/firmware/acpi/tables: nothing else does on every machine (of physical memory
// /dev/mem shows what a kernel's configuration allows). iBFTs are left out.
func readACPI(dir string) (tables acpiTables, err error) {
	files, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("ACPI's tables: %w", err)
	}
	size, fixed := 0, false
	for _, f := range files {
		name := f.Name()
		if f.IsDir() || name == "DSDT" || name == "FACS" || strings.HasPrefix(strings.ToUpper(name), "IBFT") {
			continue
		}
		table, err := os.ReadFile(filepath.Join(dir, name))
		switch size += len(table); {
		case err != nil:
			return nil, fmt.Errorf("ACPI's tables: %w", err)
		case len(table) < acpiHeader || uint64(binary.LittleEndian.Uint32(table[acpiLength:])) != uint64(len(table)):
			return nil, fmt.Errorf("ACPI's table %s has %d bytes, which it denies", name, len(table))
		case size > maxACPISize:
			return nil, fmt.Errorf("ACPI's tables are larger than %d bytes", maxACPISize)
		}
		fixed = fixed || string(table[:4]) == "FACP"
		tables = append(tables, table)
	}
	if !fixed {
		return nil, fmt.Errorf("ACPI's tables: there is no FACP in %s", dir)
	}
	return tables, nil
}

func alignACPI(n int) int { return (n + acpiAlign - 1) &^ (acpiAlign - 1) }

// copies is all tables as they are to lie at an address, and where each of them is then.
func (t acpiTables) copies(at uint64) (block []byte, addresses []uint64) {
	for _, table := range t {
		addresses = append(addresses, at+uint64(len(block)))
		block = append(block, table...)
		block = append(block, make([]byte, alignACPI(len(block))-len(block))...)
	}
	return block, addresses
}

// root makes ACPI's root for an address: the root pointer, the table of tables (an XSDT) with those at the addresses, and behind it an
// iBFT, which is one of them if there is one.
func (t acpiTables) root(addresses []uint64, ibft []byte, at uint64) []byte {
	le := binary.LittleEndian
	xsdtAt := alignACPI(rsdpSize)
	ibftAt := alignACPI(xsdtAt + acpiHeader + 8*(len(addresses)+1))
	xsdt := make([]byte, acpiHeader)
	copy(xsdt[acpiOEM:], t[0][acpiOEM:acpiHeader])
	copy(xsdt, "XSDT")
	if len(ibft) > 0 {
		addresses = append(addresses[:len(addresses):len(addresses)], at+uint64(ibftAt))
	}
	for _, table := range addresses {
		xsdt = le.AppendUint64(xsdt, table)
	}
	le.PutUint32(xsdt[acpiLength:], uint32(len(xsdt)))
	xsdt[8] = 1 // revision
	setSum(xsdt, acpiSum)

	block := make([]byte, ibftAt+len(ibft))
	rsdp := block[:rsdpSize]
	copy(rsdp, "RSD PTR ")
	copy(rsdp[9:15], xsdt[acpiOEM:])
	rsdp[15] = 2 // revision
	le.PutUint32(rsdp[20:], rsdpSize)
	le.PutUint64(rsdp[24:], at+uint64(xsdtAt))
	setSum(rsdp[:20], 8) // as before ACPI 2.0
	setSum(rsdp, 32)
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
