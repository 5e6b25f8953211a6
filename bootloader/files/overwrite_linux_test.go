package files

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/bootlun/bootlun/bootloader"
)

// mountedVolume is a new file system with the given files, mounted as the volumes are that only Linux reads, and its image.
func mountedVolume(t *testing.T, kind string, content map[string][]byte) (image string, disk bootloader.Disk, v bootloader.Volume, m *bootloader.MountedFiles) {
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
	for name, b := range content {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o644); err != nil {
			t.Error(err)
		}
	}
	if err := unix.Unmount(dir, 0); err != nil {
		t.Fatal(err)
	}
	if m, err = bootloader.MountFiles(t.Context(), v, dir); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return image, disk, v, m
}

// On a file system that Linux reads for us, a file is overwritten where Linux says that it is: the image is changed there and nowhere else.
func TestOverwriteMounted(t *testing.T) {
	const name = "grubenv"
	old := []byte("# GRUB Environment Block\nnext_entry=2\n" + strings.Repeat("#", 986))
	changed := []byte("# GRUB Environment Block\nnext_entry=\n" + strings.Repeat("#", 987))
	image, disk, v, m := mountedVolume(t, "xfs", map[string][]byte{name: old})
	before, err := os.ReadFile(image)
	if err != nil {
		t.Fatal(err)
	}
	w, err := os.OpenFile(image, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if err := OverwriteMounted(disk, w, v, m, name, changed); err != nil {
		t.Fatal(err)
	}
	after, err := os.ReadFile(image)
	if err != nil {
		t.Fatal(err)
	}
	if want := bytes.Replace(before, old, changed, 1); !bytes.Equal(after, want) {
		t.Error("the image is not as it was with the file's bytes changed")
	}
	command(t, "xfs_repair", "-n", "-f", image)

	// What Linux has of the file is not what the disk has any more: where its bytes are is doubtful.
	err = OverwriteMounted(disk, w, v, m, name, bytes.Repeat([]byte("x"), len(old)))
	if err == nil || !strings.Contains(err.Error(), "are not at byte") {
		t.Errorf("error = %v", err)
	}
}

func TestOverwriteMountedRefusesChecksums(t *testing.T) {
	_, disk, v, m := mountedVolume(t, "btrfs", map[string][]byte{"grubenv": bytes.Repeat([]byte("o"), 1024)})
	err := OverwriteMounted(disk, nil, v, m, "grubenv", bytes.Repeat([]byte("n"), 1024))
	if err == nil || !strings.Contains(err.Error(), "btrfs has checksums of its data") {
		t.Errorf("error = %v", err)
	}
}
