// Package storetest is the acceptance suite of [store.Store]: whoever writes a
// store runs it in a test of their own.
//
//	func TestMyStore(t *testing.T) {
//		storetest.Run(t, func(t *testing.T, size int64) storetest.Subject {
//			s, err := mystore.New(size)
//			...
//			return storetest.Subject{Store: s}
//		})
//	}
package storetest

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/bootlun/bootlun/target/store"
)

// Subject is one store to be tested.
type Subject struct {
	Store store.Store

	// Reopen closes the store and opens what it left on its medium. Nil says
	// that the store does not outlive its closing.
	Reopen func(t *testing.T) store.Store

	// ReadOnly closes the store and opens what it left for reading only. Nil
	// says that it cannot be.
	ReadOnly func(t *testing.T) store.Store

	// Content is what the store holds at first, nil for zeros.
	Content []byte
}

// Maker makes an empty store of size bytes, or one that holds what its
// Subject.Content says. It registers what is to be undone with t.Cleanup, the
// closing of the store included.
type Maker func(t *testing.T, size int64) Subject

// Size is how big the stores are that the suite asks for: not a multiple of any
// power of two above 512, so that the last page is a part of one.
const Size = 1<<20 + 512

// Run runs the whole suite, each test on a store of its own.
func Run(t *testing.T, newStore Maker) {
	tests := map[string]func(*testing.T, Subject){
		"Size":        testSize,
		"Fresh":       testFresh,
		"ReadWrite":   testReadWrite,
		"OutOfRange":  testOutOfRange,
		"Discard":     testDiscard,
		"WriteZeroes": testWriteZeroes,
		"Map":         testMap,
		"Prompt":      testPrompt,
		"Model":       testModel,
		"Parallel":    testParallel,
		"Flush":       testFlush,
		"Durable":     testDurable,
		"Resize":      testResize,
		"Reopen":      testReopen,
		"ReadOnly":    testReadOnly,
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) { test(t, newStore(t, Size)) })
	}
}

func testSize(t *testing.T, s Subject) {
	if got := s.Store.Size(); got != Size {
		t.Errorf("Size() = %d, want %d", got, Size)
	}
}

func testFresh(t *testing.T, s Subject) {
	want := s.Content
	if want == nil {
		want = make([]byte, Size)
	}
	expect(t, s.Store, 0, want)
	if err := s.Store.Flush(); err != nil {
		t.Errorf("Flush of an untouched store: %v", err)
	}
}

func testReadWrite(t *testing.T, s Subject) {
	for _, tc := range []struct{ off, n int64 }{
		{0, 1},
		{0, 512},
		{1, 4095},
		{4096, 4096},
		{4095, 2},
		{65535, 65538},
		{1<<19 - 512, 1 << 19},
		{Size - 512, 512},
		{Size - 1, 1},
		{Size, 0},
		{0, Size},
	} {
		want := pattern(tc.off, tc.n)
		write(t, s.Store, tc.off, want)
		expect(t, s.Store, tc.off, want)
	}
	if err := s.Store.Flush(); err != nil {
		t.Errorf("Flush: %v", err)
	}
	expect(t, s.Store, 0, pattern(0, Size))
}

func testOutOfRange(t *testing.T, s Subject) {
	for _, tc := range []struct{ off, n int64 }{
		{-1, 1},
		{-512, 1024},
		{Size, 1},
		{Size - 511, 512},
		{Size + 1, 0},
		{1<<63 - 1, 512},
	} {
		at := fmt.Sprintf("%d bytes at %d", tc.n, tc.off)
		p := make([]byte, tc.n)
		if _, err := s.Store.ReadAt(p, tc.off); !errors.Is(err, store.ErrOutOfRange) {
			t.Errorf("ReadAt %s: %v, want ErrOutOfRange", at, err)
		}
		if _, err := s.Store.WriteAt(p, tc.off); !errors.Is(err, store.ErrOutOfRange) {
			t.Errorf("WriteAt %s: %v, want ErrOutOfRange", at, err)
		}
		if err := store.WriteZeroes(s.Store, tc.off, tc.n); !errors.Is(err, store.ErrOutOfRange) {
			t.Errorf("WriteZeroes %s: %v, want ErrOutOfRange", at, err)
		}
		if !store.CanDiscard(s.Store) {
			continue
		}
		if err := s.Store.(store.Discarder).Discard(tc.off, tc.n); !errors.Is(err, store.ErrOutOfRange) {
			t.Errorf("Discard %s: %v, want ErrOutOfRange", at, err)
		}
	}
	if got := s.Store.Size(); got != Size {
		t.Errorf("Size() afterwards = %d, want %d", got, Size)
	}
}

func testDiscard(t *testing.T, s Subject) {
	if !store.CanDiscard(s.Store) {
		t.Skip("SKIP: this store can not discard")
	}
	testZeroing(t, s.Store, s.Store.(store.Discarder).Discard)
}

func testWriteZeroes(t *testing.T, s Subject) {
	testZeroing(t, s.Store, func(off, n int64) error { return store.WriteZeroes(s.Store, off, n) })
}

// testZeroing checks that zero clears its range and nothing beside it, also on
// a range that is written, cleared and written in part again.
func testZeroing(t *testing.T, s store.Store, zero func(off, n int64) error) {
	for _, tc := range []struct{ off, n int64 }{
		{0, 512},
		{4096, 8192},
		{512, 131072},
		{100000, 3},
		{1 << 19, 1 << 19},
		{Size - 512, 512},
		{Size - 100, 100},
		{Size, 0},
		{0, Size},
	} {
		want := pattern(0, Size)
		write(t, s, 0, want)
		for range 2 { // the second time over what is clear already
			if err := zero(tc.off, tc.n); err != nil {
				t.Fatalf("zero %d bytes at %d: %v", tc.n, tc.off, err)
			}
		}
		clear(want[tc.off:][:tc.n])
		expect(t, s, 0, want)
		if tc.n >= 3 {
			copy(want[tc.off+1:], "x")
			write(t, s, tc.off+1, []byte("x"))
			expect(t, s, 0, want)
		}
	}
}

