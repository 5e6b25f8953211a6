package kexec

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"
)

// maxSegments is Linux's KEXEC_SEGMENT_MAX.
const maxSegments = 16

// layOutMultiboot places a hypervisor, its modules (kernel and initramfs are the first), what it is told, and, in low memory, a table.
// The hypervisor goes as low as it can and everything else as high, so that what it uses behind its own end is free.
func layOutMultiboot(m machine, h Hypervisor, modules []module, table []byte) (p plan, err error) {
	k, err := parseMultiboot(h)
	if err != nil {
		return p, fmt.Errorf("the hypervisor: %w", err)
	}
	free := slices.Clone(m.memory)
	info := multibootInfo{cmdline: loaderName + " " + h.Cmdline, memory: m.memory}
	if table != nil || m.efi {
		if err := p.placeTable(m, &free, &info, table); err != nil {
			return p, fmt.Errorf("the table: %w", err)
		}
	}
	if info.base, err = k.place(&free); err != nil {
		return p, fmt.Errorf("the hypervisor: %w", err)
	}
	p.segments = append(p.segments, k.segment(info.base))
	for i, mod := range modules {
		if i == 0 && p.acpiAt != 0 {
			mod.cmdline = addWords(mod.cmdline, fmt.Sprintf("acpi_rsdp=%#x", p.acpiAt))
		}
		size := pages(len(mod.data))
		at, err := place(&free, size, pageSize, highStart, multibootLimit, true)
		if err != nil {
			return p, fmt.Errorf("module %d: %w", i, err)
		}
		info.modules = append(info.modules, placedModule{at, at + uint64(len(mod.data)), loaderName + " " + mod.cmdline})
		p.segments = append(p.segments, segment{at, size, mod.data})
	}
	if err := p.tell(&free, k, info); err != nil {
		return p, err
	}
	if len(p.segments) > maxSegments {
		return p, fmt.Errorf("%d modules are more than Linux can load", len(modules))
	}
	return p, nil
}

// placeTable puts the table into low memory, all of which Xen lets its first domain see, behind a new root of ACPI that has it and
// copies of the firmware's tables: Linux before 6.5 cannot search low memory in that domain. On a machine with EFI the root is put where
// Xen searches for it on one without: at the beginning of the extended BIOS data area, of which page 0 says where it is (ACPI 6.5, 5.2.5.1).
// Nothing else is there.
func (p *plan) placeTable(m machine, free *[]region, info *multibootInfo, table []byte) (err error) {
	reserve := func(size int, start, end uint64) (uint64, error) {
		at, err := place(free, pages(size), pageSize, start, end, true)
		if err == nil {
			info.memory = carve(info.memory, region{at, pages(size), memoryReserved})
		}
		return at, err
	}
	if m.acpi == nil {
		p.tableAt, err = reserve(len(table), ibftStart, lowEnd)
		p.segments = append(p.segments, segment{p.tableAt, pages(len(table)), table})
		return err
	}
	block, _ := m.acpi.copies(0)
	copiesAt, err := reserve(len(block), highStart, multibootLimit)
	if err != nil {
		return err
	}
	block, addresses := m.acpi.copies(copiesAt)
	size := len(m.acpi.root(addresses, table, 0))
	if p.acpiAt, err = reserve(size, ibftStart, lowEnd); err != nil {
		return err
	}
	root := m.acpi.root(addresses, table, p.acpiAt)
	p.tableAt, info.rsdp = p.acpiAt, root[:rsdpSize]
	p.segments = append(p.segments, segment{copiesAt, pages(len(block)), block}, segment{p.acpiAt, pages(size), root})
	if !m.efi {
		return nil
	}
	if _, err := place(free, pageSize, pageSize, 0, pageSize, false); err != nil {
		return fmt.Errorf("the BIOS data area: %w", err)
	}
	biosData := make([]byte, pageSize)
	binary.LittleEndian.PutUint16(biosData[0x40E:], uint16(p.acpiAt>>4))  // segment of the extended BIOS data area
	binary.LittleEndian.PutUint16(biosData[0x413:], uint16(p.acpiAt>>10)) // KiB of memory below it
	p.segments = append(p.segments, segment{0, pageSize, biosData})
	return nil
}

// module is a file that a hypervisor is given.
type module struct {
	data    []byte
	cmdline string
}

// place finds room for the kernel: where it is linked to lie, or if it can be moved anywhere.
func (k *multibootKernel) place(free *[]region) (uint64, error) {
	if k.align == 0 {
		start := k.at &^ (pageSize - 1)
		size := pages(int(k.at + k.size - start))
		_, err := place(free, size, pageSize, start, start+size, false)
		return k.at, err
	}
	end := min(k.high, multibootLimit-1) + 1
	return place(free, pages(int(k.size)), k.align, max(k.low, highStart), end, false)
}

// segment is the kernel at base, of whole pages.
func (k *multibootKernel) segment(base uint64) segment {
	before := base & (pageSize - 1)
	data := k.data
	if before != 0 {
		data = append(make([]byte, before), data...)
	}
	return segment{base - before, pages(int(before + k.size)), data}
}

