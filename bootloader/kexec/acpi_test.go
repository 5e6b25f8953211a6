package kexec

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func acpiTable(signature string, content int) []byte {
	table := make([]byte, acpiHeader+content)
	copy(table, signature)
	binary.LittleEndian.PutUint32(table[acpiLength:], uint32(len(table)))
	copy(table[acpiOEM:], "VENDOR")
	setSum(table, acpiSum)
	return table
}

// firmwareTables is a folder as Linux shows ACPI's tables.
func firmwareTables(t *testing.T, names ...string) string {
	t.Helper()
	dir := t.TempDir()
	for i, name := range names {
		if err := os.WriteFile(filepath.Join(dir, name), acpiTable(name[:4], 5*i), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "dynamic"), 0o700); err != nil {
		t.Fatal(err)
	}
	return dir
}

func testTables(t *testing.T) acpiTables {
	t.Helper()
	tables, err := readACPI(firmwareTables(t, "APIC", "DSDT", "FACP", "FACS", "SSDT1", "SSDT2", "iBFT"))
	if err != nil {
		t.Fatal(err)
	}
	return tables
}

func TestACPIRoot(t *testing.T) {
	tables := testTables(t)
	const copiesAt, rootAt = 0x10000, 0x800
	memory := make([]byte, 0x20000)
	block, addresses := tables.copies(copiesAt)
	copy(memory[copiesAt:], block)
	table := acpiTable("iBFT", 7)
	copy(memory[rootAt:], tables.root(addresses, table, rootAt))
	if got, want := tablesBelow(t, memory, rootAt), "APIC FACP SSDT SSDT iBFT"; got != want {
		t.Errorf("the root has %q, want %q", got, want)
	}
	if got := string(memory[rootAt+9 : rootAt+15]); got != "VENDOR" {
		t.Errorf("the root pointer is %q's", got)
	}
	copy(memory[rootAt:], tables.root(addresses, nil, rootAt))
	if got, want := tablesBelow(t, memory, rootAt), "APIC FACP SSDT SSDT"; got != want {
		t.Errorf("without a table the root has %q, want %q", got, want)
	}
}

// tablesBelow reads ACPI as its users do, and gives the signatures of its tables; sums and places have to be right.
func tablesBelow(t *testing.T, memory []byte, root uint64) string {
	t.Helper()
	le := binary.LittleEndian
	rsdp := memory[root : root+rsdpSize]
	xsdt := memory[le.Uint64(rsdp[24:]):]
	xsdt = xsdt[:le.Uint32(xsdt[acpiLength:])]
	whole := [][]byte{rsdp[:20], rsdp, xsdt}
	var signatures []string
	for list := xsdt[acpiHeader:]; len(list) > 0; list = list[8:] {
		at := le.Uint64(list)
		table := memory[at:]
		whole = append(whole, table[:le.Uint32(table[acpiLength:])])
		signatures = append(signatures, string(table[:4]))
		if at%acpiAlign != 0 {
			t.Errorf("a table at %#x", at)
		}
	}
	for _, b := range whole {
		if sum(b) != 0 {
			t.Errorf("the sum of % x is not zero", b)
		}
	}
	if !bytes.HasPrefix(rsdp, []byte("RSD PTR ")) || !bytes.HasPrefix(xsdt, []byte("XSDT")) {
		t.Errorf("root %q, table of tables %q", rsdp, xsdt)
	}
	return strings.Join(slices.Sorted(slices.Values(signatures)), " ")
}

func sum(b []byte) (s byte) {
	for _, v := range b {
		s += v
	}
	return s
}

func TestReadACPIRefuses(t *testing.T) {
	short := firmwareTables(t, "FACP")
	if err := os.WriteFile(filepath.Join(short, "APIC"), acpiTable("APIC", 8)[:40], 0o600); err != nil {
		t.Fatal(err)
	}
	for want, dir := range map[string]string{
		"there is no FACP":  firmwareTables(t, "APIC"),
		"APIC has 40 bytes": short,
		"no such file":      filepath.Join(t.TempDir(), "none"),
	} {
		if _, err := readACPI(dir); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error = %v, want %q", err, want)
		}
	}
}
