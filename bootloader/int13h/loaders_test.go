package int13h_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/bootlun/bootlun/bootloader/int13h"
	"github.com/bootlun/bootlun/internal/testkernel"
)

// workshop makes disks by the real tools, in files, as nobody in particular.
type workshop struct {
	testing.TB
	dir string
}

func newWorkshop(t testing.TB, programs ...string) workshop {
	t.Helper()
	for _, p := range programs {
		path := p
		if !filepath.IsAbs(p) {
			path, _ = exec.LookPath(p)
		}
		if _, err := os.Stat(path); err != nil {
			t.Skipf("SKIP: needs %s: make deps installs it", p)
		}
	}
	return workshop{t, t.TempDir()}
}

func (w workshop) path(name string) string { return filepath.Join(w.dir, name) }

func (w workshop) write(name string, data []byte) string {
	w.Helper()
	if err := os.MkdirAll(filepath.Dir(w.path(name)), 0o755); err != nil {
		w.Fatal(err)
	}
	if err := os.WriteFile(w.path(name), data, 0o644); err != nil {
		w.Fatal(err)
	}
	return w.path(name)
}

func (w workshop) read(path string) []byte {
	w.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		w.Fatal(err)
	}
	return b
}

func (w workshop) run(program string, args ...string) {
	w.Helper()
	cmd := exec.CommandContext(w.Context(), program, args...)
	cmd.Env = append(os.Environ(), "MTOOLS_SKIP_CHECK=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		w.Fatalf("%s %s: %v\n%s", program, args, err, out)
	}
}

// disk makes an empty file for one.
func (w workshop) disk(size int64) string {
	w.Helper()
	path := w.write("disk.img", nil)
	if err := os.Truncate(path, size); err != nil {
		w.Fatal(err)
	}
	return path
}

// put writes data into a file at an offset.
func (w workshop) put(path string, data []byte, at int64) {
	w.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		w.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt(data, at); err != nil {
		w.Fatal(err)
	}
}

// mebibyte is where the partition begins on disks with one.
const mebibyte = 1 << 20

// partitionTable writes an MBR with boot code and one active partition.
func (w workshop) partitionTable(path string, code []byte, kind byte, size int64) {
	w.Helper()
	mbr := make([]byte, 512)
	copy(mbr[:440], code)
	e := mbr[446:]
	e[0], e[4] = 0x80, kind
	copy(e[1:], []byte{0xFE, 0xFF, 0xFF})
	copy(e[5:], []byte{0xFE, 0xFF, 0xFF})
	le.PutUint32(e[8:], mebibyte/512)
	le.PutUint32(e[12:], uint32(size/512))
	mbr[510], mbr[511] = 0x55, 0xAA
	w.put(path, mbr, 0)
}

// expected is what a loader is to start.
type expected struct {
	kernel, initrd []byte
	cmdline        string
}

// boots runs a disk and compares what it starts.
func (w workshop) boots(c int13h.Config, want expected) {
	w.Helper()
	var screen bytes.Buffer
	c.Screen, c.Steps = &screen, 2e9
	h, err := int13h.Boot(w.Context(), c)
	if err != nil {
		w.Fatalf("%v\nscreen: %q", err, screen.String())
	}
	w.Logf("%s: %d million steps", h.Why, h.Steps/1e6)
	if h.Cmdline != want.cmdline {
		w.Errorf("command line %q, want %q", h.Cmdline, want.cmdline)
	}
	if !bytes.Equal(h.Initrd, want.initrd) {
		w.Errorf("an initramfs of %d bytes, not the %d on the disk", len(h.Initrd), len(want.initrd))
	}
	sameKernel(w, h.Kernel, want.kernel)
	if !h.LoadedFrom(want.kernel) {
		w.Error("the kernel is not known again by its file")
	}
}

var someInitrd = bytes.Repeat([]byte("an initial RAM disk, "), 50001)

const syslinuxConfig = `DEFAULT linux
PROMPT 0
TIMEOUT 30
LABEL linux
  KERNEL /vmlinuz
  APPEND initrd=/initrd.img console=ttyS0 marker=%s
`

