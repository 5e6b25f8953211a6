package int13h

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bootlun/bootlun/bootloader/int13h/x86"
)

// memoryDisk is a disk in memory.
type memoryDisk struct {
	data  []byte
	block int
}

func (d *memoryDisk) Size() int64    { return int64(len(d.data)) }
func (d *memoryDisk) BlockSize() int { return d.block }

func (d *memoryDisk) ReadAt(p []byte, off int64) (int, error) {
	n := copy(p, d.data[min(off, d.Size()):])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (d *memoryDisk) WriteAt(p []byte, off int64) (int, error) { return copy(d.data[off:], p), nil }

// bootDisk is a disk of 4 MiB with a program in its boot sector.
func bootDisk(code ...byte) *memoryDisk {
	d := &memoryDisk{make([]byte, 4<<20), 512}
	copy(d.data, code)
	d.data[510], d.data[511] = 0x55, 0xAA
	return d
}

// small is a machine with little of everything.
func small(d Disk) Config { return Config{Disk: d, Memory: 4 << 20, Steps: 1e6} }

func TestBootErrors(t *testing.T) {
	noSignature := bootDisk()
	noSignature.data[511] = 0
	for name, c := range map[string]struct {
		config Config
		want   error
	}{
		"no signature":         {small(noSignature), ErrNotBootable},
		"gives up":             {small(bootDisk(0xCD, 0x18)), ErrNotBootable},
		"halts":                {small(bootDisk(0xFA, 0xF4)), ErrHalted},
		"waits for a key":      {small(bootDisk(0x31, 0xC0, 0xCD, 0x16)), ErrNoKey},
		"resets":               {small(bootDisk(0xB0, 0xFE, 0xE6, 0x64, 0xEB, 0xFE)), ErrReset},
		"goes on for ever":     {small(bootDisk(0xEB, 0xFE)), x86.ErrSteps},
		"has no stack left":    {small(bootDisk(0xBC, 0x01, 0x00, 0x50)), x86.ErrShutdown},
		"waits for interrupts": {small(bootDisk(0xFB, 0xF4, 0xEB, 0xFD)), x86.ErrSteps},
	} {
		t.Run(name, func(t *testing.T) {
			if h, err := Boot(t.Context(), c.config); !errors.Is(err, c.want) {
				t.Errorf("handoff %v, error %v; want %v", h, err, c.want)
			}
		})
	}
}

// TestForeign: who cannot be handed over is named, wherever its boot program is.
func TestForeign(t *testing.T) {
	gpt := bootDisk(0xCD, 0x18)
	copy(gpt.data[1<<20:], "\xEB\x52\x90NTFS    ... BOOTMGR is missing")
	copy(gpt.data[446:], []byte{0x80, 0, 0, 0, 7, 0, 0, 0, 0, 8, 0, 0})
	dos := bootDisk(0xCD, 0x18)
	copy(dos.data[400:], "IO      SYSMSDOS   SYS")
	outside := bootDisk(0xCD, 0x18)
	copy(outside.data[446:], []byte{0x80, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0xFF})
	for want, d := range map[string]*memoryDisk{"Windows": gpt, "DOS": dos, "": outside} {
		_, err := Boot(t.Context(), small(d))
		if !errors.Is(err, ErrNotBootable) || errors.Is(err, ErrForeign) != (want != "") || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", want, err)
		}
	}
}

func TestBootUnsupported(t *testing.T) {
	_, err := Boot(t.Context(), small(bootDisk(0x90, 0x66, 0x0F, 0x3A, 0x0F, 0xC1)))
	var unsupported *x86.UnsupportedError
	if !errors.As(err, &unsupported) || unsupported.Where != "0000:7c01 (linear 0x7c01)" || unsupported.Code[2] != 0x3A {
		t.Errorf("error %v", err)
	}
}

func TestBootCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Boot(ctx, small(bootDisk(0xEB, 0xFE))); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

// service calls an interrupt's service with registers and returns them after it.
// The stack lies at 0:7000, buffers at 0:8000, ES and DS are 0.
func service(t *testing.T, m *machine, n uint8, in map[int]uint32) (r regs, carry bool) {
	t.Helper()
	for i := range 8 {
		m.cpu.SetReg(i, in[i])
	}
	m.cpu.SetReg(x86.ESP, 0x7000)
	m.setWord(0x7004, 0)
	if err := m.Trap(m.cpu, n); err != nil {
		t.Fatalf("int %#x: %v", n, err)
	}
	return regs{m.cpu}, m.word(0x7004)&flagCF != 0
}

func newTestMachine(t *testing.T, c Config) *machine {
	t.Helper()
	m, err := newMachine(t.Context(), c.withDefaults())
	if err != nil {
		t.Fatal(err)
	}
	if err := m.loadBootSector(); err != nil {
		t.Fatal(err)
	}
	return m
}

