package files

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"time"
)

// guarded is an open file.
type guarded struct {
	f    fs.File
	info fs.FileInfo
	at   int64
}

func (g *guarded) Stat() (fs.FileInfo, error) { return g.info, nil }

func (g *guarded) Close() error { return guard(g.f.Close) }

// Read never takes fewer bytes for the end of a file than the file has.
func (g *guarded) Read(p []byte) (n int, err error) {
	if left := g.info.Size() - g.at; left <= 0 {
		return 0, io.EOF
	} else if int64(len(p)) > left {
		p = p[:left]
	}
	err = guard(func() (err error) {
		n, err = g.f.Read(p)
		return err
	})
	g.at += int64(n)
	switch {
	case err != nil && !errors.Is(err, io.EOF):
		return n, err
	case n < len(p):
		return n, fmt.Errorf("%w, or the file has holes: byte %d of %d could not be read", errDamaged, g.at, g.info.Size())
	}
	return n, nil
}

// folder is an open folder. Its content is listed by name.
type folder struct{ name string }

func (d *folder) Stat() (fs.FileInfo, error) { return folderInfo(*d), nil }
func (d *folder) Close() error               { return nil }

func (d *folder) Read([]byte) (int, error) {
	return 0, &fs.PathError{Op: "read", Path: d.name, Err: errors.New("it is a folder")}
}

type folderInfo folder

func (i folderInfo) Name() string     { return i.name }
func (folderInfo) Size() int64        { return 0 }
func (folderInfo) Mode() fs.FileMode  { return fs.ModeDir | 0o555 }
func (folderInfo) ModTime() time.Time { return time.Time{} }
func (folderInfo) IsDir() bool        { return true }
func (folderInfo) Sys() any           { return nil }

func sortEntries(list []fs.DirEntry) {
	slices.SortFunc(list, func(a, b fs.DirEntry) int { return cmp.Compare(a.Name(), b.Name()) })
}

// cache is a volume's bytes. Small reads, of inodes and folders, come out of blocks that have been read whole.
type cache struct {
	r      *io.SectionReader
	blocks map[int64][]byte
}

const (
	cacheBlock = 64 << 10
	maxBlocks  = 256
)

func newCache(r io.ReaderAt, size int64) *cache {
	return &cache{r: io.NewSectionReader(r, 0, size), blocks: make(map[int64][]byte)}
}

func (c *cache) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 || off >= c.r.Size() || int64(len(p)) > c.r.Size()-off {
		return 0, fmt.Errorf("%w: it leads to byte %d of %d", errDamaged, off, c.r.Size())
	}
	number := off / cacheBlock
	if last := (off + int64(len(p)) - 1) / cacheBlock; len(p) >= cacheBlock || last != number {
		return c.r.ReadAt(p, off)
	}
	block, ok := c.blocks[number]
	if !ok {
		start := number * cacheBlock
		block = make([]byte, min(cacheBlock, c.r.Size()-start))
		if n, err := c.r.ReadAt(block, start); n < len(block) {
			return 0, err
		}
		if len(c.blocks) == maxBlocks {
			clear(c.blocks)
		}
		c.blocks[number] = block
	}
	return copy(p, block[off%cacheBlock:]), nil
}

// position makes an fs.File and io.Seeker of bytes, as go-diskfs wants it.
type position struct {
	io.ReaderAt
	size, at int64
}

func (p *position) Read(b []byte) (int, error) {
	n, err := p.ReadAt(b, p.at)
	p.at += int64(n)
	return n, err
}

func (p *position) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += p.at
	case io.SeekEnd:
		offset += p.size
	}
	p.at = offset
	return offset, nil
}

func (p *position) Stat() (fs.FileInfo, error) { return nil, errors.ErrUnsupported }
func (p *position) Close() error               { return nil }
