package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"regexp"
	"time"

	"github.com/bootlun/bootlun/initramfs/boot"
	"github.com/bootlun/bootlun/qemu/scenario"
)

// ownKernelSteps are those between our init's start and the jump, as the machine tells them.
var ownKernelSteps = []string{"hardware", "table", "network", "login", "entries", "read", "check", "load", "logout"}

// runOwnKernel boots the LUN's own kernel and compares how fast it is read by our initiator, by Linux's session, and what the LAN
// gives, all measured in the machine, in turn.
func (c *vmBenchCommand) runOwnKernel(ctx context.Context, log *slog.Logger) error {
	images := c.images(progress())
	kernel, image, err := images.Netboot(ctx)
	if err != nil {
		return err
	}
	root, err := images.Root(ctx, scenario.RootDebian)
	if err != nil {
		return err
	}
	lab := scenario.Lab{Kernel: kernel.Image, Image: image, Root: root, OwnKernel: true, Bench: true, Logger: log}
	measured := make(map[string][]time.Duration)
	for run := range c.Runs {
		lines, err := bootOwn(ctx, lab, run+1)
		if err != nil {
			return err
		}
		for _, line := range lines {
			if r, ok := boot.ParseResult(line); ok {
				measured[r.Step] = append(measured[r.Step], r.Took)
			}
		}
	}
	ways := [3][]time.Duration{measured["bench initiator"], measured["bench kernel"], measured["bench tcp"]}
	for _, took := range ways {
		if len(took) == 0 {
			return errors.New("the machine measured nothing: see its console (bootlun vm run)")
		}
	}
	ours, linux, lan := median(ways[0]), median(ways[1]), median(ways[2])
	fmt.Printf("kernel and initramfs, median of %d: by our initiator %d ms, by Linux's session %d ms, as many bytes by bare TCP %d ms\n",
		len(ways[0]), ours.Milliseconds(), linux.Milliseconds(), lan.Milliseconds())
	fmt.Printf("our initiator has %.2f of Linux's throughput and %.2f of the LAN's\n", linux.Seconds()/ours.Seconds(), lan.Seconds()/ours.Seconds())
	fmt.Print("from our init's start to the jump, median ms:")
	for _, step := range ownKernelSteps {
		if took := measured[step]; len(took) > 0 {
			fmt.Printf(" %s %d", step, median(took).Milliseconds())
		}
	}
	fmt.Println()
	return nil
}

// jumped is what our init says last.
var jumped = regexp.MustCompile(`bootlun: kexec +\d+ ms .*`)

// bootOwn boots a machine as far as the jump and returns its console.
func bootOwn(ctx context.Context, lab scenario.Lab, run int) (lines []string, err error) {
	ctx, cancel := context.WithTimeout(ctx, bootTimeout)
	defer cancel()
	running, err := lab.Start(ctx)
	if err != nil {
		return nil, err
	}
	_, err = running.VM.Console.Expect(ctx, jumped)
	fmt.Printf("the LUN's own kernel, run %d\n", run)
	running.Timeline.Print(os.Stdout)
	for _, l := range running.VM.Console.Lines() {
		lines = append(lines, l.Text)
	}
	return lines, errors.Join(err, running.Stop())
}
