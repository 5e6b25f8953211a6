package bootloader

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// fiemap is struct fiemap with room for two extents (linux/fiemap.h).
type fiemap struct {
	Start, Length                     uint64
	Flags, Mapped, ExtentCount, Spare uint32
	Extents                           [2]fiemapExtent
}

type fiemapExtent struct {
	Logical, Physical, Length uint64
	_                         [2]uint64
	Flags                     uint32
	_                         [3]uint32
}

const (
	fsIocFiemap       = 0xC020660B // _IOWR('f', 11, struct fiemap)
	fiemapExtentLast  = 0x0001
	fiemapExtentMerge = 0x1000 // the file system keeps blocks and no extents
)

// Place gives where on the volume a file's bytes are, for a file that lies there in one piece, as it is read, and that shares its
// place with no other: neither compressed nor encrypted, preallocated, cloned or kept with its inode. It asks Linux (FIEMAP).
func (m *MountedFiles) Place(name string) (at int64, err error) {
	f, err := m.root.open(name)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	if at, err = place(f); err != nil {
		return 0, &fs.PathError{Op: "place", Path: name, Err: err}
	}
	return at, nil
}

// Forget has Linux read a file anew that was changed on the disk, without its knowledge.
func (m *MountedFiles) Forget(name string) error {
	f, err := m.root.open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED); err != nil {
		return &fs.PathError{Op: "forget", Path: name, Err: err}
	}
	return nil
}

func place(f *os.File) (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	size := uint64(info.Size())
	if size == 0 {
		return 0, errors.New("it is empty")
	}
	asked := fiemap{Length: size, ExtentCount: 2}
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), fsIocFiemap, uintptr(unsafe.Pointer(&asked)))
	runtime.KeepAlive(f)
	if errno != 0 {
		return 0, fmt.Errorf("FIEMAP: %w", errno)
	}
	e := asked.Extents[0]
	switch {
	case asked.Mapped != 1 || e.Logical != 0 || e.Length < size:
		return 0, fmt.Errorf("its %d bytes are not in one piece (%d pieces or more)", size, asked.Mapped)
	case e.Flags&^(fiemapExtentLast|fiemapExtentMerge) != 0:
		return 0, fmt.Errorf("its bytes are not plainly in a place of their own (flags 0x%x of its extent)", e.Flags)
	}
	return int64(e.Physical), nil
}