// fatDisk makes a disk with syslinux on FAT, in a partition behind syslinux's own
// MBR if offset is above 0.
func (w workshop) fatDisk(kernel []byte, offset int64) string {
	const size = 64 << 20
	disk := w.disk(size)
	if offset > 0 {
		w.partitionTable(disk, w.read("/usr/lib/syslinux/mbr/mbr.bin"), 0x0C, size-offset)
	}
	w.run("mkfs.vfat", "-F", "32", "--offset", fmt.Sprint(offset/512), "-h", fmt.Sprint(offset/512), disk, fmt.Sprint((size-offset)/1024))
	volume := fmt.Sprintf("%s@@%d", disk, offset)
	for name, data := range map[string][]byte{
		"vmlinuz": kernel, "initrd.img": someInitrd, "syslinux.cfg": fmt.Appendf(nil, syslinuxConfig, "by-syslinux"),
	} {
		w.run("mcopy", "-i", volume, w.write(name, data), "::"+name)
	}
	w.run("syslinux", "--install", "-t", fmt.Sprint(offset), disk)
	return disk
}

func TestSyslinux(t *testing.T) {
	for name, offset := range map[string]int64{"whole disk": 0, "partition": mebibyte} {
		t.Run(name, func(t *testing.T) {
			w := newWorkshop(t, "syslinux", "mcopy", "mkfs.vfat", "/usr/lib/syslinux/mbr/mbr.bin")
			kernel := testKernel(t)
			w.boots(int13h.Config{Disk: openDisk(t, w.fatDisk(kernel, offset))},
				expected{kernel, someInitrd, "BOOT_IMAGE=/vmlinuz initrd=/initrd.img console=ttyS0 marker=by-syslinux"})
		})
	}
}

// testKernel is the made-up kernel, or, if it is asked for, Debian's.
func testKernel(t testing.TB) []byte {
	if path := os.Getenv("BOOTLUN_TEST_KERNEL"); path != "" {
		kernel, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return kernel
	}
	return testkernel.Image()
}

// discDisk is an ISO image, as a disc of 2048-byte blocks.
type discDisk struct{ fileDisk }

func (discDisk) BlockSize() int { return 2048 }

const isolinuxConfig = "DEFAULT linux\nPROMPT 0\nTIMEOUT 30\nLABEL linux\n  KERNEL /vmlinuz\n  APPEND initrd=/initrd.img console=ttyS0 marker=by-isolinux\n"

// TestISOLINUX starts one image as a disc, and as a disk of 512-byte blocks.
func TestISOLINUX(t *testing.T) {
	w := newWorkshop(t, "xorriso", "/usr/lib/ISOLINUX/isolinux.bin", "/usr/lib/syslinux/modules/bios/ldlinux.c32")
	kernel := testKernel(t)
	tree := map[string][]byte{
		"vmlinuz": kernel, "initrd.img": someInitrd, "isolinux/isolinux.cfg": []byte(isolinuxConfig),
		"isolinux/isolinux.bin": w.read("/usr/lib/ISOLINUX/isolinux.bin"),
		"isolinux/ldlinux.c32":  w.read("/usr/lib/syslinux/modules/bios/ldlinux.c32"),
	}
	for name, data := range tree {
		w.write(filepath.Join("tree", name), data)
	}
	w.run("xorriso", "-as", "mkisofs", "-o", w.path("disk.iso"), "-b", "isolinux/isolinux.bin", "-c", "isolinux/boot.cat",
		"-no-emul-boot", "-boot-load-size", "4", "-boot-info-table", w.path("tree"))
	want := expected{kernel, someInitrd, "BOOT_IMAGE=/vmlinuz initrd=/initrd.img console=ttyS0 marker=by-isolinux"}
	file := openDisk(t, w.path("disk.iso"))
	t.Run("disc", func(t *testing.T) { w.boots(int13h.Config{Disk: discDisk{file}}, want) })
	t.Run("disk", func(t *testing.T) { w.boots(int13h.Config{Disk: file}, want) })
}
