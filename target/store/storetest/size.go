package storetest

import (
	"bytes"
	"errors"
	"testing"

	"github.com/bootlun/bootlun/target/store"
)

// testResize checks that a store which can be resized loses what it must and
// nothing else, and that what it gains is zeros.
func testResize(t *testing.T, s Subject) {
	r, ok := s.Store.(store.Resizer)
	if !ok {
		t.Skip("SKIP: this store is not Resizer")
	}
	write(t, s.Store, 0, pattern(0, Size))
	const less, more = 1<<19 + 4096, 1 << 21
	for _, size := range []int64{less, more, Size} {
		if err := r.Resize(size); err != nil {
			t.Skipf("SKIP: this store can not be resized after all: %v", err)
		}
		if got := s.Store.Size(); got != size {
			t.Fatalf("Size() = %d after Resize(%d)", got, size)
		}
		want := make([]byte, size)
		copy(want, pattern(0, less))
		expect(t, s.Store, 0, want)
		if _, err := s.Store.WriteAt([]byte("x"), size); !errors.Is(err, store.ErrOutOfRange) {
			t.Errorf("WriteAt beyond %d bytes: %v, want ErrOutOfRange", size, err)
		}
		if err := store.WriteZeroes(s.Store, size-4096, 8192); !errors.Is(err, store.ErrOutOfRange) {
			t.Errorf("WriteZeroes beyond %d bytes: %v, want ErrOutOfRange", size, err)
		}
	}
	if err := r.Resize(0); err != nil || s.Store.Size() != Size {
		t.Errorf("Resize(0): %v, %d bytes; want those that the medium has", err, s.Store.Size())
	}
}

func testReopen(t *testing.T, s Subject) {
	if s.Reopen == nil {
		t.Skip("SKIP: this store does not outlive its closing")
	}
	want := pattern(0, Size)
	write(t, s.Store, 0, want)
	if err := store.WriteZeroes(s.Store, 8192, 65536); err != nil {
		t.Fatal(err)
	}
	clear(want[8192:][:65536])
	if err := s.Store.Flush(); err != nil {
		t.Fatal(err)
	}
	again := s.Reopen(t)
	if got := again.Size(); got != Size {
		t.Errorf("Size() after reopening = %d, want %d", got, Size)
	}
	expect(t, again, 0, want)
}

// testReadOnly checks that nothing changes a store opened for reading.
func testReadOnly(t *testing.T, s Subject) {
	if s.ReadOnly == nil {
		t.Skip("SKIP: this store can not be opened read-only")
	}
	want := pattern(0, Size)
	write(t, s.Store, 0, want)
	if err := s.Store.Flush(); err != nil {
		t.Fatal(err)
	}
	ro := s.ReadOnly(t)
	if r, ok := ro.(store.ReadOnlyer); !ok || !r.ReadOnly() {
		t.Error("it does not say that it is read-only")
	}
	zeros := make([]byte, 4096)
	tries := map[string]func() error{
		"WriteAt":     func() error { _, err := ro.WriteAt(zeros, 0); return err },
		"WriteZeroes": func() error { return store.WriteZeroes(ro, 0, 4096) },
	}
	if p, ok := ro.(store.Prompt); ok {
		tries["TryWriteAt"] = func() error { _, err := p.TryWriteAt(zeros, 0); return err }
	}
	if d, ok := ro.(store.DurableWriter); ok {
		tries["WriteDurable"] = func() error { _, err := d.WriteDurable(zeros, 0); return err }
	}
	if d, ok := ro.(store.Discarder); ok {
		tries["Discard"] = func() error { return d.Discard(0, 4096) }
	}
	for name, try := range tries {
		if err := try(); !errors.Is(err, store.ErrReadOnly) && !errors.Is(err, store.ErrWouldBlock) {
			t.Errorf("%s: %v, want ErrReadOnly", name, err)
		}
	}
	if err := ro.Flush(); err != nil {
		t.Errorf("Flush: %v", err)
	}
	got := make([]byte, Size)
	if _, err := ro.ReadAt(got, 0); err != nil || !bytes.Equal(got, want) {
		t.Errorf("it is no longer what was written (error %v)", err)
	}
}
