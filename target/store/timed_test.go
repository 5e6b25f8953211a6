package store_test

import (
	"bytes"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bootlun/bootlun/target/store"
	"github.com/bootlun/bootlun/target/store/storetest"
)

func TestTimed(t *testing.T) {
	storetest.Run(t, func(t *testing.T, size int64) storetest.Subject {
		sub := fileSubject(t, sparseFile(t, "", size), store.FileOptions{})
		timed := func(open func(*testing.T) store.Store) func(*testing.T) store.Store {
			return func(t *testing.T) store.Store { return store.NewTimed(open(t), time.Minute) }
		}
		sub.Store, sub.Reopen, sub.ReadOnly = store.NewTimed(sub.Store, time.Minute), timed(sub.Reopen), timed(sub.ReadOnly)
		return sub
	})
}

func TestTimedGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := storetest.NewFaulty(store.NewMemory(1 << 20))
		s := store.NewTimed(f, time.Second)
		p := []byte("written late")
		f.Hang(storetest.Read)
		if _, err := s.ReadAt(make([]byte, 10), 0); !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("a read that hangs: %v", err)
		}
		if _, err := s.WriteAt([]byte("other"), 512); err != nil {
			t.Errorf("a write while only a read hangs: %v", err)
		}
		f.Hang(storetest.Write)
		if _, err := s.WriteAt(p, 0); !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("a write that hangs: %v", err)
		}
		copy(p, "changed since") // the caller's again
		before := time.Now()
		if err := s.WriteZeroes(0, 512); !errors.Is(err, store.ErrUnavailable) || time.Since(before) > 0 {
			t.Errorf("a change that could be overtaken: %v after %v", err, time.Since(before))
		}
		if err := s.Close(); !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("Close: %v", err)
		}
		f.Release()
		synctest.Wait()
		got := make([]byte, 12)
		if _, err := s.ReadAt(got, 0); err != nil || !bytes.Equal(got, []byte("written late")) {
			t.Errorf("when it is back: %q, %v", got, err)
		}
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
}
