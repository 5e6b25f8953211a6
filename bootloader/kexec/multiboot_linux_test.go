package kexec

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// decode2 reads the information of version 2 again: the content of each tag.
func decode2(t *testing.T, b []byte) (tags map[uint32][][]byte) {
	t.Helper()
	le := binary.LittleEndian
	tags = make(map[uint32][][]byte)
	for at := 8; at+8 <= int(le.Uint32(b)); {
		kind, size := le.Uint32(b[at:]), int(le.Uint32(b[at+4:]))
		tags[kind] = append(tags[kind], b[at+8:at+size])
		if kind == tagEnd {
			return tags
		}
		at += (size + 7) &^ 7
	}
	t.Fatal("the information has no end")
	return nil
}

func text(b []byte) string {
	s, _, _ := bytes.Cut(b, []byte{0})
	return string(s)
}

func TestLayOutMultiboot(t *testing.T) {
	kernel, initramfs, table := bytes.Repeat([]byte("k"), 20_000), bytes.Repeat([]byte("i"), 30_000), acpiTable("iBFT", 3)
	m := machine{memory: pc, acpi: testTables(t)}
	for _, version := range []int{1, 2} {
		h := Hypervisor{Version: version, Image: testHypervisor(), Cmdline: "console=com1"}
		p, err := layOutMultiboot(m, h, []module{{kernel, "root=/dev/sda1"}, {data: initramfs}}, table)
		if err != nil {
			t.Fatal(err)
		}
		checkSegments(t, p)
		code, info := p.bytes(p.entry)[:pageSize], p.bytes(p.entry)[pageSize:]
		// mov ecx, kernel; mov ebx, info; mov eax, magic
		want := binary.LittleEndian.AppendUint32([]byte{0xB9}, 0x200000)
		want = binary.LittleEndian.AppendUint32(append(want, 0xBB), uint32(p.entry+pageSize))
		want = binary.LittleEndian.AppendUint32(append(want, 0xB8), []uint32{0, multiboot1Magic, multiboot2Magic}[version])
		if !bytes.Contains(code, want) {
			t.Errorf("multiboot %d: the code does not enter the kernel: % x", version, code[:0x100])
		}
		if got := p.tables(t); got != "APIC FACP SSDT SSDT iBFT" || p.acpiAt != 0x9E000 {
			t.Errorf("at %#x begins an ACPI with %s", p.acpiAt, got)
		}
		said := p.decode1
		if version == 2 {
			said = p.decode2
			if got := decode2(t, info)[tagNewACPI]; len(got) != 1 || !bytes.Equal(got[0], p.bytes(p.acpiAt)[:rsdpSize]) {
				t.Errorf("the root pointer is %q", got)
			}
		}
		wantSaid := fmt.Sprintf("bootlun console=com1 | lower 632, upper %d | bootlun root=/dev/sda1 acpi_rsdp=0x9e000: 20000 k | bootlun : 30000 i | "+
			"0-9e000 1, 9e000-9f000 2, 9f000-9fc00 1, 9fc00-a0000 2, f0000-100000 2, 100000-1ffdf000 1, 1ffdf000-1ffe0000 2, 1ffe0000-20000000 3", 0x1FEDF000>>10)
		if got := said(t, info); got != wantSaid {
			t.Errorf("multiboot %d says\n%s\nwant\n%s", version, got, wantSaid)
		}
	}
}

// checkSegments: they are in RAM, of whole pages, and apart.
func checkSegments(t *testing.T, p plan) {
	t.Helper()
	for i, s := range p.segments {
		if s.at%pageSize != 0 || s.size%pageSize != 0 || uint64(len(s.data)) > s.size || !inRAM(s) {
			t.Errorf("segment %d: %d bytes in %#x at %#x", i, len(s.data), s.size, s.at)
		}
		for _, o := range p.segments[:i] {
			if s.at < o.at+o.size && o.at < s.at+s.size {
				t.Errorf("segments at %#x and %#x overlap", s.at, o.at)
			}
		}
	}
}

// bytes is what the plan puts at an address, to the end of the segment.
func (p plan) bytes(at uint64) []byte {
	for _, s := range p.segments {
		if at >= s.at && at-s.at < uint64(len(s.data)) {
			return s.data[at-s.at:]
		}
	}
	return nil
}

// summary is what the information says, in words.
func (p plan) summary(cmdline string, lower, upper uint32, modules, memory []string) string {
	said := []string{cmdline, fmt.Sprintf("lower %d, upper %d", lower, upper)}
	return strings.Join(append(append(said, modules...), strings.Join(memory, ", ")), " | ")
}

func (p plan) module(start, end uint32, cmdline string) string {
	data := p.bytes(uint64(start))[:end-start]
	return fmt.Sprintf("%s: %d %s", cmdline, len(data), slices.Compact(slices.Clone(data)))
}

