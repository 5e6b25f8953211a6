package initiator

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sync"
	"time"
)

// File is a LUN with a position, as libraries for disk images want it: an fs.File,
// io.Seeker, io.ReaderAt and io.WriterAt. For go-diskfs:
//
//	disk, err := diskfs.OpenBackend(file.New(lun.File(), readOnly))
//
// Its methods may be called at the same time.
type File struct {
	*LUN
	mu  sync.Mutex
	pos int64
}

// File returns a File at the start of the LUN.
func (l *LUN) File() *File { return &File{LUN: l} }

// Read reads at the position and moves it.
func (f *File) Read(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n, err := f.ReadAt(p, f.pos)
	f.pos += int64(n)
	if n > 0 && err == io.EOF {
		err = nil
	}
	return n, err
}

// Seek moves the position, as io.Seeker says.
func (f *File) Seek(offset int64, whence int) (int64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch whence {
	case io.SeekStart:
	case io.SeekCurrent:
		offset += f.pos
	case io.SeekEnd:
		offset += f.Size()
	default:
		return 0, fmt.Errorf("initiator: seek: unknown whence %d", whence)
	}
	if offset < 0 {
		return 0, errors.New("initiator: seek to before the start")
	}
	f.pos = offset
	return offset, nil
}

// Stat returns the LUN's size as that of a regular file.
func (f *File) Stat() (fs.FileInfo, error) { return fileInfo{f.LUN}, nil }

// Close does nothing: the LUN belongs to its session.
func (f *File) Close() error { return nil }

// fileInfo describes a LUN.
type fileInfo struct{ l *LUN }

func (i fileInfo) Name() string       { return "lun-" + i.l.ID().String() }
func (i fileInfo) Size() int64        { return i.l.Size() }
func (i fileInfo) ModTime() time.Time { return time.Time{} }
func (i fileInfo) IsDir() bool        { return false }
func (i fileInfo) Sys() any           { return nil }

// Mode is that of a regular file, writable if the LUN is.
func (i fileInfo) Mode() fs.FileMode {
	if i.l.protected {
		return 0o400
	}
	return 0o600
}