// tell places the code that enters the kernel, and the information for it.
func (p *plan) tell(free *[]region, k multibootKernel, info multibootInfo) error {
	encode := func(at uint64) []byte { return info.encode1(at) }
	magic := uint32(multiboot1Magic)
	if k.version == 2 {
		encode, magic = func(uint64) []byte { return info.encode2() }, multiboot2Magic
	}
	size := pageSize + pages(len(encode(0)))
	at, err := place(free, size, pageSize, highStart, multibootLimit, true)
	if err != nil {
		return fmt.Errorf("the multiboot information: %w", err)
	}
	p.entry = at
	code := trampoline32(uint32(at), uint32(k.entry-k.at+info.base), magic, uint32(at+pageSize))
	p.segments = append(p.segments, segment{at, size, append(code, encode(at+pageSize)...)})
	return nil
}

// trampoline32 is a page of code for at, below 4 GiB. kexec enters it in 64-bit mode with all memory mapped one to one; the kernel wants
// 32-bit protected mode with flat segments, without paging and interrupts, a magic number in eax, and in ebx where its information
// lies (0.6.96, 3.2; 2.0, 3.3). How long mode is left: AMD64 Architecture Programmer's Manual, volume 2, 14.7.
func trampoline32(at, kernel, magic, info uint32) []byte {
	const (
		resume  = 0x40 // offsets in the page
		gdt     = 0x100
		pointer = 0x180
	)
	page := make([]byte, pageSize)
	le := binary.LittleEndian
	number := func(code []byte, values ...uint32) []byte {
		for _, v := range values {
			code = le.AppendUint32(code, v)
		}
		return code
	}
	// 64-bit code.
	code := []byte{0xFA, 0xFC, 0x0F, 0x01, 0x15} // cli; cld; lgdt [rip+pointer]
	code = number(code, pointer-9)
	code = number(append(code, 0xBC), at+pageSize)           // mov esp, end of the page; clears the rest of rsp
	code = number(append(code, 0x6A, 0x08, 0x68), at+resume) // push 8; push resume, with its sign: the next line drops that
	code = append(code, 0x83, 0x64, 0x24, 0x04, 0x00)        // and dword [rsp+4], 0
	copy(page, append(code, 0x48, 0xCB))                     // lretq, to the 32-bit code segment
	// 32-bit code, in compatibility mode until paging is off.
	code = []byte{
		0xB8, 0x10, 0, 0, 0, // mov eax, 0x10
		0x8E, 0xD8, 0x8E, 0xC0, 0x8E, 0xD0, // mov ds, es, ss, eax
		0x8E, 0xE0, 0x8E, 0xE8, // mov fs, gs, eax
		0x0F, 0x20, 0xC0, // mov eax, cr0
		0x25, 0xFF, 0xFF, 0xFF, 0x7F, // and eax, ~PG
		0x0F, 0x22, 0xC0, // mov cr0, eax: long mode is no longer active
		0xB9, 0x80, 0, 0, 0xC0, 0x0F, 0x32, // mov ecx, EFER; rdmsr
		0x25, 0xFF, 0xFE, 0xFF, 0xFF, 0x0F, 0x30, // and eax, ~LME; wrmsr
		0x31, 0xC0, 0x0F, 0x22, 0xE0, // xor eax, eax; mov cr4, eax
		0x6A, 0x02, 0x9D, // push 2; popfd
	}
	code = number(append(code, 0xB9), kernel)         // mov ecx, kernel
	code = number(append(code, 0xBB), info)           // mov ebx, info
	code = number(append(code, 0xB8), magic)          // mov eax, magic
	copy(page[resume:], append(code, 0xFF, 0xE1))     // jmp ecx
	le.PutUint64(page[gdt+0x08:], 0x00CF9A000000FFFF) // 32-bit code, from 0 to 4 GiB
	le.PutUint64(page[gdt+0x10:], 0x00CF92000000FFFF) // data, the same
	le.PutUint16(page[pointer:], 0x17)
	le.PutUint64(page[pointer+2:], uint64(at)+gdt)
	return page
}

// loadMultiboot is kexec_load(2) of a hypervisor, with kernel and initramfs as its modules.
func loadMultiboot(cfg Config) (p plan, err error) {
	m, err := thisMachine()
	if err != nil {
		return p, err
	}
	_, err = os.Stat("/sys/firmware/efi")
	m.efi = err == nil
	if m.acpi, err = readACPI("/sys/firmware/acpi/tables"); err != nil {
		if m.efi {
			return p, fmt.Errorf("on a machine with EFI the hypervisor has to be shown where ACPI begins: %w", err)
		}
		cfg.Logger.Warn("the hypervisor's first domain may not find the table, for which ACPI has to be known", "error", err)
	}
	modules := []module{{cfg.Kernel, cfg.Cmdline}}
	for _, data := range append([][]byte{cfg.Initramfs}, cfg.Hypervisor.Modules...) {
		if len(data) > 0 {
			modules = append(modules, module{data: data})
		}
	}
	if len(cfg.Kernel) == 0 {
		return p, errors.New("there is no kernel for the hypervisor to start")
	}
	if p, err = layOutMultiboot(m, *cfg.Hypervisor, modules, cfg.Table); err != nil {
		return p, err
	}
	if err := classicLoad(p); err != nil {
		return p, explain(err)
	}
	return p, nil
}
