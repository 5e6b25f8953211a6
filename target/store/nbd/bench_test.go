package nbd_test

import (
	"os"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"testing"

	"github.com/bootlun/bootlun/internal/peers"
	"github.com/bootlun/bootlun/target/store/nbd"
)

// BenchmarkAccess moves blocks of 4 KiB to and from qemu-nbd on a raw file, one
// at a time and 32 at once.
func BenchmarkAccess(b *testing.B) {
	const size = 64 << 20
	path := filepath.Join(b.TempDir(), "disk.img")
	if err := os.WriteFile(path, make([]byte, size), 0o600); err != nil {
		b.Fatal(err)
	}
	s, err := nbd.Open(b.Context(), peers.QEMU(b, "raw", path).URI(), nbd.Config{})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	for name, access := range map[string]func([]byte, int64) (int, error){"Read": s.ReadAt, "Write": s.WriteAt} {
		for depth, sub := range map[int]string{1: "/1", 32: "/32"} {
			b.Run(name+sub, func(b *testing.B) {
				b.ReportAllocs()
				b.SetBytes(4096)
				if depth == 1 {
					p := make([]byte, 4096)
					for i := range b.N {
						if _, err := access(p, int64(i)*4096%size); err != nil {
							b.Fatal(err)
						}
					}
					return
				}
				var next atomic.Int64
				b.SetParallelism(max(1, depth/runtime.GOMAXPROCS(0)))
				b.RunParallel(func(pb *testing.PB) {
					p := make([]byte, 4096)
					for pb.Next() {
						if _, err := access(p, next.Add(1)*4096%size); err != nil {
							b.Error(err)
						}
					}
				})
			})
		}
	}
}
