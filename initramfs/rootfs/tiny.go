package rootfs

import (
	"context"
	"embed"
	"os"
	"path/filepath"
	"time"
)

// tinySource is part of the recipe's key.
//
//go:embed tinyinit/*.go
var tinySource embed.FS

// Tiny makes the image of a small root file system of the project's own at
// path, and the folders above it: u-root's commands, and an init that says where
// / lies and keeps a shell on the console. It takes half a minute at first and a
// few seconds when Go's build cache is warm.
func Tiny(ctx context.Context, path string, c TinyConfig) error {
	if err := c.check(); err != nil {
		return err
	}
	key := c.Key()
	c = c.withDefaults()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	started := time.Now()
	c.Log.Info("building the commands of the tiny root", "commands", len(c.Commands))
	init, err := buildInit(ctx, c.Source)
	if err != nil {
		return err
	}
	busybox, err := buildBusybox(ctx, c.Source, c.Commands, c.Log)
	if err != nil {
		return err
	}
	c.Log.Info("writing the tiny root", "image", path, "bytes", c.Size)
	id := identify(key)
	err = create(path, c.Size, key, func(f *os.File) error {
		if err := partition(f, c.Size, id, false); err != nil {
			return err
		}
		return writeExt4(f, rootStart, rootSize(c.Size), c.Label, id.filesystem, tinyTree(c, id, init, busybox))
	})
	if err != nil {
		return err
	}
	c.Log.Info("made the tiny root", "image", path, "took", time.Since(started).Round(time.Millisecond))
	return nil
}
