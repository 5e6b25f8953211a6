package initramfs

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
)

// Compression is how an image is packed. The zero value is [Zstd].
type Compression string

const (
	// Zstd boots fastest: about as quick to unpack as gzip, a fifth smaller.
	Zstd Compression = "zstd"
	// Gzip is understood by every kernel.
	Gzip Compression = "gzip"
	// XZ is the smallest and the slowest to unpack, by far.
	XZ Compression = "xz"
	// None is the fastest to unpack and four times as much to load.
	None Compression = "none"
)

// ParseCompression returns the compression of that name; "" is [Zstd].
func ParseCompression(name string) (Compression, error) {
	switch c := Compression(name); c {
	case "":
		return Zstd, nil
	case Zstd, Gzip, XZ, None:
		return c, nil
	}
	return "", fmt.Errorf("compression %q is not one of zstd, gzip, xz, none", name)
}

// compress packs data as the kernel's decompressor of that kind wants it. Equal
// data give equal bytes.
func (c Compression) compress(data []byte) ([]byte, error) {
	var b bytes.Buffer
	w, err := c.writer(&b)
	if err != nil {
		return nil, fmt.Errorf("compressing with %s: %w", c, err)
	}
	if _, err := w.Write(data); err != nil {
		return nil, fmt.Errorf("compressing with %s: %w", c, err)
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("compressing with %s: %w", c, err)
	}
	return b.Bytes(), nil
}

func (c Compression) writer(w io.Writer) (io.WriteCloser, error) {
	switch c {
	case Zstd:
		// The window reaches from one program to the other, which have much in
		// common. Linux takes windows of up to 128 MiB.
		return zstd.NewWriter(w, zstd.WithEncoderLevel(zstd.SpeedBestCompression),
			zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(16<<20))
	case Gzip:
		return gzip.NewWriterLevel(w, gzip.BestCompression)
	case XZ:
		// The kernel knows only the check CRC-32 (Documentation/staging/xz.rst).
		return xz.WriterConfig{CheckSum: xz.CRC32, DictCap: 8 << 20}.NewWriter(w)
	case None:
		return nopCloser{w}, nil
	}
	return nil, fmt.Errorf("unknown compression")
}

type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }
