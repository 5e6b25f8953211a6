package nbd

import (
	"errors"
	"fmt"

	"github.com/bootlun/bootlun/target/store"
)

// rawReader and rawWriter take what the server's blocks are aligned to.
type (
	rawReader struct{ s *Store }
	rawWriter struct{ s *Store }
)

// ReadAt implements [io.ReaderAt].
func (r rawReader) ReadAt(p []byte, off int64) (int, error) {
	return r.s.move(cmdRead, 0, p, off)
}

// WriteAt implements [io.WriterAt].
func (w rawWriter) WriteAt(p []byte, off int64) (int, error) {
	return w.s.move(cmdWrite, 0, p, off)
}

// move reads or writes in requests of a size that the server takes.
func (s *Store) move(cmd command, flags uint16, p []byte, off int64) (done int, err error) {
	for done < len(p) {
		n := min(int64(len(p)-done), s.export.maximum)
		r := s.requests.get(cmd, off+int64(done), n, p[done:][:n])
		r.flags = flags
		err := s.call(r)
		s.requests.put(r)
		if err != nil {
			return done, err
		}
		done += int(n)
	}
	return done, nil
}

// ReadAt implements [store.Store].
func (s *Store) ReadAt(p []byte, off int64) (n int, err error) {
	if err := s.check(off, int64(len(p)), false); err != nil {
		return 0, s.fail("read", err)
	}
	if s.align != nil {
		n, err = s.align.ReadAt(p, off)
	} else {
		n, err = s.move(cmdRead, 0, p, off)
	}
	return n, s.fail("read", err)
}

// WriteAt implements [store.Store].
func (s *Store) WriteAt(p []byte, off int64) (int, error) {
	if err := s.check(off, int64(len(p)), true); err != nil {
		return 0, s.fail("write", err)
	}
	n, err := s.write(p, off)
	return n, s.fail("write", err)
}

func (s *Store) write(p []byte, off int64) (int, error) {
	if s.align != nil {
		return s.align.WriteAt(p, off)
	}
	return s.move(cmdWrite, 0, p, off)
}

// WriteDurable implements [store.DurableWriter], by NBD_CMD_FLAG_FUA where the
// server has it.
func (s *Store) WriteDurable(p []byte, off int64) (int, error) {
	if !s.export.flags.has(sendFUA) || s.align != nil {
		n, err := s.WriteAt(p, off)
		if err == nil {
			err = s.Flush()
		}
		return n, err
	}
	if err := s.check(off, int64(len(p)), true); err != nil {
		return 0, s.fail("write", err)
	}
	n, err := s.move(cmdWrite, flagFUA, p, off)
	return n, s.fail("write", err)
}

// Flush implements [store.Store].
func (s *Store) Flush() error {
	if s.readOnly || !s.export.flags.has(sendFlush) {
		return nil
	}
	return s.fail("flush", s.flush())
}

// flush fails for good with its first failure: what the server has then lost
// cannot be known. That it is away is no such failure, as nothing is forgotten.
func (s *Store) flush() error {
	s.mu.Lock()
	err := s.flushErr
	s.mu.Unlock()
	if err != nil {
		return err
	}
	r := s.requests.get(cmdFlush, 0, 0, nil)
	err = s.call(r)
	s.requests.put(r)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil && !errors.Is(err, store.ErrUnavailable) && s.life.Err() == nil && s.flushErr == nil {
		s.flushErr = fmt.Errorf("%w: writes may be lost", err)
	}
	if s.flushErr != nil {
		return s.flushErr
	}
	return err
}

// Discard implements [store.Discarder]: the server may punch a hole, and
// answers for the zeros.
func (s *Store) Discard(off, n int64) error {
	if err := s.check(off, n, true); err != nil {
		return s.fail("discard", err)
	}
	if !s.export.flags.has(sendWriteZeros) {
		return s.fail("discard", errors.ErrUnsupported)
	}
	return s.fail("discard", s.zero(off, n))
}

// WriteZeroes implements [store.ZeroWriter].
func (s *Store) WriteZeroes(off, n int64) error {
	if err := s.check(off, n, true); err != nil {
		return s.fail("zero", err)
	}
	if !s.export.flags.has(sendWriteZeros) {
		return s.fail("zero", s.writeZeros(off, n))
	}
	return s.fail("zero", s.zero(off, n))
}

// zero clears whole blocks by command and what is left at either end by writing.
func (s *Store) zero(off, n int64) error {
	if s.align == nil {
		return s.zeroBlocks(off, n)
	}
	grain, end := s.align.Grain, off+n
	from, to := (off+grain-1)&^(grain-1), end&^(grain-1)
	if from >= to {
		return s.writeZeros(off, n)
	}
	err := s.align.Whole(func() error { return s.zeroBlocks(from, to-from) })
	return errors.Join(err, s.writeZeros(off, from-off), s.writeZeros(to, end-to))
}

func (s *Store) zeroBlocks(off, n int64) error {
	for n > 0 {
		r := s.requests.get(cmdWriteZeroes, off, min(n, maxZeroes), nil)
		err := s.call(r)
		off, n = off+r.n, n-r.n
		s.requests.put(r)
		if err != nil {
			return err
		}
	}
	return nil
}

// writeZeros clears without the server's help.
func (s *Store) writeZeros(off, n int64) error {
	zeros := make([]byte, min(n, 1<<20))
	for n > 0 {
		done, err := s.write(zeros[:min(n, int64(len(zeros)))], off)
		if err != nil {
			return err
		}
		off, n = off+int64(done), n-int64(done)
	}
	return nil
}

// Map implements [store.Mapper] by base:allocation.
func (s *Store) Map(off, n int64) (allocated bool, length int64, err error) {
	if err := s.check(off, n, false); err != nil {
		return false, 0, s.fail("map", err)
	}
	if !s.export.maps {
		return false, 0, s.fail("map", errors.ErrUnsupported)
	}
	grain := s.export.minimum
	from := off &^ (grain - 1)
	want := min(off+n-from, maxExtent)
	r := s.requests.get(cmdBlockStatus, from, (want+grain-1)&^(grain-1), nil)
	r.flags = flagReqOne
	err = s.call(r)
	state, got := r.state, r.length
	s.requests.put(r)
	if err != nil {
		return false, 0, s.fail("map", err)
	}
	allocated = state&(stateHole|stateZero) != stateHole|stateZero
	return allocated, max(1, min(n, from+got-off)), nil
}

// maxExtent is how far a request for the map looks: what its length can say.
const maxExtent = 1 << 31

// check refuses what no request is needed for.
func (s *Store) check(off, n int64, change bool) error {
	size := s.size.Load()
	switch {
	case change && s.readOnly:
		return store.ErrReadOnly
	case off < 0 || n < 0 || off > size || n > size-off:
		return fmt.Errorf("%d bytes at offset %d of %d: %w", n, off, size, store.ErrOutOfRange)
	}
	return nil
}
