package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/bootlun/bootlun/initiator"
	"github.com/bootlun/bootlun/internal/cli"
)

// copyUnit is how much is copied at a time.
const copyUnit = 4 << 20

func readCommand() *cli.Command {
	c := cli.NewCommand("read", "copy from a disk to a file or to standard output", "URL [flags]")
	c.Text = `Neither offset nor length need be multiples of the block size. For a whole disk see
"iscsi copy", which can go on after an interruption.`
	c.Examples = []cli.Example{
		{"iscsi read iscsi://192.0.2.1/iqn.2026-01.com.example:disk/1 -o disk.img"},
		{"iscsi read iscsi:192.0.2.1::::iqn.2026-01.com.example:disk --length 512 | xxd"},
		{"iscsi read iscsi://192.0.2.1/iqn.2026-01.com.example:disk/1 --offset 1M --length 64M -o part.img"},
	}
	c.Max = 1
	var r reach
	var offset, length sizeFlag
	r.define(c)
	c.Var(&offset, "offset", "`BYTES` to skip on the disk; units K, M, G and T")
	c.Var(&length, "length", "`BYTES` to copy (to the end of the disk)")
	output := c.String("o", "-", "`FILE` to write, which is overwritten")
	c.Run = func(ctx context.Context, args []string, std cli.IO) error {
		cfg, err := r.config(c, args, true)
		if err != nil {
			return err
		}
		if *output == "-" && cli.IsTerminal(std.Out) {
			return c.Misused("a disk's bytes do no good on a terminal: give -o FILE, or redirect the output")
		}
		return r.withLUN(ctx, cfg, std, func(lun *initiator.LUN) (err error) {
			end, err := endOf(lun, offset.bytes, length)
			if err != nil {
				return err
			}
			out, closeOut, err := create(*output, std.Out)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, closeOut()) }()
			return copyOut(ctx, out, lun, offset.bytes, end, newProgress(std.Err, end-offset.bytes))
		})
	}
	return c
}

// endOf returns where on a disk a part of it ends.
func endOf(lun *initiator.LUN, offset int64, length sizeFlag) (int64, error) {
	end := lun.Size()
	if length.set {
		end = offset + length.bytes
	}
	if offset > lun.Size() || end < offset || end > lun.Size() {
		return 0, fmt.Errorf("the disk has %d bytes: offset %d and length %d go beyond its end", lun.Size(), offset, length.bytes)
	}
	return end, nil
}

// create opens a file to write, standard output for "-".
func create(name string, stdout io.Writer) (io.Writer, func() error, error) {
	if name == "-" {
		return stdout, func() error { return nil }, nil
	}
	f, err := os.Create(name)
	if err != nil {
		return nil, nil, err
	}
	return f, f.Close, nil
}

// copyOut copies a part of a disk.
func copyOut(ctx context.Context, out io.Writer, lun *initiator.LUN, offset, end int64, p *progress) error {
	buf := make([]byte, min(copyUnit, end-offset))
	done := int64(0)
	defer func() { p.end(done) }()
	for offset+done < end {
		b := buf[:min(int64(len(buf)), end-offset-done)]
		if _, err := lun.ReadAtContext(ctx, b, offset+done); err != nil {
			return err
		}
		if _, err := out.Write(b); err != nil {
			return err
		}
		done += int64(len(b))
		p.at(done)
	}
	return nil
}
