package initramfs

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
)

// release is what systemd calls the os-release of an initramfs.
const release = `NAME="bootlun"
ID=bootlun
PRETTY_NAME="bootlun netboot image"
HOME_URL="https://github.com/bootlun/bootlun"
`

// baseFiles are the folders and devices that a Linux system expects.
func baseFiles() []File {
	files := []File{
		{Name: "tmp", Mode: fs.ModeDir | fs.ModeSticky | 0o777},
		{Name: "root", Mode: fs.ModeDir | 0o700},
		{Name: "dev/console", Mode: fs.ModeDevice | fs.ModeCharDevice | 0o600, Major: 5, Minor: 1},
		{Name: "dev/null", Mode: fs.ModeDevice | fs.ModeCharDevice | 0o666, Major: 1, Minor: 3},
		{Name: "etc/initrd-release", Mode: 0o644, Data: []byte(release)},
	}
	for _, dir := range []string{"proc", "sys", "run", "mnt", "var", "newroot"} {
		files = append(files, File{Name: dir, Mode: fs.ModeDir | 0o755})
	}
	return files
}

func link(name, target string) File {
	return File{Name: name, Mode: fs.ModeSymlink | 0o777, Data: []byte(target)}
}

// image is one that is being put together.
type image struct {
	compression Compression
	cache       string
	data        []byte
	manifest    Manifest
}

// add appends an archive. One that is not to be compressed has to begin at a
// multiple of four bytes for the kernel to find it behind one that is.
func (i *image) add(ctx context.Context, compress bool, parts ...[]File) error {
	var files []File
	for _, part := range parts {
		files = append(files, part...)
	}
	files, err := complete(files)
	if err != nil {
		return err
	}
	var raw bytes.Buffer
	if err := WriteArchive(&raw, files); err != nil {
		return err
	}
	for _, f := range files {
		i.manifest.Files = append(i.manifest.Files, ManifestFile{Name: f.Name, Mode: f.Mode, Size: int64(len(f.Data))})
	}
	i.manifest.RawSize += int64(raw.Len())
	data := raw.Bytes()
	if compress {
		if data, err = i.compress(ctx, data); err != nil {
			return err
		}
	} else {
		i.data = append(i.data, make([]byte, -len(i.data)&3)...)
		i.manifest.ModulesAt = int64(len(i.data))
	}
	i.data = append(i.data, data...)
	return nil
}

// compress compresses data, or finds in the cache what came of it before.
func (i *image) compress(ctx context.Context, data []byte) ([]byte, error) {
	key := fmt.Sprintf("%x.%s-%s", sha256.Sum256(data), i.compression, recipe)
	name, err := cached(ctx, i.cache, key, func(file string) error {
		packed, err := i.compression.compress(data)
		if err != nil {
			return err
		}
		return os.WriteFile(file, packed, 0o644)
	})
	if err != nil {
		return nil, err
	}
	return os.ReadFile(name)
}
