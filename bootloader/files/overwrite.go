package files

import (
	"bytes"
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
// does not read as it should, what was there is put back. File systems with checksums over data (btrfs) are refused.
func Overwrite(disk bootloader.Disk, w io.WriterAt, v bootloader.Volume, name string, data []byte) error {
	fail := func(err error) error { return fmt.Errorf("write %s of %s: %w", name, v.Name, err) }
	switch v.FS.Type {
	case "ext2", "ext3", "ext4", "vfat", "xfs":
	default:
		return fail(fmt.Errorf("%w (%s)", ErrUnsupported, v))
	}
	if len(data) == 0 || len(data) > MaxOverwrite {
		return fail(fmt.Errorf("%d bytes cannot be written, at most %d", len(data), MaxOverwrite))
	}
	seen := &recorder{ReaderAt: disk}
	recorded := disk
	recorded.ReaderAt = seen
	old, err := readWhole(recorded, v, name)
	switch {
	case err != nil:
		return fail(err)
	case len(old) != len(data):
		return fail(fmt.Errorf("it has %d bytes, not %d", len(old), len(data)))
	case bytes.Equal(old, data):
		return nil
	}
	at, err := seen.find(old)
	if err != nil {
		return fail(err)
	}
	if _, err := w.WriteAt(data, at); err != nil {
		return fail(err)
	}
	if now, err := readWhole(disk, v, name); err != nil || !bytes.Equal(now, data) {
		_, undo := w.WriteAt(old, at)
		return fail(errors.Join(errors.New("it does not read as it was written, and is as it was"), err, undo))
	}
	return nil
}

func readWhole(disk bootloader.Disk, v bootloader.Volume, name string) ([]byte, error) {
	files, err := Open(disk, v)
	if err != nil {
		return nil, err
	}
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
