package kexec

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// pc is the memory of a PC with 512 MiB, as SeaBIOS tells it.
var pc = []region{
	{0, 0x9FC00, memoryRAM},
	{0x9FC00, 0x400, memoryReserved},
	{0xF0000, 0x10000, memoryReserved},
	{0x100000, 0x1FEE0000, memoryRAM},
	{0x1FFE0000, 0x20000, 3},
}

func TestLayOut(t *testing.T) {
	kernel, initramfs, table := testKernel("6.1"), bytes.Repeat([]byte("i"), 10_000), []byte("the table")
	running := make([]byte, pageSize)
	running[6], running[0x71] = 3, 0x5A // video mode, ACPI root pointer
	p, err := layOut(machine{memory: pc, bootParams: running}, kernel, initramfs, "root=/dev/sda1", table)
	if err != nil {
		t.Fatal(err)
	}
	if p.tableAt != 0x9E000 {
		t.Errorf("the table is at %#x, want it in the last whole page of low memory", p.tableAt)
	}
	var page []byte
	for i, s := range p.segments {
		if s.at%pageSize != 0 || s.size%pageSize != 0 || uint64(len(s.data)) > s.size {
			t.Errorf("segment %d: %d bytes in %d at %#x", i, len(s.data), s.size, s.at)
		}
		if !inRAM(s) {
			t.Errorf("segment %d at %#x is not in RAM", i, s.at)
		}
		for _, o := range p.segments[:i] {
			if s.at < o.at+o.size && o.at < s.at+s.size {
				t.Errorf("segments at %#x and %#x overlap", s.at, o.at)
			}
		}
		if p.entry >= s.at && p.entry < s.at+s.size {
			page = s.data
		}
	}
	le := binary.LittleEndian
	if page == nil || page[6] != 3 || page[0x71] != 0x5A || page[0x210] != loaderType || string(page[0x202:0x206]) != "HdrS" {
		t.Fatalf("the zero page is wrong")
	}
	if got := string(page[2*pageSize:]); got != "root=/dev/sda1" || le.Uint32(page[0x21C:]) != uint32(len(initramfs)) {
		t.Errorf("command line %q, initramfs of %d bytes", got, le.Uint32(page[0x21C:]))
	}
	want := "0-9e000 1, 9e000-9f000 2, 9f000-9fc00 1, 9fc00-a0000 2, f0000-100000 2, 100000-1ffe0000 1, 1ffe0000-20000000 3"
	if got := e820(page); got != want {
		t.Errorf("memory map\n%s\nwant\n%s", got, want)
	}
}

func inRAM(s segment) bool {
	for _, r := range pc {
		if r.kind == memoryRAM && s.at >= r.start && s.at+s.size <= r.end() {
			return true
		}
	}
	return false
}

func e820(page []byte) string {
	var all []string
	le := binary.LittleEndian
	for i := range int(page[0x1E8]) {
		e := page[0x2D0+20*i:]
		all = append(all, fmt.Sprintf("%x-%x %d", le.Uint64(e), le.Uint64(e)+le.Uint64(e[8:]), le.Uint32(e[16:])))
	}
	return strings.Join(all, ", ")
}

func TestLayOutRefuses(t *testing.T) {
	kernel := testKernel("6.1")
	old := bytes.Clone(kernel)
	old[0x236] = 0
	small := []region{{0, 0x9FC00, memoryRAM}, {1 << 20, 20 << 20, memoryRAM}}
	high := []region{{0, 0x70000, memoryRAM}, {1 << 20, 1 << 30, memoryRAM}}
	for _, tt := range []struct {
		name, want, cmdline string
		memory              []region
		kernel              []byte
	}{
		{"32 bit", "no 64-bit kernel", "", pc, old},
		{"long line", "the kernel takes 2047", strings.Repeat("x", 3000), pc, kernel},
		{"little memory", "the kernel: no ", "", small, kernel},
		{"no low memory", "the table: no ", "", high, kernel},
	} {
		_, err := layOut(machine{memory: tt.memory}, tt.kernel, nil, tt.cmdline, []byte("table"))
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error = %v, want %q", tt.name, err, tt.want)
		}
	}
}

func TestReadMemoryMap(t *testing.T) {
	dir := t.TempDir()
	for i, lines := range [][3]string{{"0x100000", "0x1fffff", "System RAM"}, {"0x0", "0x9fbff", "System RAM"}, {"0x9fc00", "0x9ffff", "Reserved"}} {
		for j, name := range []string{"start", "end", "type"} {
			file := filepath.Join(dir, fmt.Sprint(i), name)
			if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, []byte(lines[j]+"\n"), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	got, err := readMemoryMap(dir)
	want := []region{{0, 0x9FC00, memoryRAM}, {0x9FC00, 0x400, memoryReserved}, {1 << 20, 1 << 20, memoryRAM}}
	if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%v, %v; want %v", got, err, want)
	}
	if _, err := readMemoryMap(t.TempDir()); err == nil {
		t.Error("an empty map is taken")
	}
}
