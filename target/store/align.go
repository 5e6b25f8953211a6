package store

import (
	"io"
	"sync"
	"unsafe"
)

// Aligner reaches any byte of what can be read and written only in whole
// blocks. Its zero value with the first four fields set is ready for use, by
// several goroutines.
//
// Accesses that are aligned go straight through. Others go by way of a buffer;
// a write among them reads what is around it first, while no other writes.
type Aligner struct {
	Grain  int64       // the block's size in bytes, a power of two
	Memory uintptr     // buffers begin at multiples of it; 0: anywhere
	Reader io.ReaderAt // gets aligned accesses only
	Writer io.WriterAt // the same

	mu      sync.RWMutex // held for writing by what reads before it writes
	buffers sync.Pool    // of *[]byte, bounceSize long
}

// bounceSize is how much is moved at once by way of a buffer.
const bounceSize = 256 << 10

// fits reports whether an access can go straight through.
func (a *Aligner) fits(p []byte, off int64) bool {
	if (off|int64(len(p)))&(a.Grain-1) != 0 {
		return false
	}
	return a.Memory == 0 || uintptr(unsafe.Pointer(unsafe.SliceData(p)))&(a.Memory-1) == 0
}

// around is the whole blocks that the n bytes at off lie in, as far as a buffer
// takes them.
func (a *Aligner) around(off int64, n int) (from, to int64) {
	from = off &^ (a.Grain - 1)
	to = (off + int64(n) + a.Grain - 1) &^ (a.Grain - 1)
	return from, min(to, from+bounceSize)
}

// ReadAt implements [io.ReaderAt].
func (a *Aligner) ReadAt(p []byte, off int64) (int, error) {
	if a.fits(p, off) {
		return a.Reader.ReadAt(p, off)
	}
	b := a.buffer()
	defer a.buffers.Put(b)
	done := 0
	for done < len(p) {
		at := off + int64(done)
		from, to := a.around(at, len(p)-done)
		block := (*b)[:to-from]
		if _, err := a.Reader.ReadAt(block, from); err != nil {
			return done, err
		}
		done += copy(p[done:], block[at-from:])
	}
	return done, nil
}

// WriteAt implements [io.WriterAt].
func (a *Aligner) WriteAt(p []byte, off int64) (int, error) {
	if a.fits(p, off) {
		a.mu.RLock()
		defer a.mu.RUnlock()
		return a.Writer.WriteAt(p, off)
	}
	b := a.buffer()
	defer a.buffers.Put(b)
	done := 0
	for done < len(p) {
		n, err := a.writeAround(p[done:], off+int64(done), *b)
		if err != nil {
			return done, err
		}
		done += n
	}
	return done, nil
}

// writeAround writes as much of p as its buffer b takes, and what is around it.
func (a *Aligner) writeAround(p []byte, off int64, b []byte) (int, error) {
	from, to := a.around(off, len(p))
	b = b[:to-from]
	end := min(to, off+int64(len(p)))
	a.mu.Lock()
	defer a.mu.Unlock()
	if off != from || end != to {
		if _, err := a.Reader.ReadAt(b, from); err != nil {
			return 0, err
		}
	}
	n := copy(b[off-from:], p)
	if _, err := a.Writer.WriteAt(b, from); err != nil {
		return 0, err
	}
	return n, nil
}

// buffer returns an aligned buffer of bounceSize bytes.
func (a *Aligner) buffer() *[]byte {
	if b, ok := a.buffers.Get().(*[]byte); ok {
		return b
	}
	b := make([]byte, bounceSize+int(a.Memory))
	if a.Memory > 0 {
		at := uintptr(unsafe.Pointer(unsafe.SliceData(b))) & (a.Memory - 1)
		b = b[(a.Memory-at)&(a.Memory-1):]
	}
	b = b[:bounceSize:bounceSize]
	return &b
}

// Whole runs f, which changes whole blocks in a way of its own, while no access
// writes back what it has read.
func (a *Aligner) Whole(f func() error) error {
	a.mu.RLock()
	defer a.mu.RUnlock()
	return f()
}