func TestReadWrite(t *testing.T) {
	d := bootDisk()
	for i := 512; i < len(d.data); i++ {
		d.data[i] = byte(i>>9) ^ byte(i)
	}
	m := newTestMachine(t, small(d))
	for name, c := range map[string]struct {
		regs   map[int]uint32
		packet []byte
		block  int
	}{
		"CHS":          {map[int]uint32{x86.EAX: 0x0202, x86.ECX: 3, x86.EDX: 0x0180, x86.EBX: 0x8000}, nil, 65},
		"EDD":          {map[int]uint32{x86.EAX: 0x4200, x86.EDX: 0x80, x86.ESI: 0x6000}, []byte{16, 0, 2, 0, 0, 0x80, 0, 0, 7}, 7},
		"EDD, 64 bits": {map[int]uint32{x86.EAX: 0x4200, x86.EDX: 0x80, x86.ESI: 0x6000}, []byte{24, 0, 2, 0, 255, 255, 255, 255, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0x80, 0, 0, 0, 0, 0, 0}, 9},
	} {
		t.Run(name, func(t *testing.T) {
			m.cpu.Write(0x6000, append(c.packet, make([]byte, 16)...))
			if r, carry := service(t, m, 0x13, c.regs); carry || r.ah() != 0 {
				t.Fatalf("read: status %#x", r.ah())
			}
			if got, want := m.bytes(0x8000, 1024), d.data[c.block*512:][:1024]; !bytes.Equal(got, want) {
				t.Fatalf("read % x..., want % x...", got[:8], want[:8])
			}
			c.regs[x86.EAX] |= 0x100 // write it elsewhere, changed
			m.setByte(0x8000, 0x5A)
			if r, carry := service(t, m, 0x13, c.regs); carry || d.data[c.block*512] != 0x5A {
				t.Errorf("write: status %#x, first byte %#x", r.ah(), d.data[c.block*512])
			}
		})
	}
}

func TestDiskRefusals(t *testing.T) {
	c := small(bootDisk())
	c.ReadOnly = true
	m := newTestMachine(t, c)
	for name, c := range map[string]struct {
		regs map[int]uint32
		want uint8
	}{
		"another drive":   {map[int]uint32{x86.EAX: 0x0800, x86.EDX: 0x81}, statusInvalid},
		"sector 0":        {map[int]uint32{x86.EAX: 0x0201, x86.EDX: 0x80}, statusInvalid},
		"no sectors":      {map[int]uint32{x86.EAX: 0x0200, x86.ECX: 1, x86.EDX: 0x80}, statusInvalid},
		"head too high":   {map[int]uint32{x86.EAX: 0x0201, x86.ECX: 1, x86.EDX: 0xFF80}, statusInvalid},
		"write protected": {map[int]uint32{x86.EAX: 0x0301, x86.ECX: 1, x86.EDX: 0x80, x86.EBX: 0x8000}, statusProtected},
		"formatting":      {map[int]uint32{x86.EAX: 0x0501, x86.EDX: 0x80}, statusInvalid},
		"a short packet":  {map[int]uint32{x86.EAX: 0x4200, x86.EDX: 0x80, x86.ESI: 0x6100}, statusInvalid},
		"beyond the end":  {map[int]uint32{x86.EAX: 0x4200, x86.EDX: 0x80, x86.ESI: 0x6000}, statusNotFound},
		"eject":           {map[int]uint32{x86.EAX: 0x4600, x86.EDX: 0x80}, statusNoMedia},
	} {
		t.Run(name, func(t *testing.T) {
			m.cpu.Write(0x6000, []byte{16, 0, 2, 0, 0, 0x80, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F})
			r, carry := service(t, m, 0x13, c.regs)
			if !carry || r.ah() != c.want {
				t.Errorf("carry %v, status %#x, want %#x", carry, r.ah(), c.want)
			}
			if r, _ := service(t, m, 0x13, map[int]uint32{x86.EAX: 0x0100, x86.EDX: 0x80}); r.ah() != c.want {
				t.Errorf("last status %#x, want %#x", r.ah(), c.want)
			}
		})
	}
}

func TestParameters(t *testing.T) {
	d := bootDisk()
	copy(d.data[446:], []byte{0x80, 1, 1, 0, 0x83, 15, 32, 9}) // ends on head 15, sector 32
	c := small(d)
	c.Path = DevicePath{Bus: 1, Slot: 2, LUN: 3}
	m := newTestMachine(t, c)
	r, carry := service(t, m, 0x13, map[int]uint32{x86.EAX: 0x0800, x86.EDX: 0x80})
	if carry || r.low(x86.ECX) != 0x0F20 || r.low(x86.EDX) != 0x0F01 { // 16 cylinders of 16 heads and 32 sectors
		t.Errorf("08h: carry %v, CX %#x, DX %#x", carry, r.low(x86.ECX), r.low(x86.EDX))
	}
	r, carry = service(t, m, 0x13, map[int]uint32{x86.EAX: 0x1500, x86.EDX: 0x80})
	if carry || r.ah() != 3 || r.low(x86.ECX) != 0 || r.low(x86.EDX) != 8192 {
		t.Errorf("15h: AH %#x, blocks %#x:%#x", r.ah(), r.low(x86.ECX), r.low(x86.EDX))
	}
	m.setWord(0x6000, 66)
	_, carry = service(t, m, 0x13, map[int]uint32{x86.EAX: 0x4800, x86.EDX: 0x80, x86.ESI: 0x6000})
	b := m.bytes(0x6000, 66)
	sum := byte(0)
	for _, v := range b[30:] {
		sum += v
	}
	if carry || le.Uint64(b[16:]) != 8192 || le.Uint16(b[24:]) != 512 || string(b[36:48]) != "PCI SCSI    " || sum != 0 {
		t.Errorf("48h: carry %v, % x, checksum %#x", carry, b, sum)
	}
}

