package int13h

import (
	"bytes"
	"fmt"
)

// Multiboot is what was about to start by the Multiboot Specification, 0.6.96 or
// 2.0, such as Xen. Then a Handoff's Kernel is what lies in memory from Load on.
type Multiboot struct {
	Version     int // 1 or 2
	Load, Entry uint32
	Modules     []Module
}

// Module is a file that the boot loader has loaded beside the kernel.
type Module struct {
	Data    []byte
	Cmdline string
}

// information is what either version tells of the kernel.
type information struct {
	Multiboot
	cmdline                string
	sections, count, entry uint32 // the ELF file's section headers
	base                   uint32 // where its first one has been moved to, if not 0
}

// catchMultiboot takes the kernel that is entered with this magic number and
// information.
func (m *machine) catchMultiboot(magic, at, addr uint32) error {
	read, version := m.readMultiboot1, 1
	if magic == magicMultiboot2 {
		read, version = m.readMultiboot2, 2
	}
	info, err := read(at)
	if err != nil {
		return fmt.Errorf("a kernel by multiboot %d at %#x: %w", version, addr, err)
	}
	info.Version, info.Entry = version, addr
	h := &Handoff{Cmdline: info.cmdline, Why: fmt.Sprintf("multiboot %d, entry at %#x", version, addr), Multiboot: &info.Multiboot}
	if h.Kernel, err = m.sections(&info); err != nil {
		return err
	}
	m.found = h
	return errCaught
}

// Section headers of ELF (System V ABI, 4), for 32 bits.
const (
	sectionSize   = 40
	sectionNoBits = 8
	sectionAlloc  = 2
	maxSections   = 1 << 10
)

// sections copies what of the kernel has been loaded, as its section headers tell.
func (m *machine) sections(info *information) ([]byte, error) {
	low, high := uint32(1<<32-1), uint32(0)
	for i := range min(info.count, maxSections) {
		s := m.bytes(info.sections+i*info.entry, sectionSize)
		kind, flags, at, size := le.Uint32(s[4:]), le.Uint32(s[8:]), le.Uint32(s[12:]), le.Uint32(s[20:])
		if flags&sectionAlloc != 0 && kind != sectionNoBits && size > 0 && at+size > at {
			low, high = min(low, at), max(high, at+size)
		}
	}
	if info.entry < sectionSize || low >= high {
		return nil, fmt.Errorf("multiboot: the boot loader does not tell how much of the kernel there is: %w", ErrForeign)
	}
	info.Load = low
	if info.base != 0 {
		info.Load = info.base
	}
	return m.piece("multiboot kernel", uint64(info.Load), uint64(high-low))
}

func (m *machine) module(from, to, cmdline uint32) (Module, error) {
	if to < from {
		return Module{}, fmt.Errorf("multiboot: a module from %#x to %#x: %w", from, to, ErrForeign)
	}
	data, err := m.piece("multiboot module", uint64(from), uint64(to-from))
	return Module{data, m.text(cmdline)}, err
}

func (m *machine) text(at uint32) string {
	line, _, _ := bytes.Cut(m.bytes(at, maxCmdline), []byte{0})
	return string(line)
}

const maxModules = 64

// readMultiboot1 reads the information of version 1 (0.6.96, 3.3).
func (m *machine) readMultiboot1(at uint32) (info information, err error) {
	flags := m.long(at)
	if flags&(1<<2) != 0 {
		info.cmdline = m.text(m.long(at + 16))
	}
	if flags&(1<<3) != 0 {
		list := m.long(at + 24)
		for i := range min(m.long(at+20), maxModules) {
			entry := list + 16*i
			module, err := m.module(m.long(entry), m.long(entry+4), m.long(entry+8))
			if err != nil {
				return info, err
			}
			info.Modules = append(info.Modules, module)
		}
	}
	if flags&(1<<5) != 0 {
		info.count, info.entry, info.sections = m.long(at+28), m.long(at+32), m.long(at+36)
	}
	return info, nil
}

// Tags of version 2's information (2.0, 3.6).
const (
	tagEnd      = 0
	tagCmdline  = 1
	tagModule   = 3
	tagSections = 9
	tagBase     = 21

	maxInformation = 1 << 20
)

// readMultiboot2 reads the information of version 2.
func (m *machine) readMultiboot2(at uint32) (info information, err error) {
	end := at + min(m.long(at), maxInformation)
	for tag := at + 8; tag < end; {
		size := m.long(tag + 4)
		switch m.long(tag) {
		case tagEnd:
			return info, nil
		case tagCmdline:
			info.cmdline = m.text(tag + 8)
		case tagModule:
			module, err := m.module(m.long(tag+8), m.long(tag+12), tag+16)
			if err != nil {
				return info, err
			}
			if len(info.Modules) < maxModules {
				info.Modules = append(info.Modules, module)
			}
		case tagBase:
			info.base = m.long(tag + 8)
		case tagSections:
			info.count, info.entry, info.sections = m.long(tag+8), m.long(tag+12), tag+20
		}
		if size < 8 || size > maxInformation {
			break
		}
		tag += (size + 7) &^ 7
	}
	return info, fmt.Errorf("multiboot: the information at %#x has no end: %w", at, ErrForeign)
}