// testMap checks that what the store says takes no space reads as zeros, and
// that what was written takes some until it is given back.
func testMap(t *testing.T, s Subject) {
	if _, _, err := store.Map(s.Store, Size, 1); !errors.Is(err, store.ErrOutOfRange) {
		t.Errorf("Map after the end: %v, want ErrOutOfRange", err)
	}
	write(t, s.Store, 0, pattern(0, Size))
	for off := int64(0); off < Size; {
		off = expectMapped(t, s.Store, off, true)
	}
	if m, ok := s.Store.(store.Mapper); !ok || !store.CanDiscard(s.Store) {
		t.Skip("SKIP: this store does not know what takes space, or all of it does")
	} else if _, _, err := m.Map(0, 1); errors.Is(err, errors.ErrUnsupported) {
		t.Skip("SKIP: this store can not tell what takes space")
	}
	const from, to = 1 << 17, 1 << 19
	if err := s.Store.(store.Discarder).Discard(from, to-from); err != nil {
		t.Fatal(err)
	}
	if err := s.Store.Flush(); err != nil {
		t.Fatal(err)
	}
	hole := int64(0)
	for off := int64(0); off < Size; {
		in := off >= from && off < to
		end := expectMapped(t, s.Store, off, !in)
		if in {
			hole += end - off
		}
		off = end
	}
	if hole != to-from {
		t.Errorf("%d bytes take no space, want %d", hole, to-from)
	}
}

// expectMapped expects the extent at off to be allocated or not, and returns
// its end.
func expectMapped(t *testing.T, s store.Store, off int64, want bool) (end int64) {
	t.Helper()
	got, n, err := store.Map(s, off, Size-off)
	if err != nil || got != want || n < 1 || n > Size-off {
		t.Fatalf("Map from %d: %v, %d bytes, %v; want %v", off, got, n, err, want)
	}
	return off + n
}

// testPrompt checks that what a Prompt store does without waiting is what it
// does otherwise, and that what it declines leaves no trace that matters.
func testPrompt(t *testing.T, s Subject) {
	p, ok := s.Store.(store.Prompt)
	if !ok {
		t.Skip("SKIP: this store is not Prompt")
	}
	for _, off := range []int64{0, 4096, 4096 + 512, 1 << 19, Size - 4096} {
		want := pattern(off, 4096)
		if _, err := p.TryWriteAt(want, off); errors.Is(err, store.ErrWouldBlock) {
			write(t, s.Store, off, want)
		} else if err != nil {
			t.Errorf("TryWriteAt %d: %v", off, err)
		}
		expect(t, s.Store, off, want)
		got := make([]byte, len(want))
		if _, err := p.TryReadAt(got, off); err == nil && !bytes.Equal(got, want) {
			t.Errorf("TryReadAt %d: not what was written", off)
		} else if err != nil && !errors.Is(err, store.ErrWouldBlock) {
			t.Errorf("TryReadAt %d: %v", off, err)
		}
	}
}

// testModel does the same at random to the store and to a slice of bytes.
func testModel(t *testing.T, s Subject) {
	rnd := rand.New(rand.NewPCG(1, 2))
	model := make([]byte, Size)
	copy(model, s.Content)
	for i := range 300 {
		off := rnd.Int64N(Size)
		n := min(Size-off, 1+rnd.Int64N(200_000))
		if rnd.IntN(2) == 0 { // half of all on block boundaries
			off = off / 512 * 512
			n = min(Size-off, (n/512+1)*512)
		}
		switch op := rnd.IntN(4); op {
		case 0, 1:
			for k := range model[off:][:n] {
				model[off+int64(k)] = byte(rnd.Uint32())
			}
			write(t, s.Store, off, model[off:][:n])
		case 2:
			clear(model[off:][:n])
			if err := store.WriteZeroes(s.Store, off, n); err != nil {
				t.Fatalf("step %d: WriteZeroes %d at %d: %v", i, n, off, err)
			}
		case 3:
			expect(t, s.Store, off, model[off:][:n])
		}
	}
	expect(t, s.Store, 0, model)
}

// pattern is n bytes that tell where in a store they belong.
func pattern(off, n int64) []byte { return bytes.Clone(patternOfAll()[off:][:n]) }

var patternOfAll = sync.OnceValue(func() []byte {
	p := make([]byte, Size)
	for i := range p {
		at := uint64(i)
		p[i] = byte((at/8)*0x9E3779B97F4A7C15>>(8*(at%8))) | 1 // never the zero of a byte not written
	}
	return p
})

func write(t *testing.T, s store.Store, off int64, p []byte) {
	t.Helper()
	if n, err := s.WriteAt(p, off); err != nil || n != len(p) {
		t.Fatalf("WriteAt %d bytes at %d: %d, %v", len(p), off, n, err)
	}
}

func expect(t *testing.T, s store.Store, off int64, want []byte) {
	t.Helper()
	got := make([]byte, len(want))
	if n, err := s.ReadAt(got, off); err != nil || n != len(got) {
		t.Fatalf("ReadAt %d bytes at %d: %d, %v", len(got), off, n, err)
	}
	if bytes.Equal(got, want) {
		return
	}
	for i := range got {
		if got[i] != want[i] {
			t.Fatalf("byte %d is %#02x, want %#02x", off+int64(i), got[i], want[i])
		}
	}
}
