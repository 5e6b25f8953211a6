package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

func (s *File) setUpOS(opts FileOptions) error {
	s.fd = int(s.f.Fd())
	if !s.regular {
		if ro, err := unix.IoctlGetInt(s.fd, unix.BLKROGET); err == nil && ro != 0 {
			s.readOnly = true
		}
	}
	how := unix.LOCK_EX
	if s.readOnly {
		how = unix.LOCK_SH
	}
	switch err := unix.Flock(s.fd, how|unix.LOCK_NB); {
	case errors.Is(err, unix.EWOULDBLOCK):
		return fmt.Errorf("%w: stop the other user, or serve a copy", ErrLocked)
	case err != nil:
		return fmt.Errorf("lock: %w", err)
	}
	var sfs unix.Statfs_t
	if err := unix.Fstatfs(s.fd, &sfs); err != nil {
		return fmt.Errorf("statfs: %w", err)
	}
	if opts.Direct {
		if err := s.goDirect(); err != nil {
			return fmt.Errorf("direct access: %w", err)
		}
	}
	if opts.Preallocate && s.regular && !s.readOnly {
		if err := unix.Fallocate(s.fd, 0, 0, s.size.Load()); err != nil {
			return fmt.Errorf("preallocate %d bytes: %w", s.size.Load(), err)
		}
	}
	s.cached = s.regular && (sfs.Type == unix.TMPFS_MAGIC || sfs.Type == unix.RAMFS_MAGIC)
	s.nowait = !s.cached && s.direct == nil && s.probeNowait()
	s.punches = !s.readOnly && !opts.Preallocate && s.probePunch()
	s.maps = s.regular
	return nil
}

// directGrain finds out what direct accesses must be multiples of, in the file
// and in memory. A kernel that does not say (before 6.1) is given what is no
// smaller than any device's logical block.
func (s *File) directGrain() (file, memory uint32) {
	var st unix.Statx_t
	err := unix.Statx(s.fd, "", unix.AT_EMPTY_PATH, unix.STATX_DIOALIGN, &st)
	if err != nil || st.Mask&unix.STATX_DIOALIGN == 0 || st.Dio_offset_align == 0 {
		return 4096, 4096
	}
	return st.Dio_offset_align, st.Dio_mem_align
}

// goDirect has all access from here on go past the page cache.
func (s *File) goDirect() error {
	flags, err := unix.FcntlInt(uintptr(s.fd), unix.F_GETFL, 0)
	if err == nil {
		_, err = unix.FcntlInt(uintptr(s.fd), unix.F_SETFL, flags|unix.O_DIRECT)
	}
	if err != nil {
		return fmt.Errorf("%w: the file system does not have it; open the file without", err)
	}
	grain, memory := s.directGrain()
	s.direct = &Aligner{Grain: int64(grain), Memory: uintptr(memory), Reader: s.f, Writer: s.f}
	if err := s.checkSize(s.size.Load()); err != nil || s.size.Load() == 0 {
		return err
	}
	if _, err := s.direct.ReadAt(make([]byte, grain), 0); err != nil {
		return fmt.Errorf("%w: open it without", err)
	}
	return nil
}

// probeNowait finds out whether the file system takes RWF_NOWAIT: most do, NFS
// and some others refuse it.
func (s *File) probeNowait() bool {
	_, err := unix.Preadv2(s.fd, [][]byte{make([]byte, 1)}, 0, unix.RWF_NOWAIT)
	return err == nil || errors.Is(err, unix.EAGAIN)
}

// probePunch finds out whether space can be given back, without changing a
// byte: a file is asked for a hole after its end, a device by its queue limits.
func (s *File) probePunch() bool {
	if s.regular {
		return unix.Fallocate(s.fd, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, s.size.Load(), 4096) == nil
	}
	var st unix.Stat_t
	if err := unix.Fstat(s.fd, &st); err != nil {
		return false
	}
	// A hole in a device is a WRITE ZEROES command that may deallocate; the
	// kernel refuses it where the device has none. A partition has its disk's
	// queue.
	dev := fmt.Sprintf("/sys/dev/block/%d:%d/", unix.Major(st.Rdev), unix.Minor(st.Rdev))
	text, err := os.ReadFile(dev + "queue/write_zeroes_max_bytes")
	if errors.Is(err, fs.ErrNotExist) {
		text, err = os.ReadFile(dev + "../queue/write_zeroes_max_bytes")
	}
	if err != nil {
		return false
	}
	most, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64)
	return err == nil && most > 0
}

// readCached reads what needs no waiting and returns how much that was.
func (s *File) readCached(p []byte, off int64) int {
	n, err := unix.Preadv2(s.fd, [][]byte{p}, off, unix.RWF_NOWAIT)
	if err != nil {
		return 0
	}
	return n
}

func (s *File) punch(off, n int64) error {
	return unix.Fallocate(s.fd, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, off, n)
}

// extent is Map within the file. It leaves the file's offset anywhere: nothing
// here reads or writes by that.
func (s *File) extent(off, n int64) (allocated bool, length int64, err error) {
	data, err := unix.Seek(s.fd, off, unix.SEEK_DATA)
	switch {
	case errors.Is(err, unix.ENXIO): // no data any more
		return false, n, nil
	case err != nil:
		return false, 0, err
	case data > off:
		return false, min(n, data-off), nil
	}
	hole, err := unix.Seek(s.fd, off, unix.SEEK_HOLE)
	if err != nil {
		return false, 0, err
	}
	// The range may have become a hole in between.
	return true, max(1, min(n, hole-off)), nil
}

func (s *File) sync() error { return unix.Fdatasync(s.fd) }
