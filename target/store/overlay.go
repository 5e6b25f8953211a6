package store

import (
	"fmt"
	"io"
)

// overlayShift makes an Overlay's pages 4 KiB, a file system's block: one
// written block costs one block.
const overlayShift = 12

// Base is what lies under an [Overlay]: every Store is one, and so are
// [io.SectionReader] and [bytes.Reader].
type Base interface {
	io.ReaderAt
	Size() int64
}

// Overlay is a store that reads from a base and keeps what is written, block by
// block, in memory. The base is never written. Flush does nothing: the writes
// are gone when the Overlay is. Make one with [NewOverlay].
type Overlay struct {
	base  Base
	pages *pages
	wait  backing // reads the base
	try   backing // reads the base if that needs no waiting
}

// NewOverlay returns an Overlay of base, which must not change while the Overlay
// is used and may lie under any number of them. Closing the Overlay does not
// close the base.
func NewOverlay(base Base) *Overlay {
	o := &Overlay{base: base, pages: newPages(base.Size(), overlayShift)}
	o.wait = o.readBase
	o.try = func([]byte, int64) error { return ErrWouldBlock }
	if p, ok := base.(Prompt); ok {
		o.try = func(b []byte, off int64) error {
			_, err := p.TryReadAt(b, off)
			return err
		}
	}
	return o
}

func (o *Overlay) readBase(p []byte, off int64) error {
	n, err := o.base.ReadAt(p, off)
	if n == len(p) { // io.ReaderAt may say io.EOF with the last byte
		return nil
	}
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("base: %d bytes at %d: %w", len(p), off, err)
}

// ReadAt implements [Store].
func (o *Overlay) ReadAt(p []byte, off int64) (int, error) { return o.read(p, off, o.wait) }

// TryReadAt implements [Prompt]: it waits only for a base that is not Prompt.
func (o *Overlay) TryReadAt(p []byte, off int64) (int, error) { return o.read(p, off, o.try) }

// WriteAt implements [Store].
func (o *Overlay) WriteAt(p []byte, off int64) (int, error) { return o.write(p, off, o.wait) }

// TryWriteAt implements [Prompt].
func (o *Overlay) TryWriteAt(p []byte, off int64) (int, error) { return o.write(p, off, o.try) }

func (o *Overlay) read(p []byte, off int64, b backing) (int, error) {
	if err := o.pages.read(p, off, b); err != nil {
		return 0, fmt.Errorf("overlay: read: %w", err)
	}
	return len(p), nil
}

func (o *Overlay) write(p []byte, off int64, b backing) (int, error) {
	if err := o.pages.write(p, off, b); err != nil {
		return 0, fmt.Errorf("overlay: write: %w", err)
	}
	return len(p), nil
}

// Discard implements [Discarder]: the range reads as zeros, not as the base.
func (o *Overlay) Discard(off, n int64) error {
	if err := o.pages.zero(off, n, o.wait); err != nil {
		return fmt.Errorf("overlay: discard: %w", err)
	}
	return nil
}

// WriteZeroes implements [ZeroWriter].
func (o *Overlay) WriteZeroes(off, n int64) error { return o.Discard(off, n) }

// Map implements [Mapper]. What is not in memory is as the base says.
func (o *Overlay) Map(off, n int64) (allocated bool, length int64, err error) {
	state, length, err := o.pages.extent(off, n)
	base, ok := o.base.(Store)
	switch {
	case err == nil && state == pageAbsent && ok:
		allocated, length, err = Map(base, off, length)
	case err == nil:
		allocated = state != pageBlank // a base that is no Store may hold anything
	}
	if err != nil {
		return false, 0, fmt.Errorf("overlay: map: %w", err)
	}
	return allocated, length, nil
}

// Size implements [Store]; it is the base's.
func (o *Overlay) Size() int64 { return o.pages.size }

// Held is the number of bytes of memory that differ from the base.
func (o *Overlay) Held() int64 { return o.pages.held.Load() }

// Flush implements [Store]; it has nothing to do.
func (o *Overlay) Flush() error { return nil }

// Close implements [Store]. The base stays open.
func (o *Overlay) Close() error { return nil }
