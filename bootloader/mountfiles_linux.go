package bootloader

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"golang.org/x/sys/unix"
)

// MountedFiles are the files of a volume that Linux has mounted for us, read-only and without replay of its journal. Links, absolute
// ones too, stay inside.
type MountedFiles struct {
	root newRoot
	dir  string
}

var _ fs.FS = (*MountedFiles)(nil)

// MountFiles mounts a volume on dir, which is made if it does not exist. Close ends it.
func MountFiles(ctx context.Context, v Volume, dir string) (*MountedFiles, error) {
	if err := Mount(ctx, v, dir, MountOptions{Options: noReplay(v.FS.Type)}); err != nil {
		return nil, err
	}
	root, err := openRoot(dir)
	if err != nil {
		return nil, errors.Join(err, unix.Unmount(dir, unix.MNT_DETACH))
	}
	return &MountedFiles{root: root, dir: dir}, nil
}

// Open opens a file or folder; files of theirs that are open do not outlive Close.
func (m *MountedFiles) Open(name string) (fs.File, error) {
	if !fs.ValidPath(name) {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrInvalid}
	}
	return m.root.open(name)
}

// Close unmounts.
func (m *MountedFiles) Close() error {
	err := m.root.Close()
	if uerr := unix.Unmount(m.dir, 0); uerr != nil {
		err = errors.Join(err, fmt.Errorf("unmount %s: %w", m.dir, uerr))
	}
	return err
}
