package kexec

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
)

// Hypervisor is a kernel that is started by the Multiboot Specification, such as Xen, and starts the Linux kernel of a Config itself.
type Hypervisor struct {
	// Version of the Multiboot Specification: 1 (0.6.96) or 2 (2.0).
	Version int
	// Image is its file, plain or packed by gzip; or, if Load is not 0, what a boot loader has put into memory from there on.
	Image []byte
	// Load and Entry are where an image that has been loaded lies and is entered.
	Load, Entry uint32
	// Cmdline is its own command line, without its name.
	Cmdline string
	// Modules are given to it besides kernel and initramfs.
	Modules [][]byte
}

// CompleteXen adds to Xen's command line what it needs where no BIOS is to be called any more: "no-real-mode" has it take the memory
// map that it is given, "edd=off" not ask for disks (Xen's docs/misc/xen-command-line).
func CompleteXen(cmdline string) string {
	ours, _, _ := strings.Cut(cmdline+" ", " -- ")
	var more []string
	if !slices.Contains(strings.Fields(ours), "no-real-mode") {
		more = append(more, "no-real-mode")
	}
	if !slices.ContainsFunc(strings.Fields(ours), func(w string) bool { return strings.HasPrefix(w, "edd=") }) {
		more = append(more, "edd=off")
	}
	return addWords(cmdline, more...)
}

const (
	// multibootLimit is the end of the memory that a kernel in 32-bit mode sees.
	multibootLimit = 1 << 32
	// maxHypervisor bounds a hypervisor in memory.
	maxHypervisor = 256 << 20
	// unsaidSize is kept free behind a kernel that was found in memory, for what a file says and memory does not: how much it needs
	// besides what has been loaded.
	unsaidSize = 16 << 20
)

// multibootKernel is a kernel as it is to lie in memory.
type multibootKernel struct {
	version int
	at      uint64 // where it was linked, or has been loaded, to lie
	size    uint64 // in memory, from there on
	data    []byte // the beginning of that; the rest are zeros
	entry   uint64
	// It can be moved to a multiple of align in [low, high], unless align is 0.
	align, low, high uint64
}

// parseMultiboot takes a hypervisor apart.
func parseMultiboot(h Hypervisor) (k multibootKernel, err error) {
	image := h.Image
	if bytes.HasPrefix(image, []byte{0x1F, 0x8B}) && h.Load == 0 {
		if image, err = unpack(image); err != nil {
			return k, err
		}
	}
	k.version = h.Version
	var header multibootHeader
	switch h.Version {
	case 1:
		header, err = findMultiboot1(image)
	case 2:
		header, err = findMultiboot2(image)
	default:
		err = fmt.Errorf("there is no version %d of multiboot", h.Version)
	}
	if err != nil {
		return k, err
	}
	switch {
	case h.Load != 0:
		k.at, k.entry, k.data = uint64(h.Load), uint64(h.Entry), image
		k.size = uint64(len(image)) + unsaidSize
	case header.addresses != nil:
		err = k.fromAddresses(image, header)
	default:
		err = k.fromELF(image)
		if header.entry != 0 {
			k.entry = header.entry
		}
	}
	if err != nil {
		return k, err
	}
	k.align, k.low, k.high = header.align, header.low, header.high
	if k.entry < k.at || k.entry >= k.at+uint64(len(k.data)) {
		return k, fmt.Errorf("%w: it is to be entered at %#x, outside of what is loaded", ErrDamaged, k.entry)
	}
	return k, nil
}

// unpack is gunzip, with a bound.
func unpack(packed []byte) ([]byte, error) {
	z, err := gzip.NewReader(bytes.NewReader(packed))
	var image []byte
	if err == nil {
		image, err = io.ReadAll(io.LimitReader(z, maxHypervisor+1))
	}
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: unpack it: %w", ErrDamaged, err)
	case len(image) > maxHypervisor:
		return nil, errors.New("it is larger than a hypervisor can be")
	}
	return image, nil
}

// multibootHeader is what a kernel's header asks for.
type multibootHeader struct {
	at               int      // of the header in the file
	addresses        []uint32 // header_addr, load_addr, load_end_addr, bss_end_addr; nil if the ELF header has it
	entry            uint64   // 0: as the ELF header says
	align, low, high uint64   // of a kernel that can be moved
}

var errNoMultiboot = errors.New("it has no multiboot header of that version")

