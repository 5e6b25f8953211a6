package scenario

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"regexp"
	"sync"
	"time"

	"github.com/bootlun/bootlun/ibft"
	"github.com/bootlun/bootlun/internal/bootserver"
	"github.com/bootlun/bootlun/netboot"
	"github.com/bootlun/bootlun/qemu"
	"github.com/bootlun/bootlun/qemu/lan"
)

// Names and addresses of a lab. They are on its own LAN and nowhere else.
const (
	TargetName    = "iqn.2026-11.org.bootlun:lab"
	InitiatorName = "iqn.2026-11.org.bootlun:machine"
	lunNumber     = 1
)

var (
	serverAddr  = netip.MustParsePrefix("10.73.0.1/24")
	machineAddr = netip.MustParseAddr("10.73.0.50")
	machineMAC  = ibft.MAC{0x52, 0x54, 0, 0x73, 0, 1}
)

// Source says where the machine's table comes from.
type Source string

// The sources of a table.
const (
	FromDHCP     Source = "dhcp"     // no table exists; DHCP options 17 and 203 say where the disk is
	FromFirmware Source = "firmware" // the machine's ACPI has a table that package ibft built
)

// Lab is a boot server and one machine on a LAN of their own.
type Lab struct {
	Kernel, Image string   // of ModeImage; of ModeKernel, the distribution's
	Root          Root     // what the LUN serves
	KeepWrites    bool     // the machine's writes go to Root's file; otherwise they stay in memory
	Table         Source   // empty means FromDHCP
	ACPITables    []string // files of tables that the machine's firmware has besides
	NoAddress     bool     // with FromFirmware: the table leaves the machine's address to DHCP
	Mode          netboot.Mode
	OwnKernel     bool   // with ModeImage: the LUN's own kernel is started (handoff: kexec)
	Entry, Menu   string // with OwnKernel: which entry, and how long to show them, as the server's configuration says it
	BootSector    bool   // with ModeImage: the LUN's boot sector is run (bootlun.handoff=int13h); Image has to be one that can
	Bench         bool   // with OwnKernel: the machine compares ways to read, with a listener of the lab's (bootlun.bench=)
	Cmdline       string // added to the kernel's command line
	CHAPName      string // with CHAPSecret: the target asks the machine for it
	CHAPSecret    string
	// ReverseCHAPName and ReverseCHAPSecret: the machine asks the target for it.
	ReverseCHAPName   string
	ReverseCHAPSecret string
	CPU               string // the machine's processor, as QEMU names it; empty means qemu.Machine's choice
	Memory            int    // of the machine, in MiB; 0 means 1024
	Screen            bool   // it has a screen and a keyboard besides its serial line, and the kernel uses both
	// Firmware is the machine's, such as OVMF's; empty means QEMU's SeaBIOS.
	Firmware string
	// FirmwareVars are its variables (qemu.Machine.FirmwareVars). With them the
	// machine boots what they say or the firmware finds, and not by the network
	// first; its network card has no boot ROM.
	FirmwareVars string
	// LoaderDir has iPXE for a firmware that is not iPXE.
	LoaderDir string

	Console io.Writer // sees the machine's console as it comes; nil means nobody
	Capture io.Writer // gets all the LAN's frames as a pcap file; nil means none
	Logger  *slog.Logger
}

// Running is a lab whose machine is switched on.
type Running struct {
	VM       *qemu.VM
	Timeline *Timeline

	up    *regexp.Regexp
	stop  context.CancelFunc
	ended chan error // the boot server's end
	lan   *lan.LAN
	dir   string

	sender sync.WaitGroup // of bytes without end
}

// Start builds the lab and switches its machine on. Stop ends it.
func (l Lab) Start(ctx context.Context) (_ *Running, err error) {
	r := &Running{up: l.Root.Up, ended: make(chan error, 1)}
	defer func() {
		if err != nil {
			err = errors.Join(err, r.Stop())
		}
	}()
	if r.dir, err = os.MkdirTemp("", "bootlun-lab-"); err != nil {
		return nil, err
	}
	if r.lan, err = lan.New(lan.Config{Logger: l.Logger}); err != nil {
		return nil, err
	}
	if l.Capture != nil {
		if err := r.lan.Capture(l.Capture); err != nil {
			return nil, err
		}
	}
	r.Timeline = NewTimeline(l.marks())
	if err := r.serve(ctx, l); err != nil {
		return nil, err
	}
	machine, err := l.machine(ctx, r)
	if err != nil {
		return nil, err
	}
	r.Timeline.PowerOn(time.Now())
	if r.VM, err = machine.Start(ctx); err != nil {
		return nil, err
	}
	r.VM.Console.OnLine(func(line qemu.Line) { r.Timeline.Line(line.Time, line.Text) })
	if l.Console != nil {
		r.VM.Console.Tee(l.Console)
	}
	return r, nil
}

