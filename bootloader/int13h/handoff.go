package int13h

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/bootlun/bootlun/bootloader/int13h/x86"
)

// Handoff is what the boot sector's program was about to start.
type Handoff struct {
	Kernel  []byte // a bzImage, or what Multiboot says
	Initrd  []byte // nil if there is none
	Cmdline string
	// Multiboot is set if the kernel is none of Linux's.
	Multiboot *Multiboot
	Why       string // what was recognised, and where
	Steps     uint64 // instructions until then
}

// LoadedFrom reports whether a bzImage is the one whose code was caught. The file
// may have a signature behind it, which no boot loader loads.
func (h *Handoff) LoadedFrom(file []byte) bool {
	if h.Multiboot != nil || len(file) < len(h.Kernel) {
		return false
	}
	sectors := h.Kernel[hdrSetupSects]
	code := setupSize(sectors)
	return file[hdrSetupSects] == sectors && bytes.Equal(file[code:len(h.Kernel)], h.Kernel[code:])
}

// setupSize is how long the boot sector and the setup of so many sectors are.
func setupSize(sectors uint8) int {
	if sectors == 0 {
		sectors = 4
	}
	return (int(sectors) + 1) * 512
}

// errCaught ends the processor's run.
var errCaught = errors.New("kernel caught")

// What the Linux boot protocol calls the fields of the setup header, by offset in
// the file (Documentation/arch/x86/boot.rst).
const (
	hdrSetupSects   = 0x1F1
	hdrSyssize      = 0x1F4
	hdrVidMode      = 0x1FA
	hdrBootFlag     = 0x1FE
	hdrJump         = 0x200
	hdrSignature    = 0x202
	hdrVersion      = 0x206
	hdrLoaderType   = 0x210
	hdrLoadFlags    = 0x211
	hdrCode32       = 0x214
	hdrRamdisk      = 0x218
	hdrRamdiskSize  = 0x21C
	hdrHeapEnd      = 0x224
	hdrExtLoaderVer = 0x226
	hdrCmdline      = 0x228
	hdrAlignment    = 0x230
	hdrRelocatable  = 0x234
	hdrSetupData    = 0x250

	paramsExtRamdisk     = 0x0C0 // of the boot parameters
	paramsExtRamdiskSize = 0x0C4

	bootFlag       = 0xAA55
	signatureLinux = "HdrS"
	maxCmdline     = 64 << 10
)

// Magic numbers in EAX at the entry of a kernel.
const (
	magicMultiboot  = 0x2BADB002
	magicMultiboot2 = 0x36D76289
)

// Enter looks at code before it runs for the first time: is it a kernel's entry?
func (m *machine) Enter(c *x86.CPU, addr uint32) error {
	if !c.Protected() {
		return m.enterReal(c, addr)
	}
	params := c.Reg(x86.ESI)
	if m.isSetup(params) && m.isEntry32(params, addr) {
		return m.catch(params, addr, fmt.Sprintf("Linux, 32-bit entry at %#x", addr), false)
	}
	switch c.Reg(x86.EAX) {
	case magicMultiboot, magicMultiboot2:
		if m.isMultiboot(c.Reg(x86.EBX)) {
			return m.catchMultiboot(c.Reg(x86.EAX), c.Reg(x86.EBX), addr)
		}
	}
	return nil
}

// enterReal knows the entry of the 16-bit setup by what lies around it.
func (m *machine) enterReal(c *x86.CPU, addr uint32) error {
	if c.EIP() != 0 || addr < hdrJump || !m.isSetup(addr-hdrJump) || m.word(addr-2) != bootFlag {
		return nil
	}
	setup := addr - hdrJump
	payload := m.long(setup + hdrCode32)
	return m.catch(setup, payload, fmt.Sprintf("Linux, 16-bit entry at %#x", addr), true)
}

// isSetup tells whether a setup header lies at an address. Its boot flag does not
// count: GRUB clears it in the boot parameters.
func (m *machine) isSetup(at uint32) bool {
	return string(m.bytes(at+hdrSignature, 4)) == signatureLinux
}