func TestMemoryMap(t *testing.T) {
	m := newTestMachine(t, small(bootDisk()))
	next, total := uint32(0), uint64(0)
	for range 20 {
		r, carry := service(t, m, 0x15, map[int]uint32{x86.EAX: 0xE820, x86.EBX: next, x86.ECX: 24, x86.EDX: 0x534D4150, x86.EDI: 0x8000})
		if carry || r.Reg(x86.EAX) != 0x534D4150 {
			t.Fatalf("entry %d: carry %v, EAX %#x", next, carry, r.Reg(x86.EAX))
		}
		if b := m.bytes(0x8000, 20); b[16] == 1 {
			total += le.Uint64(b[8:])
		}
		if next = r.Reg(x86.EBX); next == 0 {
			break
		}
	}
	if want := uint64(ebda + 3<<20); total != want {
		t.Errorf("usable memory %#x, want %#x", total, want)
	}
	if r, _ := service(t, m, 0x15, map[int]uint32{x86.EAX: 0xE801}); r.ax() != 3<<10 || r.low(x86.EBX) != 0 {
		t.Errorf("E801h: %d KiB, %d × 64 KiB", r.ax(), r.low(x86.EBX))
	}
}

// TestMenu has a program echo keys to the screen until Enter.
func TestMenu(t *testing.T) {
	keys := make(chan byte, 8)
	for _, b := range []byte("a1\x1b[A\r") {
		keys <- b
	}
	var screen bytes.Buffer
	c := small(bootDisk(
		0x31, 0xC0, 0xCD, 0x16, // xor ax,ax; int 16h
		0x3C, 0x0D, 0x74, 0x08, // cmp al,0Dh; je +8
		0xB4, 0x0E, 0x31, 0xDB, 0xCD, 0x10, // mov ah,0Eh; xor bx,bx; int 10h
		0xEB, 0xF0, // jmp start
		0xCD, 0x18, // int 18h
	))
	c.Screen, c.Keys = &screen, keys
	if _, err := Boot(t.Context(), c); !errors.Is(err, ErrNotBootable) {
		t.Fatal(err)
	}
	if got, want := screen.String(), "\x1b[1;1Ha\x1b[1;2H\x1b[1;2H1\x1b[1;3H\x1b[1;3H \x1b[1;4H"; got != want {
		t.Errorf("screen %q, want %q", got, want)
	}
}

// TestGraphics has a program switch to graphics, and somebody who looks at the screen be told.
func TestGraphics(t *testing.T) {
	shown := func(mode byte) string {
		var screen bytes.Buffer
		c := small(bootDisk(0xB8, mode, 0x00, 0xCD, 0x10, 0xCD, 0x18)) // mov ax,mode; int 10h; int 18h
		c.Screen = &screen
		if _, err := Boot(t.Context(), c); !errors.Is(err, ErrNotBootable) {
			t.Fatal(err)
		}
		return screen.String()
	}
	for mode, graphics := range map[byte]bool{0x03: false, 0x07: false, 0x12: true, 0x92: true} {
		if got := shown(mode); strings.Contains(got, "graphics") != graphics {
			t.Errorf("mode %#x: screen %q", mode, got)
		}
	}
}

// FuzzBootSector: no boot sector makes it panic or run past its limits.
func FuzzBootSector(f *testing.F) {
	if boot, err := os.ReadFile(filepath.Join("/usr/lib/grub/i386-pc", "boot.img")); err == nil {
		f.Add(boot)
	}
	f.Add([]byte{0xFA, 0xF4})
	f.Add([]byte{0x0F, 0x01, 0x16, 0x20, 0x7C, 0x0F, 0x20, 0xC0, 0x0C, 0x01, 0x0F, 0x22, 0xC0, 0xEA, 0x30, 0x7C, 0x08, 0x00}) // into protected mode
	f.Add([]byte{0xB4, 0x42, 0xBE, 0x00, 0x7C, 0xCD, 0x13})
	f.Fuzz(func(t *testing.T, sector []byte) {
		d := bootDisk(sector...)
		d.data[510], d.data[511] = 0x55, 0xAA
		c := small(d)
		c.Steps = 20_000
		if h, err := Boot(t.Context(), c); h == nil && err == nil {
			t.Error("neither a handoff nor an error")
		}
	})
}
