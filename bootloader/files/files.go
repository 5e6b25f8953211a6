package files

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"

	"github.com/diskfs/go-diskfs/backend/file"
	"github.com/diskfs/go-diskfs/filesystem/ext4"
	"github.com/diskfs/go-diskfs/filesystem/fat32"

	"github.com/bootlun/bootlun/bootloader"
)

// ErrUnsupported marks volumes whose file system this package does not read.
var ErrUnsupported = errors.New("this file system cannot be read without mounting it")

// errDamaged marks what made the library fail.
var errDamaged = errors.New("the file system is damaged")

// Open gives the files of a volume of disk. The disk must stay open as long as they are used. Files are read-only and may be used
// by one goroutine at a time.
func Open(disk bootloader.Disk, v bootloader.Volume) (fs.FS, error) {
	r := newCache(v.Reader(disk), v.Size)
	if err := plausible(r, v); err != nil {
		return nil, fmt.Errorf("files of %s: %w", v.Name, err)
	}
	t := &tree{fold: v.FS.Type == "vfat", folders: make(map[string]map[string]fs.DirEntry)}
	storage := file.New(&position{ReaderAt: r, size: v.Size}, true)
	err := guard(func() (err error) {
		if t.fold {
			t.lib, err = fat32.Read(storage, v.Size, 0, 512)
			return err
		}
		t.lib, err = ext4.Read(storage, v.Size, 0, 512)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("files of %s: %w", v.Name, err)
	}
	return t, nil
}

// plausible checks what the library would allocate memory by.
func plausible(r io.ReaderAt, v bootloader.Volume) error {
	head := make([]byte, 2048)
	if _, err := r.ReadAt(head, 0); err != nil {
		return err
	}
	le := binary.LittleEndian
	switch v.FS.Type {
	case "ext2", "ext3", "ext4": // kernel documentation, ext4/globals, "Super Block"
		sb := head[1024:]
		blocks := uint64(le.Uint32(sb[4:]))
		if le.Uint32(sb[0x60:])&0x80 != 0 { // 64bit
			blocks |= uint64(le.Uint32(sb[0x150:])) << 32
		}
		shift, perGroup := le.Uint32(sb[0x18:]), le.Uint32(sb[0x20:])
		if shift > 6 || blocks == 0 || blocks > uint64(v.Size)>>(10+shift) || perGroup < 8 || le.Uint32(sb[0x28:]) == 0 ||
			le.Uint16(sb[0xFE:]) > 1024 || uint64(perGroup) > 8<<(10+shift) {
			return fmt.Errorf("%w: the superblock does not fit its volume", errDamaged)
		}
	case "vfat": // Microsoft's FAT specification 1.03, "BPB"
		sector, fat := uint64(le.Uint16(head[11:])), uint64(le.Uint32(head[36:]))
		if le.Uint16(head[22:]) != 0 {
			return fmt.Errorf("%w (FAT12 or FAT16)", ErrUnsupported)
		}
		if sector*fat > min(uint64(v.Size)/2, 64<<20) || fat == 0 {
			return fmt.Errorf("%w: its tables do not fit the volume", errDamaged)
		}
	default:
		return fmt.Errorf("%w (%s)", ErrUnsupported, v)
	}
	return nil
}

// guard turns a panic of the library, which trusts what it reads, into an error.
func guard(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", errDamaged, p)
		}
	}()
	return f()
}

// library is what there is of go-diskfs's file systems.
type library interface {
	Open(name string) (fs.File, error)
	ReadDir(name string) ([]fs.DirEntry, error)
}

// tree is a file system.
type tree struct {
	lib     library
	fold    bool // names are the same in upper and lower case
	folders map[string]map[string]fs.DirEntry
}

var _ fs.ReadDirFS = (*tree)(nil)

// maxLinks is how many links lead to a file, at most (Linux: path_resolution(7)).
const maxLinks = 40

// Open opens a file, or a folder for Stat.
func (t *tree) Open(name string) (fs.File, error) {
	real, entry, err := t.find("open", name)
	if err != nil {
		return nil, err
	}
	var info fs.FileInfo
	var f fs.File
	err = guard(func() (err error) {
		if entry == nil {
			return nil
		}
		if info, err = entry.Info(); err != nil || info.IsDir() {
			return err
		}
		f, err = t.lib.Open(real)
		return err
	})
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	if entry == nil || info.IsDir() {
		return &folder{name: path.Base(real)}, nil
	}
	// The library reads what comes after a hole in its place. Links and special files have no blocks either.
	if st, ok := info.Sys().(*ext4.StatT); ok && int64(st.Blocks)*512 < info.Size() {
		f.Close()
		return nil, &fs.PathError{Op: "open", Path: name, Err: fmt.Errorf("%w: the file has holes", ErrUnsupported)}
	}
	return &guarded{f: f, info: info}, nil
}

// ReadDir lists a folder.
func (t *tree) ReadDir(name string) ([]fs.DirEntry, error) {
	real, _, err := t.find("readdir", name)
	if err != nil {
		return nil, err
	}
	byName, err := t.list(real)
	if err != nil {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: err}
	}
	list := make([]fs.DirEntry, 0, len(byName))
	for _, e := range byName {
		list = append(list, e)
	}
	sortEntries(list)
	return list, nil
}

// find follows links from the root. entry is nil for the root itself.
func (t *tree) find(op, name string) (real string, entry fs.DirEntry, err error) {
	fail := func(err error) (string, fs.DirEntry, error) {
		return "", nil, &fs.PathError{Op: op, Path: name, Err: err}
	}
	if !fs.ValidPath(name) {
		return fail(fs.ErrInvalid)
	}
	real, rest, links := ".", name, 0
	for rest != "" && rest != "." {
		var part string
		part, rest, _ = strings.Cut(rest, "/")
		byName, err := t.list(real)
		if err != nil {
			return fail(err)
		}
		if t.fold {
			part = strings.ToLower(part)
		}
		entry = byName[part]
		if entry == nil {
			return fail(fs.ErrNotExist)
		}
		if entry.Type()&fs.ModeSymlink == 0 {
			real = path.Join(real, entry.Name())
			continue
		}
		if links++; links > maxLinks {
			return fail(errors.New("too many links lead to one another"))
		}
		target, err := t.link(path.Join(real, entry.Name()))
		if err != nil {
			return fail(err)
		}
		if !strings.HasPrefix(target, "/") {
			target = path.Join("/", real, target)
		}
		real, rest, entry = ".", strings.Trim(path.Join("/", target, rest), "/"), nil
	}
	return real, entry, nil
}

func (t *tree) link(name string) (target string, err error) {
	l, ok := t.lib.(interface{ ReadLink(string) (string, error) })
	if !ok {
		return "", ErrUnsupported
	}
	err = guard(func() (err error) {
		target, err = l.ReadLink(name)
		return err
	})
	return target, err
}

// list reads a folder once.
func (t *tree) list(dir string) (map[string]fs.DirEntry, error) {
	if byName, ok := t.folders[dir]; ok {
		return byName, nil
	}
	var list []fs.DirEntry
	err := guard(func() (err error) {
		list, err = t.lib.ReadDir(dir)
		return err
	})
	if err != nil {
		return nil, err
	}
	byName := make(map[string]fs.DirEntry, len(list))
	for _, e := range list {
		name := e.Name()
		if t.fold {
			name = strings.ToLower(name)
		}
		byName[name] = e
	}
	t.folders[dir] = byName
	return byName, nil
}