// marks are those of the lab's way to boot.
func (l Lab) marks() []Mark {
	switch l.Mode {
	case netboot.ModeSANBoot:
		return SANBootMarks(l.Root.Up)
	case netboot.ModeKernel:
		return KernelMarks(l.Root.Up)
	}
	if l.OwnKernel {
		return OwnKernelMarks(l.Root)
	}
	if l.BootSector {
		return BootSectorMarks(l.Root)
	}
	return ImageMarks(l.Root.Up)
}

// kernelPanic is a kernel's last line, after which nothing comes.
const kernelPanic = "Kernel panic - not syncing"

// WaitUp waits until the installed system shows itself, or its kernel stops.
// The error has the end of the console.
func (r *Running) WaitUp(ctx context.Context) error {
	m, err := r.VM.Console.Expect(ctx, regexp.MustCompile(kernelPanic+"|"+r.up.String()))
	if err != nil {
		return err
	}
	if m.Groups[0] == kernelPanic {
		return fmt.Errorf("the system is not up: %s", m.Line.Text)
	}
	select {
	case <-r.Timeline.Done():
		return nil
	case <-ctx.Done():
		return fmt.Errorf("the system is up, but the boot did not pass its mark %q: %w", r.Timeline.next(), ctx.Err())
	}
}

// serve starts the boot server and waits until it answers.
func (r *Running) serve(ctx context.Context, l Lab) error {
	host, err := r.lan.Host(lan.HostConfig{Name: "server", Addrs: []netip.Prefix{serverAddr}})
	if err != nil {
		return err
	}
	server, err := bootserver.New(l.server(r.Timeline))
	if err != nil {
		return err
	}
	ctx, r.stop = context.WithCancel(ctx)
	if l.Bench {
		if err := r.send(ctx, host); err != nil {
			return err
		}
	}
	go func() { r.ended <- server.Run(ctx, host) }()
	select {
	case <-server.Ready():
		return nil
	case err := <-r.ended:
		r.ended <- nil // for Stop, which waits for the same
		return fmt.Errorf("boot server: %w", err)
	}
}

// Stop switches the machine off, ends the server and removes what they left.
func (r *Running) Stop() error {
	var errs []error
	if r.VM != nil {
		errs = append(errs, r.VM.Stop())
	}
	if r.stop != nil {
		r.stop()
		errs = append(errs, <-r.ended)
		r.sender.Wait()
	}
	if r.lan != nil {
		errs = append(errs, r.lan.Close())
	}
	return errors.Join(append(errs, os.RemoveAll(r.dir))...)
}

// server is the boot server's configuration: what "bootlun serve" would read
// from a file.
func (l Lab) server(t *Timeline) bootserver.Config {
	machine := netboot.Machine{
		Name: "machine", MAC: machineMAC, IP: machineAddr, InitiatorName: InitiatorName,
		Mode: l.Mode, CHAPName: l.CHAPName, CHAPSecret: ibft.Secret(l.CHAPSecret),
		ReverseCHAPName: l.ReverseCHAPName, ReverseCHAPSecret: ibft.Secret(l.ReverseCHAPSecret),
	}
	if l.Table != FromFirmware {
		machine.RootPaths = []string{l.rootPath()}
	}
	// On a busy desk the kernel's test of the timer fails, and that is a panic.
	cmdline := "console=ttyS0,115200 no_timer_check "
	if l.Screen {
		cmdline = "console=tty0 " + cmdline
	}
	if l.OwnKernel {
		machine.Handoff, machine.Entry, machine.Menu = "kexec", l.Entry, l.Menu
	}
	if l.Bench {
		cmdline += "bootlun.bench=" + senderAddr.String() + " "
	}
	if l.BootSector {
		cmdline += "bootlun.handoff=int13h "
	}
	return bootserver.Config{
		Config: netboot.Config{
			Addr:      serverAddr,
			Boot:      netboot.Boot{Kernel: l.Kernel, Initramfs: l.Image, Cmdline: cmdline + l.Cmdline},
			LoaderDir: l.LoaderDir,
			Machines:  []netboot.Machine{machine},
			Events:    t.Event,
			Logger:    l.Logger,
		},
		Targets: []bootserver.Target{l.target()},
	}
}
