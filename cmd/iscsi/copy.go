package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/bootlun/bootlun/initiator"
)

// copyUnit is how much is copied at a time.
const copyUnit = 4 << 20

const readUsage = `Copy from a disk to a file or to standard output. Neither offset nor length need be
multiples of the block size.

Usage:
  iscsi read URL [flags]

Examples:
  iscsi read iscsi://192.0.2.1/iqn.2026-01.com.example:disk/1 -o disk.img
  iscsi read iscsi:192.0.2.1::::iqn.2026-01.com.example:disk --length 512 | xxd
  iscsi read iscsi://192.0.2.1/iqn.2026-01.com.example:disk/1 --offset 1M --length 64M -o part.img
`

func read(ctx context.Context, args []string, env environment, std stdio) (err error) {
	c := newCommand("read", readUsage)
	var n connection
	var offset, length sizeFlag
	n.register(c.FlagSet)
	c.Var(&offset, "offset", "`BYTES` to skip on the disk; units K, M, G and T")
	c.Var(&length, "length", "`BYTES` to copy (to the end of the disk)")
	output := c.String("o", "-", "`FILE` to write, which is overwritten")
	url, err := c.parse(args, "URL", std)
	if err != nil {
		return err
	}
	cfg, err := n.config(c, url, true, env)
	if err != nil {
		return err
	}
	if *output == "-" && isTerminal(std.out) {
		return c.misused("a disk's bytes do no good on a terminal: give -o FILE, or redirect the output")
	}
	return withLUN(ctx, cfg, n, func(lun *initiator.LUN) (err error) {
		end := lun.Size()
		if length.set {
			end = offset.bytes + length.bytes
		}
		if offset.bytes > lun.Size() || end < offset.bytes || end > lun.Size() {
			return fmt.Errorf("the disk has %d bytes: offset %d and length %d go beyond its end", lun.Size(), offset.bytes, length.bytes)
		}
		out, closeOut, err := create(*output, std.out)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, closeOut()) }()
		return copyOut(ctx, out, lun, offset.bytes, end, newProgress(std.err, end-offset.bytes))
	})
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

const writeUsage = `Copy a file or standard input to a disk, OVERWRITING what is there. Neither offset
nor length need be multiples of the block size. When the command is done, the data
is on the medium.

Usage:
  iscsi write URL [flags]

Examples:
  iscsi write iscsi://192.0.2.1/iqn.2026-01.com.example:disk/1 -i disk.img
  zstd -dc disk.img.zst | iscsi write iscsi://192.0.2.1/iqn.2026-01.com.example:disk/1
  iscsi write iscsi://192.0.2.1/iqn.2026-01.com.example:disk/1 --offset 446 -i table.bin
`

func write(ctx context.Context, args []string, env environment, std stdio) error {
	c := newCommand("write", writeUsage)
	var n connection
	var offset sizeFlag
	n.register(c.FlagSet)
	c.Var(&offset, "offset", "`BYTES` to skip on the disk; units K, M, G and T")
	input := c.String("i", "-", "`FILE` to read")
	url, err := c.parse(args, "URL", std)
	if err != nil {
		return err
	}
	cfg, err := n.config(c, url, true, env)
	if err != nil {
		return err
	}
	in, size, err := open(*input, std.in)
	if err != nil {
		return err
	}
	defer in.Close()
	return withLUN(ctx, cfg, n, func(lun *initiator.LUN) error {
		if lun.WriteProtected() {
			return initiator.ErrWriteProtected
		}
		if room := lun.Size() - offset.bytes; room < size {
			return fmt.Errorf("%d bytes do not fit: the disk has %d, %d of them after the offset", size, lun.Size(), max(room, 0))
		}
		if err := copyIn(ctx, lun, offset.bytes, in, newProgress(std.err, size)); err != nil {
			return err
		}
		return lun.Flush(ctx)
	})
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

// withLUN does something with a disk, in a session of its own.
func withLUN(ctx context.Context, cfg initiator.Config, n connection, do func(*initiator.LUN) error) (err error) {
	s, err := initiator.Dial(ctx, cfg)
	if err != nil {
		return err
	}
	defer s.Close() // whether the target confirms the logout does not matter
	lun, err := s.OpenLUN(ctx, n.lun)
	if err != nil {
		return err
	}
	return do(lun)
}