// findMultiboot1 looks for the header of version 1 (0.6.96, 3.1): in the first 8192 bytes, aligned to 4.
func findMultiboot1(image []byte) (h multibootHeader, err error) {
	const (
		magic         = 0x1BADB002
		known         = 0x10003 // modules aligned to pages, memory's size, addresses; a video mode (4) we have none to give
		withAddresses = 0x10000
	)
	le := binary.LittleEndian
	for at := 0; at+12 <= min(len(image), 8192); at += 4 {
		flags := le.Uint32(image[at+4:])
		if le.Uint32(image[at:]) != magic || flags+magic+le.Uint32(image[at+8:]) != 0 {
			continue
		}
		if more := flags & 0xFFFF &^ known; more != 0 {
			return h, fmt.Errorf("it requires what cannot be given: flags %#x", more)
		}
		h.at = at
		if flags&withAddresses != 0 {
			if at+32 > len(image) {
				return h, fmt.Errorf("%w: its multiboot header is cut short", ErrDamaged)
			}
			h.addresses = words(image[at+12 : at+28])
			h.entry = uint64(le.Uint32(image[at+28:]))
		}
		return h, nil
	}
	return h, errNoMultiboot
}

// Tags of version 2's header (2.0, 3.1.3 on). The others ask for what all kernels get, or for what only firmware can give.
const (
	headerTagEnd         = 0
	headerTagInformation = 1
	headerTagAddress     = 2
	headerTagEntry       = 3
	headerTagFramebuffer = 5
	headerTagRelocatable = 10

	headerOptional = 1 // flag: "may be ignored"
)

// findMultiboot2 looks for the header of version 2 (2.0, 3.1): in the first 32768 bytes, aligned to 8.
func findMultiboot2(image []byte) (multibootHeader, error) {
	const magic, i386 = 0xE85250D6, 0
	le := binary.LittleEndian
	for at := 0; at+16 <= min(len(image), 32768); at += 8 {
		length := le.Uint32(image[at+8:])
		if le.Uint32(image[at:]) != magic || magic+le.Uint32(image[at+4:])+length+le.Uint32(image[at+12:]) != 0 {
			continue
		}
		switch {
		case le.Uint32(image[at+4:]) != i386:
			return multibootHeader{}, errors.New("it is for another processor")
		case length < 16 || int64(length) > int64(len(image)-at):
			return multibootHeader{}, fmt.Errorf("%w: its multiboot header has %d bytes", ErrDamaged, length)
		}
		h := multibootHeader{at: at}
		return h, h.readTags(image[at+16 : at+int(length)])
	}
	return multibootHeader{}, errNoMultiboot
}

func (h *multibootHeader) readTags(tags []byte) error {
	le := binary.LittleEndian
	for len(tags) >= 8 {
		kind, flags, size := le.Uint16(tags), le.Uint16(tags[2:]), int64(le.Uint32(tags[4:]))
		if size < 8 || size > int64(len(tags)) {
			return fmt.Errorf("%w: tag %d of its multiboot header has %d bytes", ErrDamaged, kind, size)
		}
		if err := h.readTag(kind, flags, words(tags[8:size])); err != nil {
			return err
		}
		if kind == headerTagEnd {
			return nil
		}
		tags = tags[min((size+7)&^7, int64(len(tags))):]
	}
	return fmt.Errorf("%w: its multiboot header has no end", ErrDamaged)
}

func (h *multibootHeader) readTag(kind, flags uint16, values []uint32) error {
	short := func(want int) bool { return len(values) < want }
	switch {
	case kind == headerTagAddress && !short(4):
		h.addresses = values[:4]
	case kind == headerTagEntry && !short(1):
		h.entry = uint64(values[0])
	case kind == headerTagRelocatable && !short(3):
		h.low, h.high, h.align = uint64(values[0]), uint64(values[1]), uint64(values[2])
		if h.align == 0 || h.align&(h.align-1) != 0 {
			return fmt.Errorf("%w: it is to be aligned to %#x", ErrDamaged, h.align)
		}
		h.align = max(h.align, pageSize)
	case kind == headerTagAddress, kind == headerTagEntry, kind == headerTagRelocatable:
		return fmt.Errorf("%w: tag %d of its multiboot header is cut short", ErrDamaged, kind)
	case flags&headerOptional != 0:
	case kind == headerTagInformation:
		for _, wanted := range values {
			if wanted > tagMemoryMap || wanted == tagBootDevice {
				return fmt.Errorf("it requires information that cannot be given: tag %d", wanted)
			}
		}
	case kind == headerTagFramebuffer, kind > headerTagRelocatable:
		return fmt.Errorf("it requires what cannot be given: tag %d of its multiboot header", kind)
	}
	return nil
}

