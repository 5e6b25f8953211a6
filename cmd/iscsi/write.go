package main

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/bootlun/bootlun/initiator"
	"github.com/bootlun/bootlun/internal/cli"
)

func writeCommand() *cli.Command {
	c := cli.NewCommand("write", "copy a file or standard input to a disk, OVERWRITING what is there", "URL [flags]")
	c.Text = `Neither offset nor length need be multiples of the block size. When the command is
done, the data is on the medium.`
	c.Examples = []cli.Example{
		{"iscsi write iscsi://192.0.2.1/iqn.2026-01.com.example:disk/1 -i disk.img"},
		{"zstd -dc disk.img.zst | iscsi write iscsi://192.0.2.1/iqn.2026-01.com.example:disk/1"},
		{"iscsi write iscsi://192.0.2.1/iqn.2026-01.com.example:disk/1 --offset 446 -i table.bin"},
	}
	c.Max = 1
	var r reach
	var offset sizeFlag
	r.define(c)
	c.Var(&offset, "offset", "`BYTES` to skip on the disk; units K, M, G and T")
	input := c.String("i", "-", "`FILE` to read")
	c.Run = func(ctx context.Context, args []string, std cli.IO) error {
		cfg, err := r.config(c, args, true)
		if err != nil {
			return err
		}
		in, size, err := open(*input, std.In)
		if err != nil {
			return err
		}
		defer in.Close()
		return r.withLUN(ctx, cfg, std, func(lun *initiator.LUN) error {
			if lun.WriteProtected() {
				return initiator.ErrWriteProtected
			}
			if room := lun.Size() - offset.bytes; room < size {
				return fmt.Errorf("%d bytes do not fit: the disk has %d, %d of them after the offset", size, lun.Size(), max(room, 0))
			}
			if err := copyIn(ctx, lun, offset.bytes, in, newProgress(std.Err, size)); err != nil {
				return err
			}
			return lun.Flush(ctx)
		})
	}
	return c
}

// open opens a file to read, standard input for "-"; its size is 0 if it cannot be
// known.
func open(name string, stdin io.Reader) (io.ReadCloser, int64, error) {
	if name == "-" {
		return io.NopCloser(stdin), 0, nil
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, 0, err
	}
	info, err := f.Stat()
	if err == nil && info.IsDir() {
		err = fmt.Errorf("%s is a directory", name)
	}
	if err != nil {
		f.Close()
		return nil, 0, err
	}
	if !info.Mode().IsRegular() {
		return f, 0, nil
	}
	return f, info.Size(), nil
}

// copyIn copies all of in to a disk.
func copyIn(ctx context.Context, lun *initiator.LUN, offset int64, in io.Reader, p *progress) error {
	buf := make([]byte, copyUnit)
	done := int64(0)
	defer func() { p.end(done) }()
	for {
		n, err := io.ReadFull(in, buf)
		end := err == io.EOF || err == io.ErrUnexpectedEOF
		if err != nil && !end {
			return err
		}
		if _, err := lun.WriteAtContext(ctx, buf[:n], offset+done); err != nil {
			return err
		}
		done += int64(n)
		p.at(done)
		if end {
			return nil
		}
	}
}