// isEntry32 tells whether a kernel's protected-mode code may begin at addr: where
// its header says, or, if it can be relocated, aligned as its header asks.
func (m *machine) isEntry32(params, addr uint32) bool {
	if m.long(params+hdrCode32) == addr {
		return true
	}
	alignment := m.long(params + hdrAlignment)
	return m.byteAt(params+hdrRelocatable) != 0 && addr != 0 && alignment >= 0x1000 && addr%alignment == 0
}

// isMultiboot tells whether a pointer can be that of a multiboot information.
func (m *machine) isMultiboot(at uint32) bool {
	return at != 0 && at&3 == 0 && uint64(at)+8 <= uint64(len(m.cpu.Memory())) && m.long(at) != 0
}

// catch takes the kernel whose setup header lies at setup and whose protected-mode
// code lies at payload. The 32-bit entry comes with boot parameters, which hold of
// the setup the header alone.
func (m *machine) catch(setup, payload uint32, why string, whole bool) error {
	if version := m.word(setup + hdrVersion); version < 0x0206 {
		return fmt.Errorf("%s of boot protocol %#x: %w: 2.06 is the oldest", why, version, ErrForeign)
	}
	h := &Handoff{Why: why}
	size := uint64(m.long(setup+hdrSyssize)) * 16
	code, err := m.piece("kernel", uint64(payload), size)
	if err != nil {
		return err
	}
	h.Kernel = append(m.setup(setup, whole), code...)
	if h.Initrd, err = m.initrd(setup, whole); err != nil {
		return err
	}
	h.Cmdline = m.cmdline(setup)
	m.found = h
	return errCaught
}

// piece copies what lies in memory and says what it was if it does not.
func (m *machine) piece(what string, at, size uint64) ([]byte, error) {
	if at > uint64(m.Memory) || size > uint64(m.Memory)-at {
		return nil, fmt.Errorf("the %s is said to be at %#x with %d bytes, outside of memory: %w", what, at, size, ErrForeign)
	}
	return bytes.Clone(m.cpu.Memory()[at:][:size]), nil
}

// setup makes the first sectors of the file again: the boot sector and the 16-bit
// setup if they are there, with the fields as they are in a kernel that nobody has
// loaded.
func (m *machine) setup(at uint32, whole bool) []byte {
	b := make([]byte, setupSize(m.byteAt(at+hdrSetupSects)))
	if whole {
		m.cpu.Read(at, b)
	} else {
		end := hdrSignature + int(m.byteAt(at+hdrJump+1))
		m.cpu.Read(at+hdrSetupSects, b[hdrSetupSects:min(end, len(b))])
	}
	le.PutUint16(b[hdrBootFlag:], bootFlag)
	le.PutUint16(b[hdrVidMode:], 0xFFFF)
	b[hdrLoaderType] = 0
	b[hdrLoadFlags] &^= 0xA0 // quiet, heap
	le.PutUint32(b[hdrCode32:], 0x100000)
	le.PutUint64(b[hdrRamdisk:], 0) // and its size
	le.PutUint16(b[hdrHeapEnd:], 0)
	le.PutUint16(b[hdrExtLoaderVer:], 0)
	le.PutUint32(b[hdrCmdline:], 0)
	le.PutUint64(b[hdrSetupData:], 0)
	return b
}

func (m *machine) initrd(setup uint32, whole bool) ([]byte, error) {
	at, size := uint64(m.long(setup+hdrRamdisk)), uint64(m.long(setup+hdrRamdiskSize))
	if !whole {
		at |= uint64(m.long(setup+paramsExtRamdisk)) << 32
		size |= uint64(m.long(setup+paramsExtRamdiskSize)) << 32
	}
	if at == 0 || size == 0 {
		return nil, nil
	}
	return m.piece("initial RAM disk", at, size)
}

func (m *machine) cmdline(setup uint32) string {
	at := m.long(setup + hdrCmdline)
	if at == 0 {
		return ""
	}
	return m.text(at)
}