func words(b []byte) []uint32 {
	w := make([]uint32, len(b)/4)
	for i := range w {
		w[i] = binary.LittleEndian.Uint32(b[4*i:])
	}
	return w
}

// fromAddresses loads a file that is no ELF file, or not to be read as one, by the addresses in its header (0.6.96, 3.1.3; 2.0, 3.1.5).
func (k *multibootKernel) fromAddresses(image []byte, h multibootHeader) error {
	headerAt, load, loadEnd, bssEnd := int64(h.addresses[0]), int64(h.addresses[1]), int64(h.addresses[2]), int64(h.addresses[3])
	start := int64(h.at) - (headerAt - load)
	if load == math.MaxUint32 { // from the file's beginning
		start, load = 0, headerAt-int64(h.at)
	}
	if loadEnd == 0 {
		loadEnd = load + int64(len(image)) - start
	}
	if start < 0 || load < 0 || loadEnd <= load || loadEnd-load > int64(len(image))-start {
		return fmt.Errorf("%w: it is to be loaded from %#x to %#x, and has not so many bytes", ErrDamaged, load, loadEnd)
	}
	if bssEnd = max(bssEnd, loadEnd); bssEnd-load > maxHypervisor {
		return errors.New("it is larger than a hypervisor can be")
	}
	k.at, k.size, k.data, k.entry = uint64(load), uint64(bssEnd-load), image[start:start+loadEnd-load], h.entry
	return nil
}

// programHeader is a part of an ELF file that is to be loaded.
type programHeader struct{ offset, at, fileSize, size uint64 }

// fromELF loads an ELF file of either class (System V ABI, 4 and 5) by its physical addresses.
func (k *multibootKernel) fromELF(image []byte) error {
	parts, err := k.programHeaders(image)
	if err != nil {
		return err
	}
	low, high, end := uint64(math.MaxUint64), uint64(0), uint64(0)
	for _, p := range parts {
		if p.offset > uint64(len(image)) || p.fileSize > uint64(len(image))-p.offset || p.fileSize > p.size {
			return fmt.Errorf("%w: %d bytes at %#x of the file do not exist", ErrDamaged, p.fileSize, p.offset)
		}
		if p.at > multibootLimit || p.size > maxHypervisor {
			return fmt.Errorf("it is to be loaded to %#x, outside of what 32 bits reach, or larger than a hypervisor can be", p.at)
		}
		low, high, end = min(low, p.at), max(high, p.at+p.fileSize), max(end, p.at+p.size)
	}
	if low >= high || end-low > maxHypervisor {
		return fmt.Errorf("%w: the file says nothing of what to load", ErrDamaged)
	}
	k.at, k.size, k.data = low, end-low, make([]byte, high-low)
	for _, p := range parts {
		copy(k.data[p.at-low:], image[p.offset:p.offset+p.fileSize])
	}
	return nil
}

// programHeaders lists what is to be loaded, and notes the entry.
func (k *multibootKernel) programHeaders(image []byte) (parts []programHeader, err error) {
	const load, class32, class64 = 1, 1, 2
	le := binary.LittleEndian
	if len(image) < 64 || string(image[:4]) != "\x7FELF" || image[5] != 1 || image[4] != class32 && image[4] != class64 {
		return nil, errors.New("it is no ELF file, and does not say how else to load it")
	}
	var table uint64
	var size, count int
	if wide := image[4] == class64; wide {
		k.entry, table = le.Uint64(image[24:]), le.Uint64(image[32:])
		size, count = int(le.Uint16(image[54:])), int(le.Uint16(image[56:]))
	} else {
		k.entry, table = uint64(le.Uint32(image[24:])), uint64(le.Uint32(image[28:]))
		size, count = int(le.Uint16(image[42:])), int(le.Uint16(image[44:]))
	}
	if size < 32 || image[4] == class64 && size < 56 || table > uint64(len(image)) || uint64(size*count) > uint64(len(image))-table {
		return nil, fmt.Errorf("%w: the program headers of the ELF file are not in it", ErrDamaged)
	}
	for i := range count {
		h := image[table+uint64(i*size):]
		if le.Uint32(h) != load {
			continue
		}
		var p programHeader
		if image[4] == class64 {
			p = programHeader{le.Uint64(h[8:]), le.Uint64(h[24:]), le.Uint64(h[32:]), le.Uint64(h[40:])}
		} else {
			p = programHeader{uint64(le.Uint32(h[4:])), uint64(le.Uint32(h[12:])), uint64(le.Uint32(h[16:])), uint64(le.Uint32(h[20:]))}
		}
		if p.size > 0 {
			parts = append(parts, p)
		}
	}
	return parts, nil
}
