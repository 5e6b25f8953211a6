package kexec

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
)

// firmware is memory with ACPI's root at 0x100, of the revision before ACPI 2.0 or since, and three tables of which one is an iBFT.
func firmware(revision byte) []byte {
	le := binary.LittleEndian
	memory := make([]byte, 0x1000)
	rsdp := memory[0x100:]
	copy(rsdp, "RSD PTR ")
	copy(rsdp[9:], "FIRMWA")
	rsdp[15] = revision
	le.PutUint32(rsdp[16:], 0x200)
	copy(memory[0x200:], "RSDT")
	le.PutUint32(memory[0x204:], acpiHeader+3*4)
	copy(memory[0x300:], "XSDT")
	le.PutUint32(memory[0x304:], acpiHeader+3*8)
	copy(memory[0x30A:], "VENDOR")
	for i, signature := range []string{"FACP", "iBFT", "APIC"} {
		at := 0x400 + 0x40*i
		copy(memory[at:], signature)
		le.PutUint32(memory[0x200+acpiHeader+4*i:], uint32(at))
		le.PutUint64(memory[0x300+acpiHeader+8*i:], uint64(at))
	}
	if revision >= 2 {
		le.PutUint64(rsdp[24:], 0x300)
	}
	return memory
}

func TestACPIRoot(t *testing.T) {
	for _, revision := range []byte{0, 2} {
		root, err := readACPI(bytes.NewReader(firmware(revision)), 0x100)
		if err != nil {
			t.Fatal(err)
		}
		if want := "[1024 1152]"; fmt.Sprint(root.tables) != want || len(root.rsdp) != rsdpSize1+int(revision)*8 {
			t.Errorf("revision %d: tables at %d, want %s; root pointer of %d bytes", revision, root.tables, want, len(root.rsdp))
		}
		// Another reader finds in the new root what was in the old one, and our table.
		const at = 0x800
		table := append([]byte("iBFT"), 1, 2, 3)
		block := root.with(table, at)
		memory := firmware(revision)
		copy(memory[at:], block)
		again, err := readACPI(bytes.NewReader(memory), at)
		if err != nil || fmt.Sprint(again.tables) != fmt.Sprint(root.tables) {
			t.Errorf("revision %d: %v, tables at %d", revision, err, again.tables)
		}
		le := binary.LittleEndian
		xsdt := block[le.Uint64(again.rsdp[24:])-at:]
		xsdt = xsdt[:le.Uint32(xsdt[acpiLength:])]
		for _, b := range [][]byte{again.rsdp[:rsdpSize1], again.rsdp, xsdt} {
			if sum(b) != 0 {
				t.Errorf("revision %d: the sum of % x is not zero", revision, b)
			}
		}
		ours := le.Uint64(xsdt[len(xsdt)-8:]) - at
		if ours%acpiAlign != 0 || !bytes.Equal(block[ours:], table) || string(again.rsdp[9:15]) != "FIRMWA" {
			t.Errorf("revision %d: at %#x is no table of ours: %q", revision, ours, block)
		}
	}
}

func sum(b []byte) (s byte) {
	for _, v := range b {
		s += v
	}
	return s
}

func TestReadACPIRefuses(t *testing.T) {
	long := firmware(2)
	binary.LittleEndian.PutUint32(long[0x304:], 1<<30)
	far := firmware(2)
	binary.LittleEndian.PutUint64(far[0x300+acpiHeader:], 1<<30)
	for _, tt := range []struct {
		want   string
		memory []byte
		at     uint64
	}{
		{"no root pointer", firmware(2), 0x200},
		{"EOF", firmware(2), 0xFF0},
		{"has 1073741824 bytes", long, 0x100},
		{"a table of ACPI at 0x40000000", far, 0x100},
	} {
		if _, err := readACPI(bytes.NewReader(tt.memory), tt.at); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("error = %v, want %q", err, tt.want)
		}
	}
}
