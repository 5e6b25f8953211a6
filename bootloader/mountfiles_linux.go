package bootloader

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"

	"golang.org/x/sys/unix"
)

// MountedFiles are the files of a volume that Linux has mounted for us, read-only and without replay of its journal. Links, absolute
// ones too, stay inside.
type MountedFiles struct {
	root newRoot
	dir  string
	kind string // of the file system
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
	return &MountedFiles{root: root, dir: dir, kind: v.FS.Type}, nil
}

// Open opens a file or folder; files of theirs that are open do not outlive Close.
func (m *MountedFiles) Open(name string) (fs.File, error) {
	if !fs.ValidPath(name) {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrInvalid}
	}
	return m.root.open(name)
}

// Rename gives a file another name in its folder, one that is free; the medium has it when Rename returns. The volume is writable
// for as long as that takes. File systems with journals, which are not replayed here, are refused.
func (m *MountedFiles) Rename(name, to string) (err error) {
	if noReplay(m.kind) != "" {
		return fmt.Errorf("rename %s on %s: its file system, %s, is not written to", name, m.dir, m.kind)
	}
	if err := m.remount(0); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.remount(unix.MS_RDONLY)) }()
	folder, err := m.root.open(path.Dir(name))
	if err != nil {
		return err
	}
	defer folder.Close()
	fd := int(folder.Fd())
	if err := unix.Renameat2(fd, path.Base(name), fd, to, unix.RENAME_NOREPLACE); err != nil {
		return &fs.PathError{Op: "rename", Path: path.Join(m.dir, name), Err: err}
	}
	return folder.Sync()
}

func (m *MountedFiles) remount(flags uintptr) error {
	if err := unix.Mount("", m.dir, "", unix.MS_REMOUNT|flags, ""); err != nil {
		return fmt.Errorf("remount %s: %w", m.dir, err)
	}
	return nil
}

// Close unmounts.
func (m *MountedFiles) Close() error {
	err := m.root.Close()
	if uerr := unix.Unmount(m.dir, 0); uerr != nil {
		err = errors.Join(err, fmt.Errorf("unmount %s: %w", m.dir, uerr))
	}
	return err
}
