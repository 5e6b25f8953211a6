package store

import (
	"bytes"
	"errors"
	"fmt"
	"sync"
	"time"
)

// maxLate is how many calls a Timed leaves behind before it makes no more.
const maxLate = 16

// Timed is a store that answers in time though the one within it may hang: a
// call that takes longer than a limit fails with [ErrUnavailable] and goes on
// unattended, with a copy of its data.
//
// A change that goes on so may still take effect. Until it has ended every call
// fails at once, so that none is overtaken by it; then the store is as good as
// before. Make one with [NewTimed].
type Timed struct {
	s     Store
	limit time.Duration

	mu          sync.Mutex
	late        int // calls given up that have not ended
	lateChanges int // those among them that change the store
}

// NewTimed returns a Timed of s, of which Close closes s.
func NewTimed(s Store, limit time.Duration) *Timed { return &Timed{s: s, limit: limit} }

// do calls f and gives it up at the limit.
func (t *Timed) do(op string, change bool, f func() error) error {
	if err := t.available(); err != nil {
		return fmt.Errorf("store: %s: %w", op, err)
	}
	ended := make(chan error, 1)
	var givenUp bool // guarded by t.mu
	go func() {
		err := f()
		t.mu.Lock()
		defer t.mu.Unlock()
		ended <- err
		if givenUp {
			t.count(change, -1)
		}
	}()
	timer := time.NewTimer(t.limit)
	defer timer.Stop()
	select {
	case err := <-ended:
		return err
	case <-timer.C:
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	select {
	case err := <-ended:
		return err
	default:
	}
	givenUp = true
	t.count(change, 1)
	return fmt.Errorf("store: %s: %w within %v", op, ErrUnavailable, t.limit)
}

// available tells whether a call may be made.
func (t *Timed) available() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.lateChanges > 0 || t.late >= maxLate {
		return fmt.Errorf("%w: %d earlier calls have not ended", ErrUnavailable, t.late)
	}
	return nil
}

// count counts calls given up. The caller holds t.mu.
func (t *Timed) count(change bool, n int) {
	t.late += n
	if change {
		t.lateChanges += n
	}
}

// ReadAt implements [Store].
func (t *Timed) ReadAt(p []byte, off int64) (int, error) {
	own, n := make([]byte, len(p)), 0
	if err := t.do("read", false, func() (err error) { n, err = t.s.ReadAt(own, off); return err }); err != nil {
		return 0, err
	}
	return copy(p, own[:n]), nil
}

// WriteAt implements [Store].
func (t *Timed) WriteAt(p []byte, off int64) (int, error) {
	return t.write(p, func(own []byte) error { _, err := t.s.WriteAt(own, off); return err })
}

// WriteDurable implements [DurableWriter].
func (t *Timed) WriteDurable(p []byte, off int64) (int, error) {
	return t.write(p, func(own []byte) error { return WriteDurable(t.s, own, off) })
}

func (t *Timed) write(p []byte, f func(own []byte) error) (int, error) {
	own := bytes.Clone(p)
	if err := t.do("write", true, func() error { return f(own) }); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Flush implements [Store].
func (t *Timed) Flush() error { return t.do("flush", false, t.s.Flush) }

// Discard implements [Discarder].
func (t *Timed) Discard(off, n int64) error {
	d, ok := t.s.(Discarder)
	if !ok {
		return fmt.Errorf("store: discard: %w", errors.ErrUnsupported)
	}
	return t.do("discard", true, func() error { return d.Discard(off, n) })
}

// WriteZeroes implements [ZeroWriter].
func (t *Timed) WriteZeroes(off, n int64) error {
	return t.do("zero", true, func() error { return WriteZeroes(t.s, off, n) })
}

// Map implements [Mapper].
func (t *Timed) Map(off, n int64) (allocated bool, length int64, err error) {
	m, ok := t.s.(Mapper)
	if !ok {
		return false, 0, fmt.Errorf("store: map: %w", errors.ErrUnsupported)
	}
	var got struct {
		allocated bool
		length    int64
	}
	err = t.do("map", false, func() (err error) { got.allocated, got.length, err = m.Map(off, n); return err })
	if err != nil {
		return false, 0, err
	}
	return got.allocated, got.length, nil
}

// Resize implements [Resizer].
func (t *Timed) Resize(n int64) error {
	r, ok := t.s.(Resizer)
	if !ok {
		return fmt.Errorf("store: resize: %w", errors.ErrUnsupported)
	}
	return t.do("resize", true, func() error { return r.Resize(n) })
}

// Size implements [Store].
func (t *Timed) Size() int64 { return t.s.Size() }

// ReadOnly implements [ReadOnlyer].
func (t *Timed) ReadOnly() bool {
	r, ok := t.s.(ReadOnlyer)
	return ok && r.ReadOnly()
}

// Close implements [Store]. What hangs keeps the store within open.
func (t *Timed) Close() error {
	t.mu.Lock()
	late := t.late
	t.mu.Unlock()
	if late > 0 {
		return fmt.Errorf("store: close: %w: %d calls have not ended", ErrUnavailable, late)
	}
	return t.do("close", true, t.s.Close)
}
