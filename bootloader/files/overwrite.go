package files

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"

	"github.com/bootlun/bootlun/bootloader"
)

// MaxOverwrite bounds what Overwrite changes, in bytes.
const MaxOverwrite = 64 << 10

// Overwrite puts other bytes in the place of a small file's, as GRUB does with grubenv: as many, in the blocks that the file has,
// with nothing of the file system changed. w writes to the same disk; data that is on its way to the medium is the caller's to flush.
//
// Where the file's blocks are is seen from what reading it reads. Nothing is written unless that is certain, and if the file then
// does not read as it should, what was there is put back.
func Overwrite(disk bootloader.Disk, w io.WriterAt, v bootloader.Volume, name string, data []byte) error {
	seen := &recorder{ReaderAt: disk}
	recorded := disk
	recorded.ReaderAt = seen
	return overwrite(w, v, name, data, place{
		read: func() ([]byte, error) { return openAndRead(recorded, v, name) },
		find: func(old []byte) (int64, error) { return seen.find(old) },
		back: func(int64) ([]byte, error) { return openAndRead(disk, v, name) },
	})
}

// Mounted are a volume's files by way of Linux, which tells where on the volume they are, and is told when it has to read them anew
// (bootloader.MountedFiles).
type Mounted interface {
	fs.FS
	Place(name string) (at int64, err error)
	Forget(name string) error
}

// OverwriteMounted is Overwrite for a volume that Linux has mounted read-only. Unless the file's bytes are on the disk where Linux says,
// nothing is written.
//
// A mount to write by would replay a journal and change more than the file, under a system that may be hibernated.
func OverwriteMounted(disk bootloader.Disk, w io.WriterAt, v bootloader.Volume, mounted Mounted, name string, data []byte) error {
	readAt := func(at int64) ([]byte, error) { return readAt(disk, at, len(data)) }
	err := overwrite(w, v, name, data, place{
		read: func() ([]byte, error) { return readWhole(mounted, name) },
		find: func(old []byte) (int64, error) {
			switch v.FS.Type {
			case "ext2", "ext3", "ext4", "xfs":
			case "btrfs":
				return 0, fmt.Errorf("%w: btrfs has checksums of its data; GRUB does not write to its files either", errors.ErrUnsupported)
			default:
				return 0, fmt.Errorf("%w: %s", errors.ErrUnsupported, v)
			}
			at, err := mounted.Place(name)
			if err != nil {
				return 0, err
			}
			if at, err = v.Offset(at, int64(len(old))); err != nil {
				return 0, err
			}
			if there, err := readAt(at); err != nil || !bytes.Equal(there, old) {
				return 0, errors.Join(fmt.Errorf("its bytes are not at byte %d of the disk, where they should be", at), err)
			}
			return at, nil
		},
		back: readAt,
	})
	return cmp.Or(err, mounted.Forget(name))
}

// What btrfs leaves free at its begin (Linux's BTRFS_DEVICE_RANGE_RESERVED), behind its superblock.
const (
	btrfsFree = 68 << 10
	btrfsUsed = 1 << 20
)

// OverwriteReserved is Overwrite for what GRUB keeps in the space that btrfs leaves free at its begin: data at byte at of the volume.
func OverwriteReserved(disk bootloader.Disk, w io.WriterAt, v bootloader.Volume, at int64, data []byte) error {
	start, err := v.Offset(at, int64(len(data)))
	readAt := func(int64) ([]byte, error) { return readAt(disk, start, len(data)) }
	return overwrite(w, v, fmt.Sprintf("byte %d", at), data, place{
		read: func() ([]byte, error) {
			if err == nil && (v.FS.Type != "btrfs" || at < btrfsFree || at+int64(len(data)) > btrfsUsed) {
				err = fmt.Errorf("%w: that is not reserved for boot loaders (%s)", errors.ErrUnsupported, v)
			}
			if err != nil {
				return nil, err
			}
			return readAt(start)
		},
		find: func([]byte) (int64, error) { return start, nil },
		back: readAt,
	})
}

func readAt(disk io.ReaderAt, at int64, n int) ([]byte, error) {
	b := make([]byte, n)
	if got, err := disk.ReadAt(b, at); got < n {
		return nil, err
	}
	return b, nil
}

// place reads a file, finds what it has read on the disk, and reads it from there when it has been written.
type place struct {
	read func() ([]byte, error)
	find func(old []byte) (at int64, err error)
	back func(at int64) ([]byte, error)
}

func overwrite(w io.WriterAt, v bootloader.Volume, name string, data []byte, p place) error {
	fail := func(err error) error { return fmt.Errorf("write %s of %s: %w", name, v.Name, err) }
	if len(data) == 0 || len(data) > MaxOverwrite {
		return fail(fmt.Errorf("%d bytes cannot be written, at most %d", len(data), MaxOverwrite))
	}
	old, err := p.read()
	switch {
	case err != nil:
		return fail(err)
	case len(old) != len(data):
		return fail(fmt.Errorf("it has %d bytes, not %d", len(old), len(data)))
	case bytes.Equal(old, data):
		return nil
	}
	at, err := p.find(old)
	if err != nil {
		return fail(err)
	}
	if _, err := w.WriteAt(data, at); err != nil {
		return fail(err)
	}
	if now, err := p.back(at); err != nil || !bytes.Equal(now, data) {
		_, undo := w.WriteAt(old, at)
		return fail(errors.Join(errors.New("it does not read as it was written, and is as it was"), err, undo))
	}
	return nil
}

func openAndRead(disk bootloader.Disk, v bootloader.Volume, name string) ([]byte, error) {
	files, err := Open(disk, v)
	if err != nil {
		return nil, err
	}
	return readWhole(files, name)
}

func readWhole(files fs.FS, name string) ([]byte, error) {
	f, err := files.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if info.Size() > MaxOverwrite {
		return nil, &fs.PathError{Op: "read", Path: name, Err: fmt.Errorf("its %d bytes are too many", info.Size())}
	}
	return io.ReadAll(f)
}

// recorder keeps what is read.
type recorder struct {
	io.ReaderAt
	reads []read
}

type read struct {
	at   int64
	data []byte
}

func (r *recorder) ReadAt(p []byte, off int64) (int, error) {
	n, err := r.ReaderAt.ReadAt(p, off)
	r.reads = append(r.reads, read{off, bytes.Clone(p[:n])})
	return n, err
}

// find looks for the only place, at a sector's beginning, where data was read.
func (r *recorder) find(data []byte) (int64, error) {
	const sector = 512
	var places []int64
	for _, read := range r.reads {
		for i := -read.at & (sector - 1); i+int64(len(data)) <= int64(len(read.data)); i += sector {
			if bytes.Equal(read.data[i:][:len(data)], data) {
				places = append(places, read.at+i)
			}
		}
	}
	slices.Sort(places)
	if places = slices.Compact(places); len(places) != 1 {
		return 0, fmt.Errorf("where its blocks are is not certain (%d places have its content)", len(places))
	}
	return places[0], nil
}
