package storetest

import (
	"bytes"
	"sync"
	"testing"

	"github.com/bootlun/bootlun/target/store"
)

// testParallel does all that a store can from several goroutines at once, which
// share pages but no byte that one of them changes.
func testParallel(t *testing.T, s Subject) {
	const workers, block, rounds = 8, 512, 200
	const whole = workers * block * rounds
	model := make([]byte, whole)
	var wg sync.WaitGroup
	for w := range int64(workers) {
		wg.Go(func() {
			got := make([]byte, block)
			for i := range int64(rounds) {
				off := (i*workers + w) * block
				want := model[off:][:block]
				if err := change(s.Store, want, off, i); err != nil {
					t.Errorf("change %d: %v", off, err)
				}
				if _, err := s.Store.ReadAt(got, off); err != nil || !bytes.Equal(got, want) {
					t.Errorf("ReadAt %d: not what was written (error %v)", off, err)
				}
				if _, n, err := store.Map(s.Store, off, block); err != nil || n < 1 || n > block {
					t.Errorf("Map %d: %d bytes, %v", off, n, err)
				}
				if i%50 == 0 {
					if err := s.Store.Flush(); err != nil {
						t.Errorf("Flush: %v", err)
					}
				}
			}
		})
	}
	wg.Wait()
	expect(t, s.Store, 0, model)
}

// change writes a block at off, or in some rounds clears it again by one of the
// ways there are, and leaves in want what it then is.
func change(s store.Store, want []byte, off, round int64) error {
	copy(want, pattern(off, int64(len(want))))
	if _, err := s.WriteAt(want, off); err != nil || round%4 < 2 {
		return err
	}
	clear(want)
	if round%4 == 3 && store.CanDiscard(s) {
		return s.(store.Discarder).Discard(off, int64(len(want)))
	}
	return store.WriteZeroes(s, off, int64(len(want)))
}

// testFlush flushes while others write, and twice in a row.
func testFlush(t *testing.T, s Subject) {
	const workers, rounds = 4, 6 // a flush may take a disk's time
	var wg sync.WaitGroup
	for w := range int64(workers) {
		wg.Go(func() {
			for i := range int64(rounds) {
				off := (w*rounds + i) * 4096
				if _, err := s.Store.WriteAt(pattern(off, 4096), off); err != nil {
					t.Errorf("WriteAt %d: %v", off, err)
				}
				if err := s.Store.Flush(); err != nil {
					t.Errorf("Flush: %v", err)
				}
			}
		})
	}
	wg.Wait()
	if err := s.Store.Flush(); err != nil {
		t.Errorf("Flush of nothing new: %v", err)
	}
	expect(t, s.Store, 0, pattern(0, workers*rounds*4096))
}

// testDurable checks that a durable write is also a write.
func testDurable(t *testing.T, s Subject) {
	d, ok := s.Store.(store.DurableWriter)
	if !ok {
		t.Skip("SKIP: this store is not DurableWriter")
	}
	write(t, s.Store, 0, make([]byte, Size))
	want := make([]byte, Size)
	for _, off := range []int64{0, 4096, 70000, Size - 4096} {
		copy(want[off:], pattern(off, 4096))
		if n, err := d.WriteDurable(want[off:][:4096], off); err != nil || n != 4096 {
			t.Fatalf("WriteDurable at %d: %d, %v", off, n, err)
		}
	}
	expect(t, s.Store, 0, want)
}
