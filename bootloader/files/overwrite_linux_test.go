package files

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/bootlun/bootlun/bootloader"
)

// loopVolume is a new file system with a file on a loop device, and its image.
func loopVolume(t *testing.T, kind, name string, content []byte) (image string, disk bootloader.Disk, v bootloader.Volume) {
	t.Helper()
	if known, err := os.ReadFile("/proc/filesystems"); err != nil || !strings.Contains(string(known), "\t"+kind+"\n") || os.Geteuid() != 0 {
		t.Skipf("SKIP: needs root and a kernel with a driver for %s", kind)
	}
	image = filepath.Join(t.TempDir(), kind+".img")
	if err := os.WriteFile(image, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(image, 320<<20); err != nil {
		t.Fatal(err)
	}
	command(t, "mkfs."+kind, "-q", image)
	out, err := exec.Command("losetup", "--find", "--show", image).Output()
	if err != nil {
		t.Skipf("SKIP: needs a loop device: %v", err)
	}
	loop := strings.TrimSpace(string(out))
	t.Cleanup(func() { exec.Command("losetup", "--detach", loop).Run() })
	disk, _, v = volumeOf(t, image)
	v.Name = filepath.Base(loop)
	dir := t.TempDir()
	if err := bootloader.Mount(t.Context(), v, dir, bootloader.MountOptions{ReadWrite: true}); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.WriteFile(filepath.Join(dir, name), content, 0o644), unix.Unmount(dir, 0)); err != nil {
		t.Fatal(err)
	}
	return image, disk, v
}

// mounted gives the files as those are of volumes that only Linux reads.
func mounted(t *testing.T, v bootloader.Volume, use func(m *bootloader.MountedFiles)) {
	t.Helper()
	m, err := bootloader.MountFiles(t.Context(), v, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	use(m)
	if err := m.Close(); err != nil {
		t.Error(err)
	}
}

// writes notes what is written where.
type writes struct {
	*os.File
	at   []int64
	size int
}

func (w *writes) WriteAt(b []byte, at int64) (int, error) {
	w.at, w.size = append(w.at, at), w.size+len(b)
	return w.File.WriteAt(b, at)
}

func openToWrite(t *testing.T, image string) *writes {
	t.Helper()
	f, err := os.OpenFile(image, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return &writes{File: f}
}

// On a file system that Linux reads for us, a file is overwritten where Linux says that it is, and nothing else is written.
func TestOverwriteMounted(t *testing.T) {
	const name = "grubenv"
	old := []byte("# GRUB Environment Block\nnext_entry=2\n" + strings.Repeat("#", 986))
	changed := []byte("# GRUB Environment Block\nnext_entry=\n" + strings.Repeat("#", 987))
	image, disk, v := loopVolume(t, "xfs", name, old)
	w := openToWrite(t, image)
	mounted(t, v, func(m *bootloader.MountedFiles) {
		for _, data := range [][]byte{changed, old, changed} { // the next time, Linux has read what is there now
			if err := OverwriteMounted(disk, w, v, m, name, data); err != nil {
				t.Error(err)
			}
		}
	})
	if len(w.at) != 3 || slices.Max(w.at) != slices.Min(w.at) || w.size != 3*len(changed) {
		t.Errorf("%d bytes are written at %v", w.size, w.at)
	}
	command(t, "xfs_repair", "-n", "-f", image)
	mounted(t, v, func(m *bootloader.MountedFiles) {
		if got, err := readWhole(m, name); err != nil || !bytes.Equal(got, changed) {
			t.Errorf("it is now %.60q, %v", got, err)
		}
		// Where the bytes are is doubtful if the disk has others there.
		disk.ReaderAt = bytes.NewReader(make([]byte, disk.Size))
		if err := OverwriteMounted(disk, w, v, m, name, old); err == nil || !strings.Contains(err.Error(), "are not at byte") {
			t.Errorf("error = %v", err)
		}
	})
}

func TestOverwriteBtrfs(t *testing.T) {
	image, disk, v := loopVolume(t, "btrfs", "grubenv", bytes.Repeat([]byte("o"), 1024))
	w := openToWrite(t, image)
	mounted(t, v, func(m *bootloader.MountedFiles) {
		err := OverwriteMounted(disk, w, v, m, "grubenv", bytes.Repeat([]byte("n"), 1024))
		if err == nil || !strings.Contains(err.Error(), "btrfs has checksums of its data") || w.size != 0 {
			t.Errorf("error = %v, %d bytes are written", err, w.size)
		}
	})

	// What is reserved for boot loaders has none.
	block := bytes.Repeat([]byte("b"), 512)
	const place = 256 << 10 // GRUB's
	if err := OverwriteReserved(disk, w, v, place, block); err != nil {
		t.Error(err)
	}
	got := make([]byte, len(block))
	if _, err := disk.ReadAt(got, place); err != nil || !bytes.Equal(got, block) {
		t.Errorf("it is now %.20q, %v", got, err)
	}
	for _, at := range []int64{0, 64 << 10, 1<<20 - 511, 4 << 20, 1 << 50, -512} {
		if err := OverwriteReserved(disk, w, v, at, block); err == nil {
			t.Errorf("byte %d is overwritten", at)
		}
	}
	v.FS.Type = "xfs"
	if err := OverwriteReserved(disk, w, v, place, block); err == nil {
		t.Error("xfs reserves nothing, and is overwritten")
	}
	command(t, "btrfs", "check", "--force", image)
}
