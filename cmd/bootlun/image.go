package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/bootlun/bootlun/initramfs"
	"github.com/bootlun/bootlun/qemu/scenario"
)

// progress tells on the terminal of steps that take time.
func progress() *slog.Logger {
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{
		ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
			if len(groups) == 0 && (a.Key == slog.TimeKey || a.Key == slog.LevelKey) {
				return slog.Attr{}
			}
			if a.Value.Kind() == slog.KindDuration {
				a.Value = slog.DurationValue(a.Value.Duration().Round(time.Millisecond))
			}
			return a
		},
	}))
}

type imageBuildCommand struct {
	imageFlags
	Output      string `short:"o" type:"path" default:"build/netboot.img" help:"File to write."`
	Int13h      bool   `name:"int13h" help:"Add what runs a LUN's own boot sector (bootlun.handoff=int13h), a sixth of a megabyte."`
	Compression string `default:"zstd" enum:"zstd,gzip,xz,none" help:"How to pack the image: zstd, gzip, xz or none."`
}

// Run builds the image and says what is in it.
func (c *imageBuildCommand) Run(ctx context.Context) error {
	kernel, err := c.images(progress()).KernelOf(ctx)
	if err != nil {
		return err
	}
	compression, err := initramfs.ParseCompression(c.Compression)
	if err != nil {
		return err
	}
	manifest, err := initramfs.Build(ctx, initramfs.Config{
		Kernel: kernel, Output: c.Output, Compression: compression, BootSector: c.Int13h, Logger: progress(),
	})
	if err != nil {
		return err
	}
	fmt.Printf("kernel  %s (%s)\n", kernel.Image, kernel.Version)
	fmt.Printf("image   %s, %d KiB, %d modules\n", c.Output, manifest.Size>>10, len(manifest.Modules))
	return nil
}

type imageRootCommand struct {
	Build string `default:"build" help:"Folder in which images are kept between runs."`
	Name  string `arg:"" enum:"tiny,debian,dracut" help:"tiny, debian or dracut (Debian with an initramfs by dracut)."`
}

// Run makes the disk image and says where it is.
func (c *imageRootCommand) Run(ctx context.Context) error {
	root, err := scenario.Images{Dir: c.Build, Logger: progress()}.Root(ctx, c.Name)
	if err != nil {
		return err
	}
	fmt.Println(root.Path)
	return nil
}