func memoryEntry(b []byte) string {
	le := binary.LittleEndian
	return fmt.Sprintf("%x-%x %d", le.Uint64(b), le.Uint64(b)+le.Uint64(b[8:]), le.Uint32(b[16:]))
}

// decode2 says what the information of version 2 says.
func (p plan) decode2(t *testing.T, info []byte) string {
	tags := decode2(t, info)
	var modules, memory []string
	for _, b := range tags[tagModule] {
		w := words(b[:8])
		modules = append(modules, p.module(w[0], w[1], text(b[8:])))
	}
	for list := tags[tagMemoryMap][0][8:]; len(list) > 0; list = list[24:] {
		memory = append(memory, memoryEntry(list))
	}
	limits := words(tags[tagMeminfo][0])
	if name := text(tags[tagLoader][0]); name != loaderName {
		t.Errorf("the loader's name is %q", name)
	}
	return p.summary(text(tags[tagCmdline][0]), limits[0], limits[1], modules, memory)
}

// decode1 says what the information of version 1 says.
func (p plan) decode1(t *testing.T, info []byte) string {
	at := func(address uint32) []byte { return p.bytes(uint64(address)) }
	w := words(info[:116])
	if w[0] != 0x24D || text(at(w[16])) != loaderName {
		t.Errorf("flags %#x, the loader's name is %q", w[0], text(at(w[16])))
	}
	var modules, memory []string
	for i := range w[5] {
		entry := words(at(w[6] + 16*i)[:16])
		modules = append(modules, p.module(entry[0], entry[1], text(at(entry[2]))))
	}
	for list := at(w[12])[:w[11]]; len(list) > 0; list = list[24:] {
		memory = append(memory, memoryEntry(list[4:]))
	}
	return p.summary(text(at(w[4])), w[1], w[2], modules, memory)
}

// Where there is no BIOS, the data area says where ACPI begins.
func TestLayOutMultibootEFI(t *testing.T) {
	h := Hypervisor{Version: 2, Image: testHypervisor()}
	m := machine{memory: pc, acpi: testTables(t), efi: true}
	for want, table := range map[string][]byte{"APIC FACP SSDT SSDT iBFT": acpiTable("iBFT", 0), "APIC FACP SSDT SSDT": nil} {
		p, err := layOutMultiboot(m, h, []module{{data: []byte("kernel")}}, table)
		if err != nil {
			t.Fatal(err)
		}
		checkSegments(t, p)
		if at := uint64(binary.LittleEndian.Uint16(p.bytes(0x40E))) << 4; at != p.acpiAt {
			t.Errorf("the extended BIOS data area is at %#x, ACPI at %#x", at, p.acpiAt)
		}
		if got := p.tables(t); got != want {
			t.Errorf("ACPI has %s, want %s", got, want)
		}
	}
}

// tables are the signatures of ACPI's tables as the plan leaves them.
func (p plan) tables(t *testing.T) string {
	t.Helper()
	memory := make([]byte, 512<<20)
	for _, s := range p.segments {
		copy(memory[s.at:], s.data)
	}
	return tablesBelow(t, memory, p.acpiAt)
}

// A hypervisor that cannot be moved goes where it is linked to lie, or nowhere.
func TestLayOutMultibootPlaces(t *testing.T) {
	taken := []region{{0, 0x9FC00, memoryRAM}, {1 << 20, 1 << 20, memoryRAM}, {4 << 20, 16 << 20, memoryRAM}}
	elf := func(version int) Hypervisor { return Hypervisor{Version: version, Image: testHypervisor()} }
	inMemory := Hypervisor{Version: 2, Image: testHypervisor()[0x80:], Load: 1 << 30, Entry: 1<<30 + 16}
	for _, tt := range []struct {
		name, want string
		memory     []region
		h          Hypervisor
		at         uint64
	}{
		{"fixed", "", pc, elf(1), 0x200000},
		{"fixed, no memory", "the hypervisor: no ", taken, elf(1), 0},
		{"moved", "", taken, elf(2), 4 << 20},
		{"loaded elsewhere", "", pc, inMemory, 2 << 20},
		{"little memory", "module 0: no ", []region{{0, 0x9FC00, memoryRAM}, {2 << 20, 100 << 10, memoryRAM}}, elf(2), 0},
	} {
		p, err := layOutMultiboot(machine{memory: tt.memory}, tt.h, []module{{data: make([]byte, 20_000)}}, nil)
		if tt.want != "" {
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%s: error = %v, want %q", tt.name, err, tt.want)
			}
			continue
		}
		if err != nil || p.segments[0].at != tt.at {
			t.Errorf("%s: %v, at %#x, want %#x", tt.name, err, p.segments[0].at, tt.at)
		}
	}
	if _, err := layOutMultiboot(machine{memory: pc}, elf(2), make([]module, 20), nil); err == nil {
		t.Error("20 modules are taken")
	}
}
