package main

import (
	"bytes"
	"context"
	"fmt"
	"io"

	"github.com/bootlun/bootlun/initiator"
	"github.com/bootlun/bootlun/internal/cli"
)

func verifyCommand() *cli.Command {
	c := cli.NewCommand("verify", "compare a disk with a file", "URL FILE [flags]")
	c.Text = `It compares as many bytes as the file has, and says where they differ. A disk that is
larger than the file may have anything behind it.`
	c.Exits = "0 the same, 1 they differ or cannot be read, and else as for all commands"
	c.Examples = []cli.Example{{"iscsi verify iscsi://192.0.2.1/iqn.2026-01.com.example:disk/1 disk.img"}}
	c.Max = 2
	var r reach
	r.define(c)
	c.Run = func(ctx context.Context, args []string, std cli.IO) error {
		if len(args) != 2 {
			return c.Misused("wants a URL and a FILE")
		}
		cfg, err := r.config(c, args[:1], true)
		if err != nil {
			return err
		}
		in, size, err := open(args[1], std.In)
		if err != nil {
			return err
		}
		defer in.Close()
		file, ok := in.(io.ReaderAt)
		if !ok || size == 0 {
			return c.Misused("%s is not a file with something in it", args[1])
		}
		return r.withLUN(ctx, cfg, std, func(lun *initiator.LUN) error {
			if size > lun.Size() {
				return fmt.Errorf("%s has %d bytes and the disk %d", args[1], size, lun.Size())
			}
			return compare(ctx, lun, file, size, newProgress(std.Err, size), std.Out)
		})
	}
	return c
}

// maxDifferences is how many places where they differ are told.
const maxDifferences = 10

// compare compares so many bytes and tells where they differ, in units of the disk's blocks.
func compare(ctx context.Context, lun *initiator.LUN, file io.ReaderAt, size int64, p *progress, out io.Writer) error {
	done, different, unit := int64(0), int64(0), int64(lun.BlockSize())
	defer func() { p.end(done) }()
	theirs := make([]byte, copyUnit)
	err := readPieces(ctx, lun, 0, size, func(ours piece) error {
		for off := int64(0); off < ours.length; off += copyUnit {
			want := theirs[:min(ours.length-off, copyUnit)]
			if n, err := file.ReadAt(want, ours.off+off); err != nil && !(err == io.EOF && n == len(want)) {
				return err
			}
			have := make([]byte, 0)
			if ours.data != nil {
				have = ours.data[off:]
			}
			for at := int64(0); at < int64(len(want)); at += unit {
				if sameBlock(want[at:min(at+unit, int64(len(want)))], have, at) {
					continue
				}
				if different++; different <= maxDifferences {
					fmt.Fprintf(out, "block %d differs, at %d\n", (ours.off+off+at)/unit, ours.off+off+at)
				}
			}
		}
		done = ours.off + ours.length
		p.at(done)
		return nil
	})
	if err == nil && different > 0 {
		err = fmt.Errorf("%d blocks of %d bytes differ", different, unit)
	}
	return err
}

// sameBlock compares a block with what is at an offset of have; an empty one is zeros.
func sameBlock(want, have []byte, at int64) bool {
	if len(have) == 0 {
		return isZero(want)
	}
	return bytes.Equal(want, have[at:at+int64(len(want))])
}
