// Package atomicfile replaces files. It is shared by packages that keep what must
// not be lost, and is too small for anybody else to hold.
package atomicfile

import (
	"errors"
	"os"
	"path/filepath"
)

// Write replaces a file so that whatever happens, its old or its new content is
// there. Only its owner may read it. It returns when the content is on the medium.
func Write(path string, b []byte) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name()) // fails once it is renamed
	_, err = tmp.Write(b)
	if err == nil {
		err = tmp.Sync()
	}
	if err := errors.Join(err, tmp.Close()); err != nil {
		return err
	}
	if err := os.Rename(tmp.Name(), path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}
