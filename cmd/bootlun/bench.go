package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"time"

	"github.com/bootlun/bootlun/netboot"
	"github.com/bootlun/bootlun/qemu/scenario"
)

type vmBenchCommand struct {
	imageFlags
	Runs      int  `default:"3" help:"Boots of each path; they take turns."`
	OwnKernel bool `help:"Boot the LUN's own kernel instead, and compare how fast our initiator reads it with Linux's session and with bare TCP."`
}

// contender is one of the two boot paths that are compared.
type contender struct {
	name string
	lab  scenario.Lab
	root []time.Duration // power-on to mounted root, a run each
}

// Run boots the same LUN by both paths, in turn, and compares how long each
// took to a mounted root.
func (c *vmBenchCommand) Run(ctx context.Context, log *slog.Logger) error {
	if c.Runs < 1 {
		return errors.New("--runs must be at least 1")
	}
	if c.OwnKernel {
		return c.runOwnKernel(ctx, log)
	}
	images := c.images(progress())
	kernel, image, err := images.Netboot(ctx)
	if err != nil {
		return err
	}
	root, err := images.Root(ctx, scenario.RootDebian)
	if err != nil {
		return err
	}
	ours := &contender{name: "bootlun: iPXE, our kernel and image", lab: scenario.Lab{
		Kernel: kernel.Image, Image: image, Root: root, Logger: log,
	}}
	peer := &contender{name: "peer: iPXE sanboot, GRUB, Debian's initramfs with open-iscsi", lab: scenario.Lab{
		Mode: netboot.ModeSANBoot, Root: root, Logger: log,
	}}
	for run := range c.Runs {
		for _, each := range []*contender{ours, peer} {
			if err := each.boot(ctx, run+1); err != nil {
				return fmt.Errorf("%s: %w", each.name, err)
			}
		}
	}
	a, b := median(ours.root), median(peer.root)
	fmt.Printf("power-on to mounted root, median of %d: bootlun %.1f s, peer %.1f s, ratio %.2f\n",
		c.Runs, a.Seconds(), b.Seconds(), a.Seconds()/b.Seconds())
	return nil
}

// boot runs one boot to the installed system's prompt and prints its timeline.
func (c *contender) boot(ctx context.Context, run int) error {
	ctx, cancel := context.WithTimeout(ctx, bootTimeout)
	defer cancel()
	running, err := c.lab.Start(ctx)
	if err != nil {
		return err
	}
	err = running.WaitUp(ctx)
	fmt.Printf("%s, run %d\n", c.name, run)
	running.Timeline.Print(os.Stdout)
	if err = errors.Join(err, running.Stop()); err != nil {
		return err
	}
	took, ok := running.Timeline.Until(scenario.PhaseRoot)
	if !ok {
		return errors.New("the boot never said that it mounted its root")
	}
	c.root = append(c.root, took)
	return nil
}

// median is the middle of d, which is not empty.
func median(d []time.Duration) time.Duration {
	d = slices.Sorted(slices.Values(d))
	return (d[(len(d)-1)/2] + d[len(d)/2]) / 2
}
