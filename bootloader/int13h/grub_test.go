package int13h_test

import (
	"bytes"
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/bootlun/bootlun/bootloader/int13h"
	"github.com/bootlun/bootlun/initramfs/rootfs"
	"github.com/bootlun/bootlun/internal/testkernel"
)

var le = binary.LittleEndian

// fileDisk is an image in a file.
type fileDisk struct {
	*os.File
	size int64
}

func (d fileDisk) Size() int64    { return d.size }
func (d fileDisk) BlockSize() int { return 512 }

func openDisk(t testing.TB, path string) fileDisk {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	return fileDisk{f, info.Size()}
}

// grubDisk makes a disk whose GRUB starts a kernel.
func grubDisk(t testing.TB, kernel, initrd []byte, cmdline string) string {
	t.Helper()
	if _, err := exec.LookPath("grub-mkimage"); err != nil {
		t.Skip("SKIP: needs grub-mkimage (apt install grub-common grub-pc-bin)")
	}
	dir := t.TempDir()
	path := func(name string, b []byte) string {
		p := filepath.Join(dir, name)
		if err := os.WriteFile(p, b, 0o644); err != nil {
			t.Fatal(err)
		}
		return p
	}
	image := filepath.Join(dir, "disk.img")
	config := rootfs.LoaderConfig{Kernel: path("kernel", kernel), Initrd: path("initrd", initrd), Cmdline: cmdline}
	if err := rootfs.Loader(t.Context(), image, config); err != nil {
		t.Fatal(err)
	}
	return image
}

// TestGRUB runs a real GRUB from its boot sector until it starts the kernel: one
// that is made up and, if BOOTLUN_TEST_INT13H is set, Debian's too.
func TestGRUB(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIP: interprets hundreds of millions of instructions")
	}
	kernels := map[string][]byte{"made up": testkernel.Image()}
	if os.Getenv("BOOTLUN_TEST_INT13H") != "" {
		kernels["Debian"] = debianKernel(t)
	}
	for name, kernel := range kernels {
		t.Run(name, func(t *testing.T) { bootGRUB(t, kernel) })
	}
}

func debianKernel(t testing.TB) []byte {
	t.Helper()
	if os.Getenv("BOOTLUN_TEST_KERNEL") != "" {
		return testKernel(t)
	}
	found, err := filepath.Glob("../../build/kernel/linux-image-*/boot/vmlinuz-*")
	if err != nil || len(found) == 0 {
		t.Skip("SKIP: needs Debian's kernel under build/ (make boot gets it)")
	}
	kernel, err := os.ReadFile(found[0])
	if err != nil {
		t.Fatal(err)
	}
	return kernel
}

func bootGRUB(t *testing.T, kernel []byte) {
	initrd := bytes.Repeat([]byte("an initial RAM disk, "), 50001)
	image := grubDisk(t, kernel, initrd, "console=ttyS0 marker=by-grub")
	var screen bytes.Buffer
	h, err := int13h.Boot(t.Context(), int13h.Config{Disk: openDisk(t, image), Screen: &screen})
	if err != nil {
		t.Fatalf("%v\nscreen: %q", err, screen.String())
	}
	t.Logf("%s: %d steps", h.Why, h.Steps)
	if want := "BOOT_IMAGE=/vmlinuz console=ttyS0 marker=by-grub"; h.Cmdline != want {
		t.Errorf("command line %q, want %q", h.Cmdline, want)
	}
	if !bytes.Equal(h.Initrd, initrd) {
		t.Errorf("an initramfs of %d bytes, not the %d on the disk", len(h.Initrd), len(initrd))
	}
	if !strings.Contains(screen.String(), "Welcome to GRUB!") {
		t.Errorf("GRUB has not greeted: %q", screen.String())
	}
	sameKernel(t, h.Kernel, kernel)
}

func sameKernel(t testing.TB, got, want []byte) {
	t.Helper()
	if err := testkernel.Compare(got, want); err != nil {
		t.Error(err)
	}
}

// BenchmarkGRUB is from the boot sector to the entry of a kernel: a made-up one
// of 1 MiB, or, if it is there, Debian's with an initramfs of 10 MB.
func BenchmarkGRUB(b *testing.B) {
	b.Run("made up", func(b *testing.B) { benchmarkGRUB(b, testkernel.Image(), make([]byte, 1<<20)) })
	b.Run("Debian", func(b *testing.B) { benchmarkGRUB(b, debianKernel(b), make([]byte, 10e6)) })
}

func benchmarkGRUB(b *testing.B, kernel, initrd []byte) {
	disk := openDisk(b, grubDisk(b, kernel, initrd, "quiet"))
	steps, before := uint64(0), processorTime(b)
	for b.Loop() {
		h, err := int13h.Boot(b.Context(), int13h.Config{Disk: disk})
		if err != nil {
			b.Fatal(err)
		}
		steps += h.Steps
	}
	used := processorTime(b) - before
	b.ReportMetric(float64(steps)/used.Seconds()/1e6, "MIPS")
	b.ReportMetric(used.Seconds()/float64(b.N), "cpu-s/op")
}

// processorTime is what this process has had of the processors, which tells more
// than the clock on a machine with other work.
func processorTime(b *testing.B) time.Duration {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		b.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}
