package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/bootlun/bootlun/initiator"
	"github.com/bootlun/bootlun/internal/bytesize"
	"github.com/bootlun/bootlun/internal/cli"
)

// copySaves is how often a copy notes how far it is.
const copySaves = 2 * time.Second

func copyCommand() *cli.Command {
	c := cli.NewCommand("copy", "copy a whole disk to a file, or a file to a disk, OVERWRITING what is there",
		"URL FILE [flags]", "FILE URL [flags]")
	c.Text = `What is not used on the disk is not read, and zeros leave holes in the file. A file's
holes and zeros are made on the disk without sending them, if it can do that. A copy
that was interrupted, by whatever, goes on with --resume, where it was when it last noted
that in FILE.progress; that file goes when the copy is done. When the command is done,
the data is on the medium.`
	c.Examples = []cli.Example{
		{"iscsi copy iscsi://192.0.2.1/iqn.2026-01.com.example:disk/1 disk.img", "a backup"},
		{"iscsi copy disk.img iscsi://192.0.2.1/iqn.2026-01.com.example:disk/1", "back again"},
		{"iscsi copy --resume disk.img iscsi://192.0.2.1/iqn.2026-01.com.example:disk/1"},
	}
	c.Max = 2
	var r reach
	r.define(c)
	resume := c.Bool("resume", false, "go on with a copy that was interrupted")
	c.Run = func(ctx context.Context, args []string, std cli.IO) error {
		url, file, toDisk, err := copyArguments(c, args)
		if err != nil {
			return err
		}
		cfg, err := r.config(c, []string{url}, true)
		if err != nil {
			return err
		}
		return r.withLUN(ctx, cfg, std, func(lun *initiator.LUN) error {
			j := job{lun: lun, name: file, log: journal{path: file + ".progress", url: url}}
			open := j.openToWrite
			if toDisk {
				open = j.openToRead
			}
			if err := open(*resume); err != nil {
				return err
			}
			j.announce(std.Err)
			j.progress = newProgress(std.Err, j.size)
			return j.run(ctx, toDisk)
		})
	}
	return c
}

func copyArguments(c *cli.Command, args []string) (url, file string, toDisk bool, err error) {
	if len(args) != 2 {
		return "", "", false, c.Misused("wants a URL and a FILE")
	}
	from, to := strings.HasPrefix(args[0], "iscsi:"), strings.HasPrefix(args[1], "iscsi:")
	switch {
	case from && to:
		return "", "", false, c.Misused("two URLs: one of the two must be a file; iscsi read | iscsi write copies from disk to disk")
	case from:
		return args[0], args[1], false, nil
	case to:
		return args[1], args[0], true, nil
	}
	return "", "", false, c.Misused("neither %q nor %q is a URL", args[0], args[1])
}

// job is a copy under way.
type job struct {
	lun      *initiator.LUN
	name     string
	file     *os.File
	regular  bool // the file is one, and may have holes
	size     int64
	done     int64 // all before this offset has been written
	log      journal
	saved    time.Time
	progress *progress
}

// openToWrite opens the file that gets the disk's data. Beyond what is done it has nothing but holes.
func (j *job) openToWrite(resume bool) (err error) {
	j.size = j.lun.Size()
	if err := j.begin(resume); err != nil {
		return err
	}
	if j.file, err = os.OpenFile(j.name, os.O_CREATE|os.O_RDWR, 0o666); err != nil {
		return err
	}
	info, err := j.file.Stat()
	if err == nil {
		j.regular = info.Mode().IsRegular()
	}
	if err == nil && resume && info.Size() < j.done && j.regular {
		err = fmt.Errorf("%s has %d bytes and not the %d that %s tells of", j.name, info.Size(), j.done, j.log.path)
	}
	if err == nil && j.regular {
		err = errors.Join(j.file.Truncate(j.done), j.file.Truncate(j.size))
	}
	if err != nil {
		return errors.Join(err, j.file.Close())
	}
	return nil
}

// openToRead opens the file that goes to the disk.
func (j *job) openToRead(resume bool) (err error) {
	if j.lun.WriteProtected() {
		return initiator.ErrWriteProtected
	}
	if j.file, err = os.Open(j.name); err != nil {
		return err
	}
	info, err := j.file.Stat()
	switch {
	case err != nil:
	case info.IsDir():
		err = fmt.Errorf("%s is a directory", j.name)
	default:
		j.regular = info.Mode().IsRegular()
		j.size, err = j.file.Seek(0, 2) // of a device, too
	}
	if err == nil && j.size > j.lun.Size() {
		err = fmt.Errorf("%s has %d bytes, which do not fit: the disk has %d", j.name, j.size, j.lun.Size())
	}
	if err == nil {
		err = j.begin(resume)
	}
	if err != nil {
		return errors.Join(err, j.file.Close())
	}
	return nil
}

