package rootfs

import (
	"fmt"
	"io/fs"
	"os"
	"path"

	backend "github.com/diskfs/go-diskfs/backend/file"
	"github.com/diskfs/go-diskfs/filesystem/ext4"
	"github.com/google/uuid"
)

const (
	// blockSize is that of the file systems made here.
	blockSize = 4096

	// maxName is how long a name go-diskfs can write, in bytes; ext4 has room
	// for 255.
	maxName = 244
)

// writeExt4 makes an ext4 file system of size bytes at offset start of f, with
// tree in it. Everything belongs to root.
//
// The feature set is go-diskfs' own (a journal, extents, flex_bg, 64bit) less
// resize_inode, which it cannot lay out with 4 KiB blocks, and with checksums:
// it writes those of inodes anyway, and insists on them when it reads, so a file
// system without the feature is unreadable to it once Linux has written there.
func writeExt4(f *os.File, start, size int64, label string, id uuid.UUID, tree []entry) error {
	filesystem, err := ext4.Create(backend.New(f, false), size, start, sector, &ext4.Params{
		UUID:            &id,
		VolumeName:      label,
		SectorsPerBlock: blockSize / sector,
		Features: []ext4.FeatureOpt{
			ext4.WithFeatureReservedGDTBlocksForExpansion(false),
			ext4.WithFeatureMetadataChecksums(true),
		},
	})
	if err != nil {
		return fmt.Errorf("make an ext4 file system: %w", err)
	}
	// lost+found is first, as e2fsck expects it to be inode 11.
	for _, e := range append([]entry{folder("lost+found", 0o700)}, tree...) {
		if err := e.writeTo(filesystem); err != nil {
			return fmt.Errorf("write /%s: %w", e.path, err)
		}
	}
	return stampExt4(f, start, id, madeAt)
}

func (e entry) writeTo(filesystem *ext4.FileSystem) error {
	if len(path.Base(e.path)) > maxName {
		return fmt.Errorf("a name has at most %d bytes here", maxName)
	}
	switch {
	case e.mode&fs.ModeSymlink != 0:
		return filesystem.Symlink(e.target, e.path)
	case e.mode.IsDir():
		if err := filesystem.Mkdir(e.path); err != nil {
			return err
		}
	default:
		if err := writeFile(filesystem, e.path, e.data); err != nil {
			return err
		}
	}
	return filesystem.Chmod(e.path, e.mode)
}

func writeFile(filesystem *ext4.FileSystem, name string, data []byte) error {
	f, err := filesystem.OpenFile(name, os.O_CREATE|os.O_RDWR)
	if err != nil {
		return err
	}
	if len(data) > 0 {
		if _, err := f.Write(data); err != nil {
			return err
		}
	}
	return f.Close()
}
