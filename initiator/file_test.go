package initiator

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/diskfs/go-diskfs"
	"github.com/diskfs/go-diskfs/backend/file"
	"github.com/diskfs/go-diskfs/disk"
	"github.com/diskfs/go-diskfs/filesystem"

	"github.com/bootlun/bootlun/internal/peers"
)

// go-diskfs makes a file system on a LUN, and reads back what it put there in
// another session.
func TestFileSystem(t *testing.T) {
	g := startTGT(t)
	image := diskFile(t, g.dir, "disk")
	if err := os.Truncate(image, 64<<20); err != nil {
		t.Fatal(err)
	}
	g.target(t, tgtTarget, image)
	want := make([]byte, 300_001)
	pattern(want, 0)

	s := dial(t, g.config(tgtTarget))
	l := openLUN(t, s, 1)
	d, err := diskfs.OpenBackend(file.New(l.File(), false))
	if err != nil {
		t.Fatal(err)
	}
	fsys, err := d.CreateFilesystem(disk.FilesystemSpec{FSType: filesystem.TypeFat32, VolumeLabel: "bootlun"})
	if err != nil {
		t.Fatal(err)
	}
	if err := fsys.Mkdir("/boot"); err != nil {
		t.Fatal(err)
	}
	f, err := fsys.OpenFile("/boot/kernel", os.O_CREATE|os.O_RDWR)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write(want); err != nil {
		t.Fatal(err)
	}
	if err := l.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}

	d, err = diskfs.OpenBackend(file.New(openLUN(t, dial(t, g.config(tgtTarget)), 1).File(), true))
	if err != nil {
		t.Fatal(err)
	}
	if fsys, err = d.GetFilesystem(0); err != nil {
		t.Fatal(err)
	}
	if f, err = fsys.OpenFile("/boot/kernel", os.O_RDONLY); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(f)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("read back %d bytes, %v", len(got), err)
	}
}

// go-diskfs reads an ext4 file system that e2fsprogs made.
func TestFileSystemExt4(t *testing.T) {
	mke2fs := peers.Program(t, "mke2fs", "e2fsprogs")
	g := startTGT(t)
	want := []byte("root=/dev/sda\n")
	tree := filepath.Join(g.dir, "tree")
	if err := os.MkdirAll(filepath.Join(tree, "etc"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(tree, "etc", "settings"), want, 0o600); err != nil {
		t.Fatal(err)
	}
	image := filepath.Join(g.dir, "disk")
	if out, err := exec.Command(mke2fs, "-q", "-t", "ext4", "-d", tree, image, "16M").CombinedOutput(); err != nil {
		t.Fatalf("mke2fs: %v\n%s", err, out)
	}
	g.target(t, tgtTarget, image)
	d, err := diskfs.OpenBackend(file.New(openLUN(t, dial(t, g.config(tgtTarget)), 1).File(), true))
	if err != nil {
		t.Fatal(err)
	}
	fsys, err := d.GetFilesystem(0)
	if err != nil {
		t.Fatal(err)
	}
	f, err := fsys.OpenFile("/etc/settings", os.O_RDONLY)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(f); err != nil || !bytes.Equal(got, want) {
		t.Errorf("read %q, %v", got, err)
	}
}

func TestFile(t *testing.T) {
	targets := newFakes(t, (&zeroDisk{blocks: 100}).serveAll)
	f := openLUN(t, dial(t, targets.config()), 0).File()
	if info, err := f.Stat(); err != nil || info.Size() != 51200 || !info.Mode().IsRegular() || info.Name() != "lun-0" {
		t.Errorf("%+v, %v", info, err)
	}
	for _, c := range []struct {
		offset int64
		whence int
		want   int64
	}{{10, io.SeekStart, 10}, {-5, io.SeekCurrent, 5}, {-100, io.SeekEnd, 51100}, {-1, io.SeekStart, -1}, {0, 7, -1}} {
		if n, err := f.Seek(c.offset, c.whence); (err == nil) != (c.want >= 0) || err == nil && n != c.want {
			t.Errorf("%+v: %d, %v", c, n, err)
		}
	}
	if p, err := io.ReadAll(f); err != nil || len(p) != 100 {
		t.Errorf("read %d bytes, %v", len(p), err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
}
