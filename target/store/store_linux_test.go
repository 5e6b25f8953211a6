package store_test

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/bootlun/bootlun/target/store"
)

// allocated is how much space a file takes.
func allocated(t *testing.T, path string) int64 {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Sys().(*syscall.Stat_t).Blocks * 512
}

func TestReadsDoNotAllocate(t *testing.T) {
	file := open(t, sparseFile(t, "", 1<<20), store.FileOptions{})
	cached := open(t, sparseFile(t, "/dev/shm", 1<<20), store.FileOptions{})
	p := make([]byte, 4096)
	for name, s := range map[string]store.Prompt{
		"file": file, "tmpfs": cached, "memory": store.NewMemory(1 << 20), "overlay": store.NewOverlay(cached),
	} {
		if n := testing.AllocsPerRun(100, func() { _, _ = s.TryReadAt(p, 8192) }); n != 0 {
			t.Errorf("%s: %v allocations a read", name, n)
		}
	}
}

// A Flush takes what was written to the device and has that flush its own cache:
// the device's count of flushes grows.
func TestFlushReachesTheDevice(t *testing.T) {
	dev := loopDevice(t, 1<<20)
	s := open(t, dev, store.FileOptions{})
	before := flushes(t, dev)
	for n := uint64(1); n <= 3; n++ {
		if _, err := s.WriteAt(make([]byte, 4096), 0); err != nil {
			t.Fatal(err)
		}
		if got := flushes(t, dev) - before; got != n-1 {
			t.Errorf("%d flushes of the device after write %d, want %d", got, n, n-1)
		}
		if err := s.Flush(); err != nil {
			t.Fatal(err)
		}
		if got := flushes(t, dev) - before; got != n {
			t.Errorf("%d flushes of the device after Flush %d", got, n)
		}
	}
}

// flushes is how many flushes a block device has completed (Linux's
// Documentation/block/stat.rst).
func flushes(t *testing.T, dev string) uint64 {
	t.Helper()
	text, err := os.ReadFile("/sys/block/" + filepath.Base(dev) + "/stat")
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(string(text))
	if len(fields) < 16 {
		t.Skip("SKIP: needs Linux 5.5, which counts flushes")
	}
	n, err := strconv.ParseUint(fields[15], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
