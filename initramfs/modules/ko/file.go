package ko

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
)

// maxModule bounds one module, decompressed, in bytes: far above the largest
// (amdgpu, about 25 MB), far below what would hurt.
const maxModule = 256 << 20

// ErrTooLarge tells that a compressed module is larger than any real one.
var ErrTooLarge = errors.New("module larger than 256 MiB")

// suffixes are the endings of module files.
var suffixes = [...]string{".ko", ".ko.gz", ".ko.xz", ".ko.zst"}

// ReadFile returns the contents of a module file, decompressed if its name
// ends in .gz, .xz or .zst.
func ReadFile(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := decompress(f, filepath.Ext(name), maxModule)
	if err != nil {
		return nil, fmt.Errorf("reading module %s: %w", name, err)
	}
	return data, nil
}

// decompress reads at most limit bytes.
func decompress(r io.Reader, ext string, limit int64) ([]byte, error) {
	switch ext {
	case ".gz":
		z, err := gzip.NewReader(r)
		if err != nil {
			return nil, err
		}
		r = z
	case ".xz":
		z, err := xz.NewReader(r)
		if err != nil {
			return nil, err
		}
		r = z
	case ".zst":
		z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(uint64(limit)))
		if err != nil {
			return nil, err
		}
		defer z.Close()
		r = z
	}
	var b bytes.Buffer
	n, err := io.Copy(&b, io.LimitReader(r, limit+1))
	if err == nil && n > limit {
		err = ErrTooLarge
	}
	return b.Bytes(), err
}

// modinfoOf reads the .modinfo section of a module file, of a plain one
// without reading the rest.
func modinfoOf(name string) ([]byte, error) {
	if filepath.Ext(name) != ".ko" {
		data, err := ReadFile(name)
		if err != nil {
			return nil, err
		}
		return readModinfo(bytes.NewReader(data))
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readModinfo(f)
}
