package store

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync/atomic"
)

// deviceGrain is what holes in a device are aligned to: no smaller than any
// device's logical block.
const deviceGrain = 4096

// FileOptions says how [OpenFile] opens. The zero value is for a LUN that is
// read and written.
type FileOptions struct {
	// ReadOnly opens for reading, with a lock that other readers share. A
	// device that is itself read-only is opened so in any case.
	ReadOnly bool

	// Direct goes past the page cache (O_DIRECT): reads and writes wait for the
	// device, and compete with nobody for memory. What is not made of the
	// device's blocks (512 or 4096 bytes) is read before it is written; the
	// size must be made of them.
	Direct bool

	// Preallocate has the file system reserve all of a file's space, so that
	// no write fails for want of it. Such a store does not discard.
	Preallocate bool
}

// File is a store in a regular file or on a block device. Writes go to the page
// cache, Flush takes them to the medium. Make one with [OpenFile].
type File struct {
	f        *os.File
	path     string
	size     atomic.Int64
	readOnly bool
	regular  bool                  // not a device
	punches  bool                  // ranges can be deallocated
	maps     bool                  // holes can be found
	grain    int64                 // what a hole's ends are multiples of
	cached   bool                  // lives in memory: no access waits for a device
	nowait   bool                  // the kernel can read only what it has at hand
	fd       int                   // f's, for the calls that os does not have
	direct   *Aligner              // how to go past the page cache; nil: through it
	flushErr atomic.Pointer[error] // of the first flush that failed
}

// OpenFile opens an existing file or block device as a store. It locks it, on
// Linux, until Close: a second OpenFile, here or in another process, fails with
// [ErrLocked] unless both only read. The store's size is the file's now.
func OpenFile(path string, opts FileOptions) (*File, error) {
	flag := os.O_RDWR
	if opts.ReadOnly {
		flag = os.O_RDONLY
	}
	f, err := os.OpenFile(path, flag, 0)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("store: %w: make it first, for example with 'truncate -s 8G %s'", err, path)
	case err != nil:
		return nil, fmt.Errorf("store: %w", err)
	}
	s := &File{f: f, path: path, readOnly: opts.ReadOnly}
	if err := s.setUp(opts); err != nil {
		f.Close()
		return nil, fmt.Errorf("store: %s: %w", path, err)
	}
	return s, nil
}

func (s *File) setUp(opts FileOptions) error {
	info, err := s.f.Stat()
	if err != nil {
		return err
	}
	s.regular = info.Mode().IsRegular()
	device := info.Mode()&fs.ModeDevice != 0 && info.Mode()&fs.ModeCharDevice == 0
	if !s.regular && !device {
		return fmt.Errorf("is a %v, not a regular file or a block device", info.Mode().Type())
	}
	if err := s.findSize(); err != nil {
		return err
	}
	s.grain = 1
	if device {
		s.grain = deviceGrain
	}
	return s.setUpOS(opts)
}

// findSize takes on the size that the file has now. A device's is where its end
// is, not what Stat says.
func (s *File) findSize() error {
	size, err := s.f.Seek(0, io.SeekEnd)
	if err != nil {
		return fmt.Errorf("find the size: %w", err)
	}
	if err := s.checkSize(size); err != nil {
		return err
	}
	s.size.Store(size)
	return nil
}

// checkSize refuses a size that direct access cannot have.
func (s *File) checkSize(size int64) error {
	if s.direct != nil && size%s.direct.Grain != 0 {
		return fmt.Errorf("%d bytes are no multiple of %d, as direct access needs: make it one, or open it without", size, s.direct.Grain)
	}
	return nil
}

// Resize implements [Resizer]. A device has the size that it has: for one, n must
// be 0 or that.
func (s *File) Resize(n int64) error {
	if n > 0 && s.readOnly {
		return s.fail("resize", ErrReadOnly)
	}
	if n > 0 && s.regular {
		if err := s.checkSize(n); err != nil {
			return s.fail("resize", err)
		}
		s.size.Store(min(n, s.size.Load())) // no write may begin beyond the new end
		if err := s.f.Truncate(n); err != nil {
			_ = s.findSize() // the truncation's failure says it all
			return s.fail("resize", err)
		}
	}
	if err := s.findSize(); err != nil {
		return s.fail("resize", err)
	}
	if has := s.size.Load(); n > 0 && has != n {
		return s.fail("resize", fmt.Errorf("the device has %d bytes, not %d: change the device itself", has, n))
	}
	return nil
}

