package entries

import (
	"bytes"
	"debug/pe"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// Image is what an entry starts, in memory.
type Image struct {
	Kernel, Initramfs []byte
	Cmdline           string
	// Hypervisor and Modules are the files of an entry's Hypervisor; empty if it has none.
	Hypervisor []byte
	Modules    [][]byte
}

// Size is how many bytes all its files have.
func (img Image) Size() int64 {
	n := len(img.Kernel) + len(img.Initramfs) + len(img.Hypervisor)
	for _, m := range img.Modules {
		n += len(m)
	}
	return int64(n)
}

// LoadOptions bound and report the reading of an entry's files.
type LoadOptions struct {
	// Limit is how many bytes kernel and initramfs may have together; 0 is 2 GiB.
	Limit int64
	// Progress is told, unless nil, how many of how many bytes have been read.
	Progress func(done, total int64)
}

// ErrNotKernel marks files that are no bzImage.
var ErrNotKernel = errors.New("it is no bzImage")

// Load reads the entry's files. A unified image is taken apart.
func (e *Entry) Load(o LoadOptions) (Image, error) {
	if e.Err != nil {
		return Image{}, fmt.Errorf("load %q: %w", e, e.Err)
	}
	if o.Limit == 0 {
		o.Limit = 2 << 30
	}
	img, err := e.load(o)
	if err != nil {
		return Image{}, fmt.Errorf("load %q: %w", e, err)
	}
	if err := checkKernel(img.Kernel); err != nil {
		return Image{}, fmt.Errorf("load %q: %s: %w", e, e.Kernel, err)
	}
	return img, nil
}

func (e *Entry) load(o LoadOptions) (Image, error) {
	files := append([]File{e.Kernel}, e.Initramfs...)
	if e.Hypervisor != nil {
		files = append(append(files, e.Hypervisor.File), e.Hypervisor.Modules...)
	}
	total, err := sizes(files)
	if err != nil {
		return Image{}, err
	}
	if total > o.Limit {
		return Image{}, fmt.Errorf("%w: kernel and initramfs have %d MiB, this machine has room for %d", ErrTooLarge, total>>20, o.Limit>>20)
	}
	read := reader{total: total, progress: o.Progress}
	img := Image{Cmdline: e.Cmdline}
	if img.Kernel, err = read.append(nil, e.Kernel); err != nil {
		return Image{}, err
	}
	if e.Unified {
		if img, err = splitUnified(img.Kernel, e.Cmdline); err != nil {
			return Image{}, fmt.Errorf("%s: %w", e.Kernel, err)
		}
	}
	for _, f := range e.Initramfs {
		// Linux looks for each archive at a multiple of four bytes.
		img.Initramfs = append(img.Initramfs, make([]byte, -len(img.Initramfs)&3)...)
		if img.Initramfs, err = read.append(img.Initramfs, f); err != nil {
			return Image{}, err
		}
	}
	if e.Hypervisor == nil {
		return img, nil
	}
	if img.Hypervisor, err = read.append(nil, e.Hypervisor.File); err != nil {
		return Image{}, err
	}
	for _, f := range e.Hypervisor.Modules {
		data, err := read.append(nil, f)
		if err != nil {
			return Image{}, err
		}
		img.Modules = append(img.Modules, data)
	}
	return img, nil
}

// sizes adds up the sizes of files, which shows which of them are missing before the first is read.
func sizes(files []File) (total int64, err error) {
	for _, f := range files {
		file, err := f.Volume.Files.Open(inFS(f.Path))
		if err != nil {
			return 0, fmt.Errorf("open %s: %w", f, err)
		}
		info, err := file.Stat()
		file.Close()
		switch {
		case err != nil:
			return 0, fmt.Errorf("%s: %w", f, err)
		case info.IsDir() || info.Size() <= 0 || info.Size() > 1<<40:
			return 0, fmt.Errorf("%s: a file of %d bytes cannot be what it should be", f, info.Size())
		}
		total += info.Size()
	}
	return total, nil
}

// reader reads files in large pieces, and tells how far it is.
type reader struct {
	done, total int64
	progress    func(done, total int64)
}

// piece is large enough to keep a network busy.
const piece = 4 << 20

func (r *reader) append(dst []byte, f File) ([]byte, error) {
	file, err := f.Volume.Files.Open(inFS(f.Path))
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", f, err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f, err)
	}
	start := len(dst)
	dst = append(dst, make([]byte, info.Size())...)
	for at := start; at < len(dst); {
		n, err := readFull(file, dst[at:min(at+piece, len(dst))])
		if n == 0 {
			return nil, fmt.Errorf("read %s: after %d of %d bytes: %w", f, at-start, info.Size(), err)
		}
		at += n
		r.done += int64(n)
		if r.progress != nil {
			r.progress(r.done, r.total)
		}
	}
	return dst, nil
}

// readFull is io.ReadFull with an error whenever less came.
func readFull(r io.Reader, b []byte) (int, error) {
	n, err := io.ReadFull(r, b)
	if n == len(b) {
		return n, nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// checkKernel looks for the boot signature and "HdrS" (Linux's Documentation/arch/x86/boot).
func checkKernel(b []byte) error {
	if len(b) < 0x400 || b[0x1FE] != 0x55 || b[0x1FF] != 0xAA || string(b[0x202:0x206]) != "HdrS" {
		return ErrNotKernel
	}
	return nil
}

// splitUnified takes a unified kernel image apart (UAPI.5): the PE sections .linux, .initrd, .cmdline, of several profiles those of
// the first. more goes behind the image's own command line.
func splitUnified(b []byte, more string) (Image, error) {
	f, err := pe.NewFile(bytes.NewReader(b))
	if err != nil {
		return Image{}, fmt.Errorf("no unified kernel image: %w", err)
	}
	var img Image
	profiles := 0
	for _, s := range f.Sections {
		if s.Name == ".profile" {
			profiles++
		}
		if profiles > 1 {
			break
		}
		data, err := section(b, s)
		if err != nil {
			return Image{}, err
		}
		switch s.Name {
		case ".linux":
			img.Kernel = data
		case ".initrd":
			img.Initramfs = append(img.Initramfs, data...)
		case ".ucode": // comes before everything else, and what follows it at a multiple of four bytes
			img.Initramfs = slices.Concat(data, make([]byte, -len(data)&3), img.Initramfs)
		case ".cmdline":
			img.Cmdline = strings.TrimSpace(strings.TrimRight(string(data), "\x00"))
		}
	}
	if img.Kernel == nil {
		return Image{}, errors.New("no unified kernel image: it has no section .linux")
	}
	img.Cmdline = strings.TrimSpace(img.Cmdline + " " + more)
	return img, nil
}

// section is a section's content without the padding of the file.
func section(b []byte, s *pe.Section) ([]byte, error) {
	size := s.Size
	if s.VirtualSize != 0 {
		size = min(size, s.VirtualSize)
	}
	start, end := int64(s.Offset), int64(s.Offset)+int64(size)
	if end > int64(len(b)) {
		return nil, fmt.Errorf("its section %s lies outside the file", s.Name)
	}
	return b[start:end:end], nil
}
