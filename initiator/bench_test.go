package initiator

import (
	"math/rand/v2"
	"sync"
	"testing"
)

func benchmarkLUN(b *testing.B) *LUN {
	g := startTGT(b)
	g.target(b, tgtTarget, diskFile(b, g.dir, "disk"))
	return openLUN(b, dial(b, g.config(tgtTarget)), 1)
}

// BenchmarkSequential moves a megabyte at a time.
func BenchmarkSequential(b *testing.B) {
	l := benchmarkLUN(b)
	p := make([]byte, 1<<20)
	for _, c := range []struct {
		name string
		do   func([]byte, int64) (int, error)
	}{{"read", l.ReadAt}, {"write", l.WriteAt}} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(p)))
			for i := 0; b.Loop(); i++ {
				if _, err := c.do(p, int64(i)<<20%diskSize); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkRandom moves 4 KiB at a time, with so many goroutines.
func BenchmarkRandom(b *testing.B) {
	l := benchmarkLUN(b)
	for _, c := range []struct {
		name  string
		depth int
		do    func([]byte, int64) (int, error)
	}{{"read/1", 1, l.ReadAt}, {"read/32", 32, l.ReadAt}, {"write/1", 1, l.WriteAt}, {"write/32", 32, l.WriteAt}} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(4096)
			var wg sync.WaitGroup
			for w := range c.depth {
				wg.Go(func() {
					p := make([]byte, 4096)
					random := rand.New(rand.NewPCG(1, uint64(w)))
					for range (b.N + w) / c.depth {
						if _, err := c.do(p, random.Int64N(diskSize/4096)*4096); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
		})
	}
}