// ReadAt implements [Store].
func (s *File) ReadAt(p []byte, off int64) (int, error) {
	if err := checkRange(off, int64(len(p)), s.size.Load()); err != nil {
		return 0, s.fail("read", err)
	}
	read := s.f.ReadAt
	if s.direct != nil {
		read = s.direct.ReadAt
	}
	n, err := read(p, off)
	if err == io.EOF {
		err = fmt.Errorf("%d bytes at %d: file is now shorter than when it was opened: %w", len(p), off, io.ErrUnexpectedEOF)
	}
	return n, s.fail("read", err)
}

// WriteAt implements [Store].
func (s *File) WriteAt(p []byte, off int64) (int, error) {
	if err := s.checkWrite(off, int64(len(p))); err != nil {
		return 0, s.fail("write", err)
	}
	n, err := s.write(p, off)
	return n, s.fail("write", err)
}

func (s *File) write(p []byte, off int64) (int, error) {
	if s.direct != nil {
		return s.direct.WriteAt(p, off)
	}
	return s.f.WriteAt(p, off)
}

// TryReadAt implements [Prompt]: it reads what the page cache has.
func (s *File) TryReadAt(p []byte, off int64) (int, error) {
	if s.cached {
		return s.ReadAt(p, off)
	}
	if !s.nowait || checkRange(off, int64(len(p)), s.size.Load()) != nil {
		return 0, ErrWouldBlock
	}
	if n := s.readCached(p, off); n != len(p) {
		return 0, ErrWouldBlock
	}
	return len(p), nil
}

// TryWriteAt implements [Prompt]. Whole pages go to the page cache and need no
// waiting; a part of a page may have to be read first.
func (s *File) TryWriteAt(p []byte, off int64) (int, error) {
	const page = 4096
	if s.direct != nil || !s.cached && (off|int64(len(p)))%page != 0 {
		return 0, ErrWouldBlock
	}
	return s.WriteAt(p, off)
}

// Discard implements [Discarder] by punching a hole.
func (s *File) Discard(off, n int64) error {
	if err := s.checkWrite(off, n); err != nil {
		return s.fail("discard", err)
	}
	if !s.punches {
		return s.fail("discard", errors.ErrUnsupported)
	}
	return s.fail("discard", s.punchOut(off, n))
}

// Map implements [Mapper] by what the file system says of holes.
func (s *File) Map(off, n int64) (allocated bool, length int64, err error) {
	err = checkRange(off, n, s.size.Load())
	if err == nil && s.maps {
		allocated, length, err = s.extent(off, n)
	} else if err == nil {
		err = errors.ErrUnsupported
	}
	return allocated, length, s.fail("map", err)
}

// WriteZeroes implements [ZeroWriter], with a hole where that is possible.
func (s *File) WriteZeroes(off, n int64) error {
	if err := s.checkWrite(off, n); err != nil {
		return s.fail("zero", err)
	}
	if s.punches && s.punchOut(off, n) == nil {
		return nil
	}
	return s.fail("zero", s.zeros(off, n))
}

// punchOut makes the widest hole that the range allows and writes zeros to what
// is left of it at either end.
func (s *File) punchOut(off, n int64) error {
	end := off + n
	from := (off + s.grain - 1) / s.grain * s.grain
	to := end
	if end != s.size.Load() {
		to = end / s.grain * s.grain
	}
	if from >= to {
		return s.zeros(off, n)
	}
	if err := s.punch(from, to-from); err != nil {
		return err
	}
	if err := s.zeros(off, from-off); err != nil {
		return err
	}
	return s.zeros(to, end-to)
}

func (s *File) zeros(off, n int64) error { return writeZeros(writerFunc(s.write), off, n) }

// Size implements [Store].
func (s *File) Size() int64 { return s.size.Load() }

// ReadOnly implements [ReadOnlyer].
func (s *File) ReadOnly() bool { return s.readOnly }

// Flush implements [Store]. The kernel reports a failed write-back once and
// forgets the data; so the first failure is remembered here, and no later Flush
// succeeds.
func (s *File) Flush() error {
	if s.readOnly {
		return nil
	}
	if s.flushErr.Load() == nil {
		if err := s.sync(); err != nil {
			err = s.fail("flush", fmt.Errorf("%w: writes may be lost", err))
			s.flushErr.CompareAndSwap(nil, &err)
		}
	}
	if first := s.flushErr.Load(); first != nil {
		return *first
	}
	return nil
}

// Close implements [Store] and lets go of the lock.
func (s *File) Close() error { return s.f.Close() }

func (s *File) checkWrite(off, n int64) error {
	if s.readOnly {
		return ErrReadOnly
	}
	return checkRange(off, n, s.size.Load())
}

// fail names the operation and the file in an error, which may be nil.
func (s *File) fail(op string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("store: %s %s: %w", op, s.path, err)
}
