package files

import (
	"bytes"
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bootlun/bootlun/bootloader"
)

func command(t *testing.T, name string, args ...string) {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		if path, err = exec.LookPath("/usr/sbin/" + name); err != nil {
			t.Skipf("SKIP: needs %s (apt install e2fsprogs dosfstools mtools)", name)
		}
	}
	if out, err := exec.Command(path, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", name, err, out)
	}
}

// content is a folder with what a boot partition has: a large file, links of all kinds.
func content(t *testing.T, links bool) (dir string, kernel []byte) {
	dir = t.TempDir()
	kernel = make([]byte, 3<<20+123)
	rand.Read(kernel)
	must := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.MkdirAll(filepath.Join(dir, "boot/grub"), 0o755))
	must(os.WriteFile(filepath.Join(dir, "boot/vmlinuz-6.1"), kernel, 0o644))
	must(os.WriteFile(filepath.Join(dir, "boot/grub/grub.cfg"), []byte("set x=1\n"), 0o644))
	if links {
		must(os.Symlink("boot/vmlinuz-6.1", filepath.Join(dir, "vmlinuz")))
		must(os.Symlink("/boot", filepath.Join(dir, "b")))
		must(os.Symlink("../../../boot/vmlinuz-6.1", filepath.Join(dir, "boot/grub/up")))
		must(os.Symlink("round", filepath.Join(dir, "round")))
		must(os.Symlink(strings.Repeat("./", 40)+"boot/vmlinuz-6.1", filepath.Join(dir, "far")))
	}
	return dir, kernel
}

func ext4Image(t *testing.T, dir string, args ...string) string {
	t.Helper()
	image := filepath.Join(t.TempDir(), "ext4.img")
	command(t, "mke2fs", append(append([]string{"-q", "-t", "ext4", "-d", dir}, args...), image, "32M")...)
	return image
}

func fatImage(t *testing.T, dir string) string {
	t.Helper()
	image := filepath.Join(t.TempDir(), "fat.img")
	command(t, "mkfs.fat", "-C", "-F", "32", "-s", "1", image, "65536")
	command(t, "mcopy", "-s", "-i", image, filepath.Join(dir, "boot"), "::")
	return image
}

func open(t *testing.T, image string) (fs.FS, error) {
	t.Helper()
	f, err := os.Open(image)
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
	return Open(disk, volumes[0])
}

func TestExt4(t *testing.T) {
	dir, kernel := content(t, true)
	for _, args := range [][]string{{"-b", "1024"}, {"-b", "4096"}, {"-O", "^64bit"}} {
		files, err := open(t, ext4Image(t, dir, args...))
		if err != nil {
			t.Fatal(args, err)
		}
		for _, name := range []string{"boot/vmlinuz-6.1", "vmlinuz", "b/vmlinuz-6.1", "boot/grub/up", "far"} {
			if got, err := fs.ReadFile(files, name); err != nil || !bytes.Equal(got, kernel) {
				t.Errorf("%v: %s: %d bytes, %v", args, name, len(got), err)
			}
		}
		for _, name := range []string{"nothing", "boot/nothing", "b/nothing/at/all"} {
			if _, err := fs.Stat(files, name); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if _, err := fs.ReadFile(files, "round"); err == nil || !strings.Contains(err.Error(), "too many links") {
			t.Errorf("a ring of links: %v", err)
		}
		if list, err := fs.ReadDir(files, "b"); err != nil || len(list) != 2 {
			t.Errorf("/b: %v, %v", list, err)
		}
	}
}

func TestFAT(t *testing.T) {
	dir, kernel := content(t, false)
	files, err := open(t, fatImage(t, dir))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"boot/vmlinuz-6.1", "BOOT/VMLinuz-6.1"} {
		if got, err := fs.ReadFile(files, name); err != nil || !bytes.Equal(got, kernel) {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
	}
	if _, err := fs.Stat(files, "boot/none"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what is not there: %v", err)
	}
}

// A file with holes is refused and not read wrong.
func TestHoles(t *testing.T) {
	dir := t.TempDir()
	f, err := os.Create(filepath.Join(dir, "sparse"))
	if err != nil {
		t.Fatal(err)
	}
	f.WriteAt([]byte("end"), 1<<20)
	f.Close()
	files, err := open(t, ext4Image(t, dir))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fs.ReadFile(files, "sparse"); !errors.Is(err, ErrUnsupported) {
		t.Errorf("error = %v", err)
	}
}

func TestUnsupported(t *testing.T) {
	_, err := Open(bootloader.Disk{ReaderAt: bytes.NewReader(make([]byte, 4096)), Size: 4096},
		bootloader.Volume{Partition: bootloader.Partition{Size: 4096}, FS: bootloader.FileSystem{Type: "xfs"}})
	if !errors.Is(err, ErrUnsupported) {
		t.Errorf("error = %v", err)
	}
}

// Damaged file systems cost an error. Every byte that is looked at is spoiled in turn, seed by seed.
func TestDamaged(t *testing.T) {
	dir, _ := content(t, true)
	image, err := os.ReadFile(ext4Image(t, dir, "-b", "1024"))
	if err != nil {
		t.Fatal(err)
	}
	for at := 1024; at < 1024+1024; at += 7 {
		readAll(image, at)
	}
	for at := 2048; at < 400<<10; at += 4999 {
		readAll(image, at)
	}
}

// readAll reads an image's files while a byte of it is another.
func readAll(image []byte, spoiled int) {
	image[spoiled] ^= 0xFF
	defer func() { image[spoiled] ^= 0xFF }()
	disk := bootloader.Disk{ReaderAt: bytes.NewReader(image), Size: int64(len(image))}
	volumes, err := bootloader.Scan(disk)
	if err != nil {
		return
	}
	files, err := Open(disk, volumes[0])
	if err != nil {
		return
	}
	for _, name := range []string{"vmlinuz", "far", "boot/grub/grub.cfg", "round"} {
		fs.ReadFile(files, name)
	}
}
