package kexec

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The classic call takes segments of memory, which leaves where things go to us: it is how a table gets into low memory.

// What the next kernel reads, and how large it may be.
const (
	// maxE820 is how many entries the zero page has (Documentation/arch/x86/zero-page).
	maxE820 = 128
	// The loader number is kexec-tools', as Linux's own kexec_file_load has it.
	loaderType = 0x0D << 4
	// xlfKernel64 says that the kernel has a 64-bit entry point.
	xlfKernel64 = 1
	entry64     = 0x200
)

// segment is a piece of the next kernel's memory: data, then zeros up to size.
type segment struct {
	at, size uint64
	data     []byte
}

// machine is what the running kernel tells of its machine.
type machine struct {
	memory []region
	// bootParams is the running kernel's zero page, for the screen and the ACPI root pointer; nil if it is not known.
	bootParams []byte
	acpi       acpiTables // nil if they are not known
	efi        bool
}

func thisMachine() (m machine, err error) {
	if m.memory, err = readMemoryMap("/sys/firmware/memmap"); err != nil {
		return m, err
	}
	m.bootParams, err = os.ReadFile("/sys/kernel/boot_params/data")
	return m, err
}

// plan is what to load, and where to begin.
type plan struct {
	segments []segment
	entry    uint64
	tableAt  uint64 // 0 without one
	acpiAt   uint64 // a new root of ACPI; 0 without one
}

// layOut places a kernel with its initramfs, its command line, and, in low memory, a table, if there is one.
func layOut(m machine, kernel, initramfs []byte, cmdline string, table []byte) (p plan, err error) {
	k, err := parseKernel(kernel)
	switch {
	case err != nil:
		return p, err
	case k.protocol < 0x020C || k.xloadflags&xlfKernel64 == 0:
		return p, errors.New("it is no 64-bit kernel that can be entered there (boot protocol 2.12)")
	case uint64(len(cmdline)) > uint64(k.cmdlineSize):
		return p, fmt.Errorf("the command line has %d bytes, the kernel takes %d", len(cmdline), k.cmdlineSize)
	}
	free := slices.Clone(m.memory)
	memory := m.memory
	if table != nil {
		size := pages(len(table))
		if p.tableAt, err = place(&free, size, pageSize, ibftStart, lowEnd, true); err != nil {
			return p, fmt.Errorf("the table: %w", err)
		}
		memory = carve(memory, region{p.tableAt, size, memoryReserved})
		p.segments = append(p.segments, segment{p.tableAt, size, table})
	}
	size := max(pages(int(k.initSize)), pages(len(k.code)))
	align := uint64(max(k.alignment, pageSize))
	at, err := place(&free, size, align, max(k.preferred, highStart), 1<<32, false)
	if err != nil {
		return p, fmt.Errorf("the kernel: %w", err)
	}
	p.segments = append(p.segments, segment{at, size, k.code})
	initrdAt := uint64(0)
	if len(initramfs) > 0 {
		size := pages(len(initramfs))
		if initrdAt, err = place(&free, size, pageSize, highStart, uint64(k.initrdMax)+1, true); err != nil {
			return p, fmt.Errorf("the initramfs: %w", err)
		}
		p.segments = append(p.segments, segment{initrdAt, size, initramfs})
	}
	// Zero page, trampoline with its stack, command line.
	size = 2*pageSize + pages(len(cmdline)+1)
	small, err := place(&free, size, pageSize, highStart, 1<<32, true)
	if err != nil {
		return p, fmt.Errorf("the command line: %w", err)
	}
	page, err := zeroPage(k, m.bootParams, memory)
	if err != nil {
		return p, err
	}
	le := binary.LittleEndian
	le.PutUint32(page[0x218:], uint32(initrdAt))
	le.PutUint32(page[0x21C:], uint32(len(initramfs)))
	le.PutUint32(page[0x228:], uint32(small+2*pageSize))
	p.entry = small + pageSize
	data := append(page, trampoline(p.entry, at+entry64, small)...)
	p.segments = append(p.segments, segment{small, size, append(data, cmdline...)})
	return p, nil
}

