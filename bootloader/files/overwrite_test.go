package files

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bootlun/bootlun/bootloader"
)

// volumeOf is the image as a disk of one volume, to be read and written.
func volumeOf(t *testing.T, image string) (bootloader.Disk, *os.File, bootloader.Volume) {
	t.Helper()
	f, err := os.OpenFile(image, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	disk := bootloader.Disk{ReaderAt: f, Size: info.Size(), Name: "sda"}
	volumes, err := bootloader.Scan(disk)
	if err != nil {
		t.Fatal(err)
	}
	return disk, f, volumes[0]
}

// A file of GRUB's is overwritten in place, and the file system's own checker finds nothing wrong.
func TestOverwrite(t *testing.T) {
	const name = "boot/grubenv"
	old := []byte("# GRUB Environment Block\nnext_entry=2\n" + strings.Repeat("#", 986))
	changed := []byte("# GRUB Environment Block\nnext_entry=\n" + strings.Repeat("#", 987))
	makers := map[string]func(t *testing.T, dir string) (image string, check []string){
		"ext4": func(t *testing.T, dir string) (string, []string) {
			return ext4Image(t, dir), []string{"e2fsck", "-fn"}
		},
		"ext4, small blocks": func(t *testing.T, dir string) (string, []string) {
			return ext4Image(t, dir, "-b", "1024"), []string{"e2fsck", "-fn"}
		},
		"FAT": func(t *testing.T, dir string) (string, []string) { return fatImage(t, dir), []string{"fsck.fat", "-n"} },
	}
	for kind, mk := range makers {
		t.Run(kind, func(t *testing.T) {
			dir, kernel := content(t, false)
			if err := os.WriteFile(filepath.Join(dir, name), old, 0o644); err != nil {
				t.Fatal(err)
			}
			image, check := mk(t, dir)
			disk, w, v := volumeOf(t, image)
			if err := Overwrite(disk, w, v, name, changed); err != nil {
				t.Fatal(err)
			}
			files, err := Open(disk, v)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := fs.ReadFile(files, name); err != nil || !bytes.Equal(got, changed) {
				t.Errorf("it is now %.60q, %v", got, err)
			}
			if got, err := fs.ReadFile(files, "boot/vmlinuz-6.1"); err != nil || !bytes.Equal(got, kernel) {
				t.Errorf("another file: %d bytes, %v", len(got), err)
			}
			command(t, check[0], check[1], image)
		})
	}
}

// What is not certain is not written.
func TestOverwriteRefuses(t *testing.T) {
	dir, _ := content(t, false)
	env := append(bytes.Repeat([]byte("x"), 1000), bytes.Repeat([]byte("z"), 24)...)
	for _, name := range []string{"one", "two"} { // beside one another, in one read
		if err := os.WriteFile(filepath.Join(dir, name), env, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	image := ext4Image(t, dir)
	disk, w, v := volumeOf(t, image)
	before, err := os.ReadFile(image)
	if err != nil {
		t.Fatal(err)
	}
	other := v
	other.FS.Type = "btrfs"
	tests := []struct {
		name, want string
		v          bootloader.Volume
		file       string
		data       []byte
	}{
		{"two places", "2 places have its content", v, "one", bytes.Repeat([]byte("y"), 1024)},
		{"another size", "it has 1024 bytes, not 3", v, "one", []byte("abc")},
		{"large", "too many", v, "boot/vmlinuz-6.1", env},
		{"no file", "file does not exist", v, "nothing", env},
		{"nothing", "0 bytes cannot be written", v, "one", nil},
		{"checksums", "without mounting", other, "one", env},
	}
	for _, tt := range tests {
		if err := Overwrite(disk, w, tt.v, tt.file, tt.data); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error = %v, want %q", tt.name, err, tt.want)
		}
	}
	if after, err := os.ReadFile(image); err != nil || !bytes.Equal(before, after) {
		t.Errorf("something was written (%v)", err)
	}
}