// begin reads the note of an interrupted copy, or makes sure that there is none.
func (j *job) begin(resume bool) (err error) {
	if resume {
		j.done, err = j.log.read(j.size)
		return err
	}
	if _, err := os.Stat(j.log.path); err == nil {
		return fmt.Errorf("%s is of a copy that was interrupted: give --resume to go on with it, or remove it to begin anew", j.log.path)
	}
	return nil
}

// announce notes that the copy has begun: what an interruption leaves looks like the whole thing else. Where no note can be written,
// the copy is made all the same.
func (j *job) announce(warn io.Writer) {
	if err := j.log.write(j.done, j.size); err != nil {
		fmt.Fprintf(warn, "iscsi: this copy cannot be resumed: %v\n", err)
		j.log.off = true
	}
}

// run copies, and notes how far it came if it does not come to the end.
func (j *job) run(ctx context.Context, toDisk bool) (err error) {
	defer func() { err = errors.Join(err, j.file.Close()) }()
	defer func() { j.progress.end(j.done) }()
	j.saved = time.Now()
	flush := func(context.Context) error { return j.file.Sync() }
	if toDisk {
		flush = j.lun.Flush
		err = j.toDisk(ctx, flush)
	} else {
		err = j.toFile(ctx, flush)
	}
	if err == nil {
		err = flush(ctx)
	}
	if err == nil {
		return j.log.remove()
	}
	if ctx.Err() != nil { // the session is still good
		err = j.save(context.WithoutCancel(ctx), flush)
		text := fmt.Sprintf("interrupted after %s of %s", bytesize.Format(j.done), bytesize.Format(j.size))
		if err == nil && !j.log.off {
			text += ": --resume goes on"
		}
		return errors.Join(errors.New(text), err)
	}
	return err
}

// advance notes that all before an offset is written, and now and then saves that.
func (j *job) advance(ctx context.Context, to int64, flush func(context.Context) error) error {
	j.done = to
	j.progress.at(to)
	if time.Since(j.saved) < copySaves {
		return nil
	}
	return j.save(ctx, flush)
}

func (j *job) save(ctx context.Context, flush func(context.Context) error) error {
	if err := flush(ctx); err != nil {
		return err
	}
	j.saved = time.Now()
	return j.log.write(j.done, j.size)
}

func (j *job) toFile(ctx context.Context, flush func(context.Context) error) error {
	return readPieces(ctx, j.lun, j.done, j.size, func(p piece) error {
		if err := j.writeFile(p); err != nil {
			return err
		}
		return j.advance(ctx, p.off+p.length, flush)
	})
}

// zeroUnit is how long zeros must be to be worth a hole.
const zeroUnit = 64 << 10

// writeFile writes a piece, all but the zeros that a fresh file has anyway.
func (j *job) writeFile(p piece) error {
	if p.data == nil && j.regular {
		return nil
	}
	if p.data == nil {
		return writeZeros(j.file, p.off, p.length)
	}
	for off := int64(0); off < p.length; off += zeroUnit {
		b := p.data[off:min(off+zeroUnit, p.length)]
		if j.regular && isZero(b) {
			continue
		}
		if _, err := j.file.WriteAt(b, p.off+off); err != nil {
			return err
		}
	}
	return nil
}

// writeZeros writes zeros to what may have something else.
func writeZeros(f *os.File, off, length int64) error {
	zeros := make([]byte, min(length, copyUnit))
	for length > 0 {
		n, err := f.WriteAt(zeros[:min(length, copyUnit)], off)
		if err != nil {
			return err
		}
		off, length = off+int64(n), length-int64(n)
	}
	return nil
}

func (j *job) toDisk(ctx context.Context, flush func(context.Context) error) error {
	return readFilePieces(ctx, j.file, j.done, j.size, func(p piece) error {
		var err error
		if p.data == nil {
			err = j.lun.WriteZeroes(ctx, p.off, p.length, true) // a thin disk gives room back
		} else {
			_, err = j.lun.WriteAtContext(ctx, p.data, p.off)
		}
		if err != nil {
			return err
		}
		return j.advance(ctx, p.off+p.length, flush)
	})
}
