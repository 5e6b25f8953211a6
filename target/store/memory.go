package store

import "fmt"

// memoryShift makes a Memory's pages 64 KiB: few locks on a long transfer.
const memoryShift = 16

// Memory is a store in memory. It takes memory only for what was written and
// not discarded since, in pages of 64 KiB; Flush does nothing. Make one with
// [NewMemory].
type Memory struct {
	pages *pages
}

// NewMemory returns a Memory of size bytes, all zero. A negative size is none.
func NewMemory(size int64) *Memory {
	return &Memory{newPages(max(size, 0), memoryShift)}
}

func zeroBacking(p []byte, _ int64) error {
	clear(p)
	return nil
}

// ReadAt implements [Store].
func (m *Memory) ReadAt(p []byte, off int64) (int, error) {
	if err := m.pages.read(p, off, zeroBacking); err != nil {
		return 0, fmt.Errorf("memory: read: %w", err)
	}
	return len(p), nil
}

// WriteAt implements [Store].
func (m *Memory) WriteAt(p []byte, off int64) (int, error) {
	if err := m.pages.write(p, off, zeroBacking); err != nil {
		return 0, fmt.Errorf("memory: write: %w", err)
	}
	return len(p), nil
}

// TryReadAt implements [Prompt]; memory never waits.
func (m *Memory) TryReadAt(p []byte, off int64) (int, error) { return m.ReadAt(p, off) }

// TryWriteAt implements [Prompt].
func (m *Memory) TryWriteAt(p []byte, off int64) (int, error) { return m.WriteAt(p, off) }

// Discard implements [Discarder].
func (m *Memory) Discard(off, n int64) error {
	if err := m.pages.zero(off, n, nil); err != nil {
		return fmt.Errorf("memory: discard: %w", err)
	}
	return nil
}

// WriteZeroes implements [ZeroWriter].
func (m *Memory) WriteZeroes(off, n int64) error { return m.Discard(off, n) }

// Map implements [Mapper].
func (m *Memory) Map(off, n int64) (allocated bool, length int64, err error) {
	held, length, err := m.pages.extent(off, n)
	if err != nil {
		return false, 0, fmt.Errorf("memory: map: %w", err)
	}
	return held == pageHeld, length, nil
}

// Size implements [Store].
func (m *Memory) Size() int64 { return m.pages.size }

// Held is the number of bytes of memory that hold written data.
func (m *Memory) Held() int64 { return m.pages.held.Load() }

// Flush implements [Store]; it has nothing to do.
func (m *Memory) Flush() error { return nil }

// Close implements [Store].
func (m *Memory) Close() error { return nil }
