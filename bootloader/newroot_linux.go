package bootloader

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// newRoot is a directory that will become /. Paths are resolved as they will be then: links, absolute ones too, stay inside.
type newRoot struct{ dir *os.File }

func openRoot(dir string) (newRoot, error) {
	f, err := os.OpenFile(dir, unix.O_PATH|unix.O_DIRECTORY, 0)
	return newRoot{f}, err
}

// Close closes the directory.
func (r newRoot) Close() error { return r.dir.Close() }

// open needs openat2, which Linux has since 5.6.
func (r newRoot) open(name string) (*os.File, error) {
	how := unix.OpenHow{Flags: unix.O_RDONLY | unix.O_CLOEXEC | unix.O_NONBLOCK, Resolve: unix.RESOLVE_IN_ROOT}
	fd, err := unix.Openat2(int(r.dir.Fd()), name, &how)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path.Join(r.dir.Name(), name), Err: err}
	}
	return os.NewFile(uintptr(fd), name), nil
}

func (r newRoot) read(name string, limit int64) ([]byte, error) {
	f, err := r.open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, limit))
}

// checkProgram makes sure that exec of name in this root will find an executable regular file and the interpreter it needs.
func (r newRoot) checkProgram(name string) error {
	f, err := r.open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		return fmt.Errorf("%s is not a regular file", name)
	case info.Mode()&0o111 == 0:
		return fmt.Errorf("%s is not executable (mode %v)", name, info.Mode())
	}
	interpreter, err := interpreterOf(f)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if interpreter == "" {
		return nil
	}
	in, err := r.open(interpreter)
	if err != nil {
		return fmt.Errorf("%s needs %s: %w", name, interpreter, err)
	}
	return in.Close()
}

// interpreterOf is the program named after "#!" or in an ELF file's PT_INTERP; empty for a static program.
func interpreterOf(f io.ReaderAt) (string, error) {
	head := make([]byte, 256)
	n, err := f.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return "", err
	}
	head = head[:n]
	if script, ok := bytes.CutPrefix(head, []byte("#!")); ok {
		line, _, _ := bytes.Cut(script, []byte("\n"))
		fields := strings.Fields(string(line))
		if len(fields) == 0 {
			return "", errors.New(`names no interpreter after "#!"`)
		}
		return fields[0], nil
	}
	program, err := elf.NewFile(f)
	if err != nil {
		return "", fmt.Errorf("neither a script nor an ELF program: %w", err)
	}
	for _, p := range program.Progs {
		if p.Type == elf.PT_INTERP && p.Filesz < unix.PathMax {
			b, err := io.ReadAll(p.Open())
			return strings.TrimRight(string(b), "\x00"), err
		}
	}
	return "", nil
}