// zeroPage is what a 64-bit kernel gets in place of the firmware (Documentation/arch/x86/zero-page): its own setup header, the memory
// map, and of the running kernel's page the screen and where ACPI begins.
func zeroPage(k bzImage, running []byte, memory []region) ([]byte, error) {
	page := make([]byte, pageSize)
	if end := min(k.headerEnd, len(k.setup)); end > 0x1F1 {
		copy(page[0x1F1:], k.setup[0x1F1:end])
	}
	page[0x210] = loaderType
	if len(running) >= 0x78 {
		copy(page[:0x40], running[:0x40])         // screen_info
		copy(page[0x70:0x78], running[0x70:0x78]) // acpi_rsdp_addr
	}
	if len(memory) > maxE820 {
		return nil, fmt.Errorf("the memory map has %d entries, at most %d can be handed on", len(memory), maxE820)
	}
	page[0x1E8] = byte(len(memory))
	le := binary.LittleEndian
	for i, r := range memory {
		entry := page[0x2D0+20*i:]
		le.PutUint64(entry, r.start)
		le.PutUint64(entry[8:], r.size)
		le.PutUint32(entry[16:], r.kind)
	}
	return page, nil
}

// trampoline is a page of code for at. kexec enters it in 64-bit mode with all memory mapped one to one; the kernel wants segments of
// a known descriptor table and its zero page in rsi (Documentation/arch/x86/boot, "64-bit Boot Protocol").
func trampoline(at, kernel, zeroPage uint64) []byte {
	const (
		gdt     = 0x100 // offsets in the page
		pointer = 0x180
		resume  = 0x40
	)
	page := make([]byte, pageSize)
	le := binary.LittleEndian
	code := []byte{
		0xFA,                         // cli
		0x0F, 0x01, 0x15, 0, 0, 0, 0, // lgdt [rip+pointer]
		0xB8, 0x18, 0, 0, 0, // mov eax, 0x18
		0x8E, 0xD8, 0x8E, 0xC0, 0x8E, 0xD0, // mov ds, es, ss, eax
		0x8E, 0xE0, 0x8E, 0xE8, // mov fs, gs, eax
	}
	le.PutUint32(code[4:], pointer-8)
	code = append(code, 0x48, 0xBC) // mov rsp, end of the page
	code = le.AppendUint64(code, at+pageSize)
	code = append(code, 0x6A, 0x10, 0x48, 0xB8) // push 0x10; mov rax, resume
	code = le.AppendUint64(code, at+resume)
	code = append(code, 0x50, 0x48, 0xCB) // push rax; lretq
	copy(page, code)
	code = append(code[:0], 0x48, 0xBE) // mov rsi, zeroPage
	code = le.AppendUint64(code, zeroPage)
	code = append(code, 0x48, 0xB8) // mov rax, kernel
	code = le.AppendUint64(code, kernel)
	copy(page[resume:], append(code, 0xFF, 0xE0))     // jmp rax
	le.PutUint64(page[gdt+0x10:], 0x00AF9A000000FFFF) // 64-bit code
	le.PutUint64(page[gdt+0x18:], 0x00CF92000000FFFF) // data
	le.PutUint16(page[pointer:], 0x1F)
	le.PutUint64(page[pointer+2:], at+gdt)
	return page
}

// classicLoad is kexec_load(2).
func classicLoad(p plan) error {
	type kexecSegment struct {
		buf     unsafe.Pointer
		bufSize uintptr
		mem     uintptr
		memSize uintptr
	}
	var pinned runtime.Pinner
	defer pinned.Unpin()
	segments := make([]kexecSegment, len(p.segments))
	for i, s := range p.segments {
		data := unsafe.Pointer(unsafe.SliceData(s.data))
		pinned.Pin(data)
		segments[i] = kexecSegment{data, uintptr(len(s.data)), uintptr(s.at), uintptr(s.size)}
	}
	_, _, errno := unix.Syscall6(unix.SYS_KEXEC_LOAD, uintptr(p.entry), uintptr(len(segments)),
		uintptr(unsafe.Pointer(unsafe.SliceData(segments))), 0, 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}
