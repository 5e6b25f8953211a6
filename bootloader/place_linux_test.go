package bootloader

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// Where Linux says that a file is, its bytes are; a file that is there in another way than plainly has no such place.
func TestPlace(t *testing.T) {
	needsRoot(t)
	needs(t, "util-linux", "losetup")
	for _, f := range formats {
		if f.name != "ext3" && f.name != "ext4" && f.name != "xfs" {
			continue
		}
		t.Run(f.name, func(t *testing.T) {
			needsDriver(t, f.want.Type)
			needs(t, f.pkg, f.tool[0])
			path := image(t, max(f.size, 16<<20))
			run(t, "", f.tool[0], append(f.tool[1:], path)...)
			v := loopVolume(t, path)
			content := []byte("# GRUB Environment Block\n" + strings.Repeat("#", 999))
			fillVolume(t, v, content)
			mounted, err := MountFiles(t.Context(), v, filepath.Join(t.TempDir(), "files"))
			if err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := mounted.Close(); err != nil {
					t.Error(err)
				}
			}()
			at, err := mounted.Place("plain")
			if err != nil {
				t.Fatal(err)
			}
			got := make([]byte, len(content))
			disk := openDisk(t, v.Device(), v.Name)
			if _, err := disk.ReadAt(got, at); err != nil || !bytes.Equal(got, content) {
				t.Errorf("at byte %d there is %.40q, %v", at, got, err)
			}
			for name, want := range map[string]string{
				"holes": "not in one piece", "empty": "it is empty", "preallocated": "flags 0x8", "cloned": "flags 0x2", "none": "no such file",
			} {
				if f, err := mounted.Open(name); err == nil {
					f.Close()
				} else if name != "none" {
					continue // this file system does not know such files
				}
				if at, err := mounted.Place(name); err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("%s: at %d, %v, want %q", name, at, err, want)
				}
			}
		})
	}
}

// fillVolume makes a file of each kind that the volume's file system knows.
func fillVolume(t *testing.T, v Volume, content []byte) {
	t.Helper()
	dir := t.TempDir()
	if err := Mount(t.Context(), v, dir, MountOptions{ReadWrite: true}); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	}()
	in := func(name string) string { return filepath.Join(dir, name) }
	for name, b := range map[string][]byte{"plain": content, "empty": nil, "original": content} {
		if err := os.WriteFile(in(name), b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	create := func(name string, fill func(*os.File) error) {
		f, err := os.Create(in(name))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if err := fill(f); err != nil {
			t.Logf("%s: %v", name, err)
			os.Remove(in(name))
		}
	}
	create("holes", func(f *os.File) error {
		for _, at := range []int64{0, 256 << 10} {
			if _, err := f.WriteAt(content, at); err != nil {
				return err
			}
		}
		return nil
	})
	create("preallocated", func(f *os.File) error { return unix.Fallocate(int(f.Fd()), 0, 0, 1024) })
	create("cloned", func(f *os.File) error {
		original, err := os.Open(in("original"))
		if err != nil {
			return err
		}
		defer original.Close()
		if err := unix.IoctlFileClone(int(f.Fd()), int(original.Fd())); err != nil {
			return fmt.Errorf("clone: %w", err)
		}
		return nil
	})
}
