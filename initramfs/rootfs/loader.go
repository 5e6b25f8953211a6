package rootfs

import (
	"context"
	"embed"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
)

// LoaderConfig says what the disk that [Loader] makes starts.
type LoaderConfig struct {
	Kernel, Initrd string // files
	Cmdline        string // the kernel's command line

	// Log hears of each step; nil means silence.
	Log *slog.Logger
}

const grubLoaderConfig = `linux /vmlinuz %s
initrd /initrd.img
boot
`

// loaderSpare is what a loader's disk has room for besides its files: two
// partition tables, GRUB, and what ext4 needs for itself.
const loaderSpare = 32 * mebibyte

// Loader makes a disk image at path from which a BIOS starts a Linux kernel: for
// a virtual machine whose own way to load one is slow, or that has none. It is no
// root: once the kernel runs, the disk is not needed.
func Loader(ctx context.Context, path string, c LoaderConfig) error {
	if err := c.check(); err != nil {
		return err
	}
	kernel, err := os.ReadFile(c.Kernel)
	if err != nil {
		return err
	}
	initrd, err := os.ReadFile(c.Initrd)
	if err != nil {
		return err
	}
	tree := []entry{
		folder("boot", 0o755), folder("boot/grub", 0o755),
		text("boot/grub/grub.cfg", fmt.Sprintf(grubLoaderConfig, c.Cmdline)),
		file("vmlinuz", 0o644, kernel), file("initrd.img", 0o644, initrd),
	}
	key := key("loader", embed.FS{}, tree, grubModules)
	id := identify(key)
	size := int64(len(kernel)+len(initrd))/mebibyte*mebibyte + loaderSpare
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return create(path, size, key, func(f *os.File) error {
		if err := partition(f, size, id, true); err != nil {
			return err
		}
		if err := writeExt4(f, rootStart, rootSize(size), "bootlun-loader", id.filesystem, tree); err != nil {
			return err
		}
		return InstallGRUB(ctx, f, grubPrefix, grubModules[:], logger(c.Log))
	})
}

func (c LoaderConfig) check() error {
	// What GRUB's own language would take for its own.
	if strings.ContainsAny(c.Cmdline, "\n;&|<>{}$\"'\\#") {
		return fmt.Errorf("rootfs: command line %q: GRUB gives some of these characters another meaning", c.Cmdline)
	}
	if err := grubFiles(); err != nil {
		return err
	}
	return missing(grubImage)
}
