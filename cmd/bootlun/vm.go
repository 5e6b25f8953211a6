package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/bootlun/bootlun/qemu"
	"github.com/bootlun/bootlun/qemu/scenario"
	"golang.org/x/term"
)

// bootTimeout is for a whole boot under emulation, on a busy machine.
const bootTimeout = 5 * time.Minute

// imageFlags say where images are kept and which kernel is used.
type imageFlags struct {
	Build   string `default:"build" help:"Folder in which kernels and images are kept between runs."`
	Kernel  string `type:"existingfile" help:"Kernel to use in place of Debian's; needs --modules unless all is built in."`
	Modules string `type:"existingdir" help:"The kernel's modules folder, such as /lib/modules/6.1.0-9-amd64."`
}

func (f imageFlags) images(log *slog.Logger) scenario.Images {
	return scenario.Images{Dir: f.Build, Kernel: f.Kernel, Modules: f.Modules, Logger: log}
}

type vmRunCommand struct {
	imageFlags
	Root       string `default:"tiny" help:"What the LUN holds: tiny, debian, dracut, or the file of a disk image."`
	Table      string `default:"dhcp" enum:"dhcp,firmware" help:"Where the machine's iBFT comes from: synthesised from DHCP, or given by its firmware."`
	Cmdline    string `help:"Added to the kernel's command line, such as root=UUID=…"`
	Memory     int    `default:"1024" help:"The machine's memory in MiB."`
	KeepWrites bool   `help:"Write the machine's changes to the disk image; otherwise they are lost with the machine."`
	Oneshot    bool   `help:"Power the machine off once its system is up (the default when the input is no terminal)."`
	Capture    string `type:"path" help:"Write the LAN's traffic to this file (pcap, for Wireshark)."`
}

// Run boots one machine and stays at its console.
func (c *vmRunCommand) Run(ctx context.Context, log *slog.Logger) error {
	images := c.images(progress())
	kernel, image, err := images.Netboot(ctx)
	if err != nil {
		return err
	}
	root, err := images.Root(ctx, c.Root)
	if err != nil {
		return err
	}
	lab := scenario.Lab{
		Kernel: kernel.Image, Image: image, Root: root, KeepWrites: c.KeepWrites,
		Table: scenario.Source(c.Table), Cmdline: c.Cmdline, Memory: c.Memory,
		Logger: log,
	}
	interactive := !c.Oneshot && term.IsTerminal(int(os.Stdin.Fd()))
	if !interactive {
		lab.Console = os.Stdout
	}
	if c.Capture != "" {
		file, err := os.Create(c.Capture)
		if err != nil {
			return err
		}
		defer file.Close()
		lab.Capture = file
	}
	running, err := lab.Start(ctx)
	if err != nil {
		return err
	}
	if interactive {
		err = c.attach(ctx, running)
	} else {
		err = c.once(ctx, running)
	}
	return errors.Join(err, running.Stop())
}

// once waits for the system and shows how the machine got there.
func (c *vmRunCommand) once(ctx context.Context, running *scenario.Running) error {
	ctx, cancel := context.WithTimeout(ctx, bootTimeout)
	defer cancel()
	err := running.WaitUp(ctx)
	fmt.Print("\n\n", c.timeline(running))
	if err == nil && c.KeepWrites {
		// The system must write out what it holds.
		err = running.VM.Shutdown(ctx)
	}
	return err
}

// attach gives the machine's console to the user's terminal until he leaves it
// (Ctrl-A x) or the machine is off.
func (c *vmRunCommand) attach(ctx context.Context, running *scenario.Running) error {
	fmt.Println("The machine's console; Ctrl-A x switches it off.")
	old, err := term.MakeRaw(int(os.Stdin.Fd()))
	if err != nil {
		return err
	}
	defer term.Restore(int(os.Stdin.Fd()), old)
	watch, cancel := context.WithCancel(ctx)
	shown := make(chan struct{})
	go func() {
		defer close(shown)
		if running.WaitUp(watch) == nil {
			fmt.Print(strings.ReplaceAll("\n\n"+c.timeline(running), "\n", "\r\n"))
		}
	}()
	err = running.VM.Console.Attach(ctx, os.Stdin, os.Stdout, qemu.DefaultEscape)
	cancel()
	<-shown
	if errors.Is(err, qemu.ErrConsoleClosed) {
		return nil
	}
	return err
}

// timeline says which boot this was and how long each phase took.
func (c *vmRunCommand) timeline(running *scenario.Running) string {
	var text strings.Builder
	fmt.Fprintf(&text, "Boot of root %q, table from %s:\n", c.Root, c.Table)
	running.Timeline.Print(&text)
	return text.String()
}
