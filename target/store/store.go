package store

import (
	"errors"
	"fmt"
	"io"
)

// Store is the bytes behind a LUN.
//
// ReadAt and WriteAt follow [io.ReaderAt] and [io.WriterAt] within [0, Size):
// they move all of p or fail, a store never grows, and what lies beyond the end
// is [ErrOutOfRange]. A byte never written reads as zero.
//
// All methods but Close may be called at the same time from several goroutines.
// Calls that overlap in the bytes they touch happen in some order, which may
// differ from one byte to the next. Close is called once, after every other
// call has returned.
type Store interface {
	io.ReaderAt
	io.WriterAt

	// Size is the number of bytes in the store. Only a [Resizer]'s changes.
	Size() int64

	// Flush returns once every write that had returned before it was called is
	// on the medium, and so outlives a power failure as far as the medium does.
	// After a Flush that failed, every later one fails too: what was lost in
	// between cannot be known.
	Flush() error

	// Close gives up the store. It does not flush.
	Close() error
}

// Discarder is a store that can give back the space of a range.
type Discarder interface {
	// Discard drops the n bytes at off, which read as zeros afterwards. It
	// fails with [errors.ErrUnsupported] where the store can not do it after
	// all; a Discard of no bytes asks just that and does nothing else.
	Discard(off, n int64) error
}

// ZeroWriter is a store that can fill a range with zeros without being given
// them.
type ZeroWriter interface {
	// WriteZeroes sets the n bytes at off to zero.
	WriteZeroes(off, n int64) error
}

// DurableWriter is a store that can take one write to its medium without all
// those before it.
type DurableWriter interface {
	// WriteDurable is WriteAt and returns when p is on the medium, as after a
	// Flush. It tells nothing about other writes.
	WriteDurable(p []byte, off int64) (int, error)
}

// Mapper is a store that knows which of its bytes take space.
type Mapper interface {
	// Map looks at the n bytes at off, n being at least 1, and says whether the
	// first of them takes space and how many from there on, at least 1 and at
	// most n, are known to be like it. Bytes that take no space read as zeros.
	// It fails with [errors.ErrUnsupported] where the store can not tell after
	// all.
	Map(off, n int64) (allocated bool, length int64, err error)
}

// Prompt is a store that mostly has its answer at hand: in memory, or in the
// page cache. Its user calls the Try methods where it must not wait, and on
// [ErrWouldBlock] calls the plain method where it may.
type Prompt interface {
	// TryReadAt is ReadAt, but fails with [ErrWouldBlock], having done nothing
	// that matters, rather than wait for a device or a network.
	TryReadAt(p []byte, off int64) (int, error)

	// TryWriteAt is WriteAt under the same condition.
	TryWriteAt(p []byte, off int64) (int, error)
}

// Resizer is a store whose size can change while it is open.
type Resizer interface {
	// Resize makes the store n bytes long: what it gains reads as zeros, what it
	// loses is lost. With n 0, it takes on the size that what lies under it has
	// got since it was opened.
	Resize(n int64) error
}

// ReadOnlyer is a store that knows whether it may be written.
type ReadOnlyer interface {
	// ReadOnly reports that every write will fail with [ErrReadOnly].
	ReadOnly() bool
}

// Errors that a store's user tells apart. They arrive wrapped.
var (
	// ErrOutOfRange is an access that is not within [0, Size).
	ErrOutOfRange = errors.New("beyond the end of the store")

	// ErrReadOnly is a change asked of a store opened read-only.
	ErrReadOnly = errors.New("store is read-only")

	// ErrLocked is a file or a device that somebody else serves.
	ErrLocked = errors.New("in use by another process")

	// ErrUnavailable is a store that does not answer, now: what it was asked
	// for may have been done or not.
	ErrUnavailable = errors.New("store does not answer")

	// ErrWouldBlock is a [Prompt] store's "not without waiting".
	ErrWouldBlock = errors.New("would have to wait")
)

// CanDiscard reports whether s can give back space.
func CanDiscard(s Store) bool {
	d, ok := s.(Discarder)
	return ok && !errors.Is(d.Discard(0, 0), errors.ErrUnsupported)
}

// WriteDurable writes p to s at off and returns when it is on the medium: by the
// store's own means if it has some, and by a Flush if not.
func WriteDurable(s Store, p []byte, off int64) error {
	if d, ok := s.(DurableWriter); ok {
		_, err := d.WriteDurable(p, off)
		return err
	}
	if _, err := s.WriteAt(p, off); err != nil {
		return err
	}
	return s.Flush()
}

// WriteZeroes sets n bytes of s at off to zero, by the store's own means if it
// has some and by writing zeros if not.
func WriteZeroes(s Store, off, n int64) error {
	if z, ok := s.(ZeroWriter); ok {
		return z.WriteZeroes(off, n)
	}
	if err := checkRange(off, n, s.Size()); err != nil {
		return fmt.Errorf("zero: %w", err)
	}
	return writeZeros(s, off, n)
}

// Map is s's own [Mapper.Map]; a store that is none, or can not tell, has space
// for all of its bytes.
func Map(s Store, off, n int64) (allocated bool, length int64, err error) {
	if m, ok := s.(Mapper); ok {
		allocated, length, err = m.Map(off, n)
		if !errors.Is(err, errors.ErrUnsupported) {
			return allocated, length, err
		}
	}
	return true, n, checkRange(off, n, s.Size())
}

// zeros is what writeZeros writes from; nobody changes it.
var zeros [64 << 10]byte

// writerFunc is an [io.WriterAt].
type writerFunc func(p []byte, off int64) (int, error)

// WriteAt implements [io.WriterAt].
func (f writerFunc) WriteAt(p []byte, off int64) (int, error) { return f(p, off) }

func writeZeros(w io.WriterAt, off, n int64) error {
	for n > 0 {
		chunk := min(n, int64(len(zeros)))
		if _, err := w.WriteAt(zeros[:chunk], off); err != nil {
			return err
		}
		off, n = off+chunk, n-chunk
	}
	return nil
}

// checkRange tells whether n bytes at off lie within size bytes.
func checkRange(off, n, size int64) error {
	if off < 0 || n < 0 || off > size || n > size-off {
		return fmt.Errorf("%d bytes at offset %d of %d: %w", n, off, size, ErrOutOfRange)
	}
	return nil
}
