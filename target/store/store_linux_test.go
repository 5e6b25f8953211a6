package store_test

import (
	"os"
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
