package bootloader

import (
	"errors"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
)

// A file gets another name and nothing else changes: the volume is read-only again, and its checker finds nothing wrong.
func TestMountedFilesRename(t *testing.T) {
	needsRoot(t)
	needs(t, "e2fsprogs util-linux", "mke2fs", "e2fsck", "losetup")
	needsDriver(t, "ext2")
	path := image(t, 4<<20)
	run(t, "", "mke2fs", "-q", "-t", "ext2", "-d", tree(t, map[string]string{"a/b+3.conf": "text", "a/other": "x", "link": "->/a"}), path)
	m, err := MountFiles(t.Context(), loopVolume(t, path), filepath.Join(t.TempDir(), "m"))
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Rename("link/b+3.conf", "b+2-1.conf"); err != nil {
		t.Error(err)
	}
	if err := m.Rename("a/b+2-1.conf", "other"); !errors.Is(err, fs.ErrExist) {
		t.Errorf("onto another file: %v", err)
	}
	if err := m.Rename("a/gone", "new"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what is not there: %v", err)
	}
	if text, err := fs.ReadFile(m, "a/b+2-1.conf"); string(text) != "text" || err != nil {
		t.Errorf("under the new name: %q, %v", text, err)
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	run(t, "", "e2fsck", "-fn", path)
}

func TestMountedFilesRenameRefuses(t *testing.T) {
	needsRoot(t)
	needs(t, "e2fsprogs util-linux", "mke2fs", "losetup")
	path := image(t, 4<<20)
	run(t, "", "mke2fs", "-q", "-t", "ext4", "-d", tree(t, map[string]string{"a": "text"}), path)
	m, err := MountFiles(t.Context(), loopVolume(t, path), filepath.Join(t.TempDir(), "m"))
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if err := m.Rename("a", "b"); err == nil || !strings.Contains(err.Error(), "ext4, is not written to") {
		t.Errorf("a file system with a journal: %v", err)
	}
}
