package bootloader

import (
	"bytes"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"testing/iotest"
)

const testUUID = "6b1cf0a4-27b6-4f1e-9d3a-0c5b1f0e7a11"

// formats are the file systems as their own tools make them. Each is also kept as the first 68 KiB in testdata.
var formats = []struct {
	name string
	pkg  string // what to install
	tool []string
	size int64
	want FileSystem
}{
	{"ext2", "e2fsprogs", []string{"mke2fs", "-q", "-t", "ext2", "-L", "two", "-U", testUUID}, 1 << 20, FileSystem{"ext2", "two", testUUID}},
	{"ext3", "e2fsprogs", []string{"mke2fs", "-q", "-t", "ext3", "-L", "sixteen letters!", "-U", testUUID}, 8 << 20, FileSystem{"ext3", "sixteen letters!", testUUID}},
	{"ext4", "e2fsprogs", []string{"mke2fs", "-q", "-t", "ext4", "-L", "root", "-U", testUUID}, 8 << 20, FileSystem{"ext4", "root", testUUID}},
	{"xfs", "xfsprogs", []string{"mkfs.xfs", "-q", "-L", "rootxfs", "-m", "uuid=" + testUUID}, 300 << 20, FileSystem{"xfs", "rootxfs", testUUID}},
	{"btrfs", "btrfs-progs", []string{"mkfs.btrfs", "-q", "-L", "b tr fs", "-U", testUUID}, 128 << 20, FileSystem{"btrfs", "b tr fs", testUUID}},
	{"vfat12", "dosfstools", []string{"mkfs.vfat", "-F12", "-n", "SMALL", "-i", "12AB34CD"}, 1 << 20, FileSystem{"vfat", "SMALL", "12AB-34CD"}},
	{"vfat16", "dosfstools", []string{"mkfs.vfat", "-F16", "-i", "00000012"}, 16 << 20, FileSystem{"vfat", "", "0000-0012"}},
	{"vfat32", "dosfstools", []string{"mkfs.vfat", "-F32", "-n", "ESP", "-i", "CAFEBABE"}, 64 << 20, FileSystem{"vfat", "ESP", "CAFE-BABE"}},
	{"swap", "util-linux", []string{"mkswap", "-q", "-L", "swp", "-U", testUUID}, 1 << 20, FileSystem{"swap", "swp", testUUID}},
	{"f2fs", "f2fs-tools", []string{"mkfs.f2fs", "-q", "-l", "flåsh", "-U", testUUID}, 64 << 20, FileSystem{"f2fs", "flåsh", testUUID}},
	{"luks1", "cryptsetup-bin", []string{"cryptsetup", "-q", "luksFormat", "--type", "luks1", "--pbkdf-force-iterations", "1000", "--uuid", testUUID}, 4 << 20, FileSystem{"crypto_LUKS", "", testUUID}},
	{"luks2", "cryptsetup-bin", []string{"cryptsetup", "-q", "luksFormat", "--type", "luks2", "--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000", "--label", "vault", "--uuid", testUUID}, 32 << 20, FileSystem{"crypto_LUKS", "vault", testUUID}},
}

func TestProbeWhatToolsMake(t *testing.T) {
	for _, f := range formats {
		t.Run(f.name, func(t *testing.T) {
			needs(t, f.pkg, f.tool[0])
			path := image(t, f.size)
			run(t, "secret\n", f.tool[0], append(f.tool[1:], path)...)
			d := openDisk(t, path, "sda")
			checkProbe(t, d, d.Size, f.want)
			if *update {
				span := int64(superblockSpan)
				if strings.HasPrefix(f.name, "luks") {
					span = 4096 // random key material follows
				}
				head, err := io.ReadAll(io.NewSectionReader(d, 0, span))
				if err != nil {
					t.Fatal(err)
				}
				writeGolden(t, f.name, head)
			}
		})
	}
}

func checkProbe(t *testing.T, r io.ReaderAt, size int64, want FileSystem) {
	t.Helper()
	got, err := Probe(r, size)
	if err != nil || got != want {
		t.Errorf("Probe = %+v, %v\nwant %+v", got, err, want)
	}
}

// TestProbeTree covers the formats that are made from a directory.
func TestProbeTree(t *testing.T) {
	for _, f := range []struct {
		name, pkg string
		tool      func(image, dir string) []string
		want      FileSystem
	}{
		{"squashfs", "squashfs-tools", func(image, dir string) []string {
			return []string{"mksquashfs", dir, image, "-quiet", "-no-progress", "-noappend", "-all-time", "0", "-mkfs-time", "0"}
		}, FileSystem{Type: "squashfs"}},
		{"erofs", "erofs-utils", func(image, dir string) []string {
			return []string{"mkfs.erofs", "-U", testUUID, "-T0", image, dir}
		}, FileSystem{Type: "erofs", UUID: testUUID}},
	} {
		t.Run(f.name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(dir+"/file", bytes.Repeat([]byte("boot"), 1000), 0o644); err != nil {
				t.Fatal(err)
			}
			path := image(t, 0)
			args := f.tool(path, dir)
			needs(t, f.pkg, args[0])
			run(t, "", args[0], args[1:]...)
			d := openDisk(t, path, "sda")
			checkProbe(t, d, d.Size, f.want)
			if *update {
				head, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				writeGolden(t, f.name, head[:min(len(head), superblockSpan)])
			}
		})
	}
}

func goldenFormats() map[string]FileSystem {
	all := map[string]FileSystem{
		"squashfs": {Type: "squashfs"},
		"erofs":    {Type: "erofs", UUID: testUUID},
		"lvm":      {Type: "LVM2_member", UUID: "mMyhpA-W8fE-uM1T-3Qjp-IJWG-tQKH-Zc8uXh"},
	}
	for _, f := range formats {
		all[f.name] = f.want
	}
	return all
}

func TestProbeGolden(t *testing.T) {
	for name, want := range goldenFormats() {
		t.Run(name, func(t *testing.T) {
			head := readGolden(t, name)
			checkProbe(t, bytes.NewReader(head), int64(len(head)), want)
		})
	}
}

func TestProbeNothing(t *testing.T) {
	for _, size := range []int64{0, 1, 511, 512, 4096, superblockSpan, superblockSpan + 1} {
		checkProbe(t, bytes.NewReader(make([]byte, size)), size, FileSystem{})
	}
	checkProbe(t, bytes.NewReader(bytes.Repeat([]byte{0xFF}, 1<<17)), 1<<17, FileSystem{})
}

func TestProbeReadError(t *testing.T) {
	broken := errors.New("no medium")
	if _, err := Probe(failingReader{broken}, 1<<20); !errors.Is(err, broken) {
		t.Errorf("err = %v, want it to wrap %v", err, broken)
	}
	if _, err := Probe(strings.NewReader("short"), 1<<20); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("err = %v, want it to wrap %v", err, io.ErrUnexpectedEOF)
	}
}

type failingReader struct{ err error }

func (f failingReader) ReadAt(p []byte, _ int64) (int, error) { return iotest.ErrReader(f.err).Read(p) }

func TestCanHoldRoot(t *testing.T) {
	for kind, want := range map[string]bool{"ext4": true, "btrfs": true, "vfat": false, "swap": false, "": false, "LVM2_member": false} {
		if got := (FileSystem{Type: kind}).CanHoldRoot(); got != want {
			t.Errorf("%q: CanHoldRoot = %v, want %v", kind, got, want)
		}
	}
}
