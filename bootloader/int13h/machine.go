package int13h

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/bootlun/bootlun/bootloader/int13h/x86"
)

// Disk is what int 13h reads. An initiator's LUN is one. If it is also an
// [io.WriterAt], and [Config.ReadOnly] is not set, int 13h writes too.
type Disk interface {
	io.ReaderAt
	Size() int64    // bytes
	BlockSize() int // bytes
}

// Range is a range of physical memory as int 15h, E820h tells it.
type Range struct {
	Start, Size uint64
	Type        uint32 // 1 usable, 2 reserved, 3 ACPI, 4 ACPI NVS
}

// DevicePath says where the disk is, for int 13h, 48h (EDD 3.0, 8.22).
type DevicePath struct {
	Bus, Slot, Function uint8 // the PCI address of the network card
	LUN                 uint64
}

// Config is a machine. Disk is needed; the rest has defaults.
type Config struct {
	Disk     Disk       // boots
	Others   []Disk     // have the next numbers
	ReadOnly bool       // refuse writes: status 03h
	Drive    uint8      // number of the disk; if zero, 80h, of a CD-ROM E0h
	Path     DevicePath // where the disk is

	Memory int // bytes; 512 MiB if zero
	// Map is the memory map from 1 MiB on, in order; below are the machine's own
	// ranges. What lies behind Memory is cut off. Nil is that of a plain PC.
	Map []Range
	// Table is an iBFT that the program finds in low memory, where iPXE leaves its
	// own; nil means none.
	Table []byte

	// Screen gets the text screen, as changes for an ANSI terminal; Serial what
	// is sent to COM1. Nil means that nobody looks.
	Screen, Serial io.Writer
	// Keys are keystrokes as a terminal sends them, SerialKeys what COM1 receives.
	// A closed or nil channel is a keyboard, or a line, that nobody uses.
	Keys, SerialKeys <-chan byte
	// Interactive has the time of the machine be the time of the clock on the
	// wall. Otherwise it is as long as the work takes, and waiting takes none.
	Interactive bool

	// Steps limits the instructions; 20e9 if zero.
	Steps uint64
	// Log hears of what goes wrong and of the handoff; nil means silence.
	Log *slog.Logger
}

const (
	defaultMemory = 512 << 20
	defaultSteps  = 20e9
	maxSectorSize = 4096
	maxTable      = 32 << 10
)

