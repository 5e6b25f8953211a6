package initramfs

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/u-root/u-root/pkg/cpio"
)

// File is one entry of an archive.
type File struct {
	// Name is the path in the archive, without a leading slash.
	Name string
	// Mode holds permissions and type: a regular file, fs.ModeDir,
	// fs.ModeSymlink, or fs.ModeDevice|fs.ModeCharDevice.
	Mode fs.FileMode
	// Data is a regular file's contents or a symbolic link's target.
	Data []byte
	// Major and Minor are a device's numbers.
	Major, Minor uint32
}

// WriteArchive writes files as a cpio archive that Linux takes for its
// initramfs (format newc). Folders that are missing are added. Equal files give
// equal bytes, in whatever order they come: entries are sorted, belong to root,
// and have no times. Two files of one name are an error.
func WriteArchive(w io.Writer, files []File) error {
	files, err := complete(files)
	if err != nil {
		return fmt.Errorf("writing archive: %w", err)
	}
	out := bufio.NewWriter(w)
	records := cpio.Newc.Writer(out)
	for i, f := range files {
		r, err := f.record()
		if err == nil {
			r.Ino = uint64(i + 1)
			err = records.WriteRecord(r)
		}
		if err != nil {
			return fmt.Errorf("writing archive: %s: %w", f.Name, err)
		}
	}
	if err := cpio.WriteTrailer(records); err != nil {
		return fmt.Errorf("writing archive: %w", err)
	}
	return out.Flush()
}

// complete returns the files sorted, with all folders above them.
func complete(files []File) ([]File, error) {
	have := make(map[string]File)
	for _, f := range files {
		if !fs.ValidPath(f.Name) || f.Name == "." {
			return nil, fmt.Errorf("%q is no relative path", f.Name)
		}
		if old, ok := have[f.Name]; ok && !(old.Mode.IsDir() && f.Mode.IsDir()) {
			return nil, fmt.Errorf("%s is there twice", f.Name)
		}
		have[f.Name] = f
	}
	for name := range have {
		for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
			above, ok := have[dir]
			if ok && !above.Mode.IsDir() {
				return nil, fmt.Errorf("%s is no folder but has %s below it", dir, name)
			}
			if !ok {
				have[dir] = File{Name: dir, Mode: fs.ModeDir | 0o755}
			}
		}
	}
	all := make([]File, 0, len(have))
	for _, f := range have {
		all = append(all, f)
	}
	slices.SortFunc(all, func(a, b File) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
}

// record makes the archive's record of a file.
func (f File) record() (cpio.Record, error) {
	r := cpio.Record{Info: cpio.Info{Name: f.Name, NLink: 1, Mode: uint64(f.Mode.Perm())}}
	switch f.Mode.Type() {
	case 0:
		r.Mode |= cpio.S_IFREG
	case fs.ModeSymlink:
		r.Mode = cpio.S_IFLNK | 0o777
	case fs.ModeDir:
		r.Mode |= cpio.S_IFDIR
		r.NLink = 2
		if f.Mode&fs.ModeSticky != 0 {
			r.Mode |= cpio.S_ISVTX
		}
		return r, nil
	case fs.ModeDevice | fs.ModeCharDevice:
		r.Mode |= cpio.S_IFCHR
		r.Rmajor, r.Rminor = uint64(f.Major), uint64(f.Minor)
		return r, nil
	default:
		return r, fmt.Errorf("an archive of ours holds no %v", f.Mode.Type())
	}
	r.ReaderAt, r.FileSize = bytes.NewReader(f.Data), uint64(len(f.Data))
	return r, nil
}

// readArchive reads the regular files, folders, links and character devices of
// a cpio archive (format newc, not compressed), except the root folder.
func readArchive(r io.ReaderAt) ([]File, error) {
	var files []File
	err := cpio.ForEachRecord(cpio.Newc.Reader(r), func(r cpio.Record) error {
		f, err := fileOf(r)
		if err == nil && f.Name != "." {
			files = append(files, f)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("reading archive: %w", err)
	}
	return files, nil
}

func fileOf(r cpio.Record) (File, error) {
	f := File{Name: r.Name, Mode: fs.FileMode(r.Mode & 0o777)}
	switch r.Mode & cpio.S_IFMT {
	case cpio.S_IFREG:
	case cpio.S_IFLNK:
		f.Mode = fs.ModeSymlink | 0o777
	case cpio.S_IFDIR:
		f.Mode |= fs.ModeDir
		if r.Mode&cpio.S_ISVTX != 0 {
			f.Mode |= fs.ModeSticky
		}
		return f, nil
	case cpio.S_IFCHR:
		f.Mode |= fs.ModeDevice | fs.ModeCharDevice
		f.Major, f.Minor = uint32(r.Rmajor), uint32(r.Rminor)
		return f, nil
	default:
		return f, fmt.Errorf("%s: unknown type in mode %#o", r.Name, r.Mode)
	}
	var err error
	f.Data, err = io.ReadAll(io.NewSectionReader(r, 0, int64(r.FileSize)))
	if err == nil && uint64(len(f.Data)) != r.FileSize {
		err = fmt.Errorf("%s: %w", r.Name, io.ErrUnexpectedEOF)
	}
	return f, err
}
