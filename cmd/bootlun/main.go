// Command bootlun is the operator's command: it serves machines, builds the
// netboot image and runs virtual machines that boot from it.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"
)

const description = `Boot machines from an iSCSI LUN.

Examples:
  bootlun vm run                           boot a virtual machine from a small root file system
  bootlun vm run --root debian             the same with a real Debian 12
  bootlun image build -o netboot.img       build the image that machines load
  bootlun serve --config serve.yaml        serve a network's machines (docs/fleet.md)
  bootlun target list                      show who uses which disk (docs/target.md)
  bootlun target add iqn.2026-11.com.example:disk1 disk1.img --create 8G`

type cli struct {
	Verbose bool `short:"v" help:"Log every event, not only what is wrong."`

	Serve  serveCommand   `cmd:"" help:"Serve machines: DHCP, TFTP, HTTP and the iSCSI target in one process."`
	Target targetCommands `cmd:"" help:"Look at and change the iSCSI targets that bootlun serve serves (docs/target.md)."`
	Reload reloadCommand  `cmd:"" help:"Have bootlun serve read its configuration file again; sessions stay."`
	Image  struct {
		Build imageBuildCommand `cmd:"" help:"Build the netboot image: our init, a rescue shell and kernel modules."`
		Root  imageRootCommand  `cmd:"" help:"Make a disk image with a root file system for a LUN."`
	} `cmd:"" help:"Build images."`
	VM struct {
		Run   vmRunCommand   `cmd:"" help:"Boot a virtual machine from a LUN, from power-on to its console."`
		Bench vmBenchCommand `cmd:"" help:"Time our boot path against iPXE sanboot, GRUB and open-iscsi, in turn on one LUN."`
	} `cmd:"" name:"vm" help:"Run virtual machines on a LAN of their own; no privileges needed."`
}

// options make the parser of the command line. ctx ends what a command does.
func options(ctx context.Context) []kong.Option {
	return []kong.Option{
		kong.Name("bootlun"), kong.Description(description), kong.UsageOnError(),
		kong.BindTo(ctx, (*context.Context)(nil)),
	}
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var c cli
	parsed := kong.Parse(&c, options(ctx)...)
	level := slog.LevelWarn
	if c.Verbose {
		level = slog.LevelInfo
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
	if err := parsed.Run(log); err != nil && !errors.Is(err, context.Canceled) {
		fmt.Fprintln(os.Stderr, "bootlun:", err)
		os.Exit(1)
	}
}