func (c Config) withDefaults() Config {
	if c.Memory == 0 {
		c.Memory = defaultMemory
	}
	if c.Steps == 0 {
		c.Steps = defaultSteps
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Map == nil {
		c.Map = []Range{{1 << 20, uint64(c.Memory) - 1<<20, 1}}
	}
	return c
}

// memoryMap is the whole map: what this machine has below 1 MiB, then as much of
// the given one as there is memory for.
func (c Config) memoryMap(lowEnd uint32) []Range {
	const low = 1 << 20
	all := []Range{
		{0, uint64(lowEnd), 1},
		{uint64(lowEnd), uint64(0xA0000 - lowEnd), 2},
		{rom, low - rom, 2},
	}
	for _, r := range c.Map {
		end := r.Start + r.Size
		if r.Type == 1 {
			end = min(end, uint64(c.Memory))
		}
		if r.Start = max(r.Start, low); r.Start < end {
			all = append(all, Range{r.Start, end - r.Start, r.Type})
		}
	}
	return all
}

// Errors that say why nothing was handed over.
var (
	// ErrNotBootable: the disk's first sector has no boot signature, or its
	// program has given up (int 18h).
	ErrNotBootable = errors.New("the disk does not boot")
	// ErrReset: the program has reset the machine.
	ErrReset = errors.New("the machine was reset")
	// ErrHalted: the program has stopped the processor for good.
	ErrHalted = errors.New("the processor is halted with interrupts off")
	// ErrNoKey: the program waits for a key that nobody can press.
	ErrNoKey = errors.New("waits for a key, and there is no keyboard")
	// ErrForeign: the program has started something that is not Linux.
	ErrForeign = errors.New("cannot be handed over")
)

// machine is a PC around a processor: the bus that it calls.
type machine struct {
	Config
	ctx context.Context
	cpu *x86.CPU

	ranges []Range // the memory map
	drives []*drive
	ports  ports
	screen screen
	keys   keyboard
	clock  clock
	found  *Handoff
}

// Boot runs the disk's boot sector until it hands over to a kernel. It writes to
// the disk only what the boot sector's program writes by int 13h.
func Boot(ctx context.Context, c Config) (*Handoff, error) {
	m, err := newMachine(ctx, c.withDefaults())
	if err != nil {
		return nil, err
	}
	if err := m.loadBootSector(); err != nil {
		return nil, err
	}
	start := time.Now()
	err = m.cpu.Run(ctx, m.Steps)
	m.screen.flush(m)
	if m.found == nil {
		return nil, fmt.Errorf("int13h: %w", m.explain(err))
	}
	m.Log.Info("kernel caught", "why", m.found.Why, "kernel", len(m.found.Kernel), "initrd", len(m.found.Initrd),
		"cmdline", m.found.Cmdline, "steps", m.cpu.Steps(), "took", time.Since(start))
	m.found.Steps = m.cpu.Steps()
	return m.found, nil
}

// explain adds to an error whose boot program it was, if that could never be
// handed over.
func (m *machine) explain(err error) error {
	if m.ctx.Err() != nil || errors.Is(err, ErrForeign) {
		return err
	}
	name := m.drives[0].foreigner()
	if name == "" {
		return err
	}
	return fmt.Errorf("the disk has the boot program of %s, which %w; iPXE's sanboot boots it: %w", name, ErrForeign, err)
}

func newMachine(ctx context.Context, c Config) (*machine, error) {
	m := &machine{Config: c, ctx: ctx}
	if c.Memory < 4<<20 {
		return nil, fmt.Errorf("int13h: %d bytes of memory: 4 MiB are the least", c.Memory)
	}
	lowEnd := (ebda - uint32(len(c.Table))) &^ 0x3FF
	if len(c.Table) > maxTable {
		return nil, fmt.Errorf("int13h: an iBFT of %d bytes: %d are the most", len(c.Table), maxTable)
	}
	if err := m.openDrives(); err != nil {
		return nil, err
	}
	m.ranges = c.memoryMap(lowEnd)
	m.cpu = x86.New(m, c.Memory)
	m.clock.interactive = c.Interactive
	m.clock.start = time.Now()
	m.ports.reset()
	m.screen.reset(m)
	m.installFirmware(lowEnd)
	return m, nil
}

// loadBootSector does what the firmware does last: sector 0 to 0000:7C00, the
// drive's number in DL.
func (m *machine) loadBootSector() error {
	d := m.drives[0]
	if d.cd != nil {
		return m.loadCD(d)
	}
	sector, err := d.bootSector()
	if err != nil {
		return err
	}
	if le.Uint16(sector[510:]) != bootFlag {
		return fmt.Errorf("int13h: no boot signature in sector 0: %w", ErrNotBootable)
	}
	m.start(d, sector, 0x7C00)
	return nil
}

// start has the processor begin with what a drive's boot program is.
func (m *machine) start(d *drive, program []byte, at uint32) {
	m.setDriveTable(d)
	m.cpu.Write(at, program)
	m.cpu.SetReg(x86.EDX, uint32(d.number))
	m.cpu.SetReg(x86.ESP, 0x7C00)
	m.cpu.SetEFlags(0x202)
	m.cpu.Jump(uint16(at>>4&0xF000), at&0xFFFF)
}

// The bus.

func (m *machine) Trap(c *x86.CPU, n uint8) error {
	if c.Protected() {
		return fmt.Errorf("int13h: BIOS service %#x called in protected mode at %s", n, c.Where())
	}
	r := regs{c}
	c.Charge(50) // about what a real one takes
	switch n {
	case 0x08:
		m.tick()
	case 0x10:
		m.video(r)
	case 0x11:
		r.setAX(m.word(bdaEquipment))
	case 0x12:
		r.setAX(m.word(bdaMemory))
	case 0x13:
		m.disk(r)
	case 0x14:
		return m.serial(r)
	case 0x15:
		return m.system(r)
	case 0x16:
		return m.keyboard(r)
	case 0x17:
		r.setAH(0x01) // printer: time out
	case 0x18:
		return fmt.Errorf("the boot program has given up (int 18h): %w", ErrNotBootable)
	case 0x19:
		return m.loadBootSector()
	case 0x1A:
		m.time(r)
	}
	return nil
}

// Tick raises the timer's interrupt when it is due.
func (m *machine) Tick(c *x86.CPU) error {
	m.screen.maybeFlush(m)
	if m.clock.due(m) && !c.Pending() && m.ports.unmasked(0) {
		c.Interrupt(m.ports.vector(0))
	}
	return nil
}

// Halt waits for the timer.
func (m *machine) Halt(c *x86.CPU) error {
	if c.EFlags()&flagIF == 0 {
		return ErrHalted
	}
	m.screen.flush(m)
	c.Charge(1000)
	if err := m.clock.untilDue(m); err != nil {
		return err
	}
	return m.Tick(c)
}

func (m *machine) TSC() uint64 { return uint64(m.clock.now(m)) }
