package target

import (
	"math/rand/v2"
	"testing"
)

// TestSpans compares spans with a list of bytes.
func TestSpans(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		const size = 24
		var s spans
		var bytes [size]bool
		for range 20 {
			from := rnd.Int64N(size)
			to := from + rnd.Int64N(size-from+1)
			overlap := false
			for i := from; i < to; i++ {
				overlap = overlap || bytes[i]
			}
			if got := s.has(from, to); got != overlap {
				t.Fatalf("%+v has %d..%d: %v", s, from, to, got)
			}
			if got := s.add(from, to); got == overlap {
				t.Fatalf("%+v: adding %d..%d: %v", s, from, to, got)
			}
			if !overlap {
				for i := from; i < to; i++ {
					bytes[i] = true
				}
			}
			want := span{size, size}
			for i := range int64(size) {
				if !bytes[i] {
					want = span{i, i}
					for want.to < size && !bytes[want.to] {
						want.to++
					}
					break
				}
			}
			if got := s.hole(size); got != want {
				t.Fatalf("%+v: hole %v, want %v", s, got, want)
			}
		}
	}
}
