package kexec

import "encoding/binary"

// loaderName is what a kernel is told of who loads it. Xen takes the first word of each command line for the name of the file, unless
// the loader says that it is GRUB 2.
const loaderName = "bootlun"

// multibootInfo is what a kernel is told, by either version of the specification.
type multibootInfo struct {
	cmdline string
	modules []placedModule
	memory  []region
	base    uint64 // where the kernel lies
	rsdp    []byte // the ACPI root pointer's structure, of ACPI 2.0 or later, if there is one
}

// placedModule is a module in [start, end).
type placedModule struct {
	start, end uint64
	cmdline    string
}

// lower and upper are the memory below 640 KiB and from 1 MiB on, each to its first hole, in KiB (2.0, 3.6.4).
func (i multibootInfo) lower() uint32 { return contiguous(i.memory, 0, lowEnd) }
func (i multibootInfo) upper() uint32 { return contiguous(i.memory, highStart, multibootLimit) }

func contiguous(memory []region, start, limit uint64) uint32 {
	at := start
	for _, r := range memory {
		if r.kind == memoryRAM && r.start <= at && r.end() > at {
			at = min(r.end(), limit)
		}
	}
	return uint32((at - start) >> 10)
}

// Tags of version 2's information (2.0, 3.6).
const (
	tagEnd        = 0
	tagCmdline    = 1
	tagLoader     = 2
	tagModule     = 3
	tagMeminfo    = 4
	tagBootDevice = 5
	tagMemoryMap  = 6
	tagNewACPI    = 15
	tagBase       = 21
)

// Magic numbers that a kernel finds in eax (0.6.96, 3.2; 2.0, 3.3).
const (
	multiboot1Magic = 0x2BADB002
	multiboot2Magic = 0x36D76289
)

// encode2 is the information of version 2. There is nothing of EFI in it: its boot services are gone, and Xen refuses to start where
// it is told of the system table without them.
func (i multibootInfo) encode2() []byte {
	le := binary.LittleEndian
	b := make([]byte, 8)
	tag := func(kind uint32, content []byte) {
		b = append(b, make([]byte, -len(b)&7)...)
		b = le.AppendUint32(b, kind)
		b = le.AppendUint32(b, uint32(8+len(content)))
		b = append(b, content...)
	}
	numbers := func(values ...uint32) []byte {
		var c []byte
		for _, v := range values {
			c = le.AppendUint32(c, v)
		}
		return c
	}
	tag(tagCmdline, append([]byte(i.cmdline), 0))
	tag(tagLoader, append([]byte(loaderName), 0))
	for _, m := range i.modules {
		tag(tagModule, append(append(numbers(uint32(m.start), uint32(m.end)), m.cmdline...), 0))
	}
	tag(tagMeminfo, numbers(i.lower(), i.upper()))
	memory := numbers(24, 0)
	for _, r := range i.memory {
		memory = le.AppendUint64(memory, r.start)
		memory = le.AppendUint64(memory, r.size)
		memory = append(memory, numbers(r.kind, 0)...)
	}
	tag(tagMemoryMap, memory)
	if i.rsdp != nil {
		tag(tagNewACPI, i.rsdp)
	}
	tag(tagBase, numbers(uint32(i.base)))
	tag(tagEnd, nil)
	le.PutUint32(b, uint32(len(b)))
	return b
}

// encode1 is the information of version 1 (0.6.96, 3.3) with all that it points at, to lie at an address.
func (i multibootInfo) encode1(at uint64) []byte {
	const (
		size                              = 116
		hasMemory, hasCmdline, hasModules = 1 << 0, 1 << 2, 1 << 3
		hasMemoryMap, hasName             = 1 << 6, 1 << 9
		moduleSize, memoryEntrySize       = 16, 24
	)
	le := binary.LittleEndian
	b := make([]byte, size, size+len(i.modules)*moduleSize)
	put := func(offset int, value uint32) { le.PutUint32(b[offset:], value) }
	here := func() uint32 { return uint32(at) + uint32(len(b)) }
	text := func(s string) uint32 {
		where := here()
		b = append(append(b, s...), 0)
		return where
	}
	put(4, i.lower())
	put(8, i.upper())
	put(20, uint32(len(i.modules)))
	put(24, here())
	list := len(b)
	b = append(b, make([]byte, len(i.modules)*moduleSize)...)
	for n, m := range i.modules {
		entry := list + n*moduleSize
		put(entry, uint32(m.start))
		put(entry+4, uint32(m.end))
		put(entry+8, text(m.cmdline))
	}
	put(44, uint32(len(i.memory)*memoryEntrySize))
	b = append(b, make([]byte, -len(b)&3)...)
	put(48, here())
	for _, r := range i.memory {
		b = le.AppendUint32(b, memoryEntrySize-4) // of what follows
		b = le.AppendUint64(b, r.start)
		b = le.AppendUint64(b, r.size)
		b = le.AppendUint32(b, r.kind)
	}
	put(16, text(i.cmdline))
	put(64, text(loaderName))
	put(0, hasMemory|hasCmdline|hasModules|hasMemoryMap|hasName)
	return b
}
