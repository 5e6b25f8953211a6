package initramfs

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestCached(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "cache")
	failure := errors.New("failure")
	_, err := cached(t.Context(), dir, "key", func(file string) error {
		if err := os.WriteFile(file, []byte("half"), 0o644); err != nil {
			return err
		}
		return failure
	})
	if !errors.Is(err, failure) {
		t.Fatalf("error %v, want that of make", err)
	}
	var made atomic.Int32
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			file, err := cached(t.Context(), dir, "key", func(file string) error {
				made.Add(1)
				return os.WriteFile(file, []byte("whole"), 0o644)
			})
			if data, readErr := os.ReadFile(file); err != nil || string(data) != "whole" {
				t.Errorf("got %q, %v, %v", data, err, readErr)
			}
		})
	}
	wg.Wait()
	if made.Load() != 1 {
		t.Errorf("made %d times", made.Load())
	}
}

func TestLockGivesUp(t *testing.T) {
	name := filepath.Join(t.TempDir(), "lock")
	unlock, err := lock(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := lock(ctx, name); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want Canceled", err)
	}
	unlock()
	if unlock, err = lock(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	unlock()
}

func TestProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b strings.Builder
		log := slog.New(slog.NewTextHandler(&b, nil))
		done := progress(t.Context(), log, "quick", "a", 1)
		time.Sleep(longStep - 1)
		done()
		if b.Len() > 0 {
			t.Errorf("a quick step says %s", b.String())
		}
		done = progress(t.Context(), log, "slow", "a", 1)
		time.Sleep(longStep + time.Second)
		done()
		if got := b.String(); !strings.Contains(got, `msg="slow ..." a=1`) || !strings.Contains(got, `msg="slow: done" a=1 took=3s`) {
			t.Errorf("a slow step says %s", got)
		}
	})
}

func TestPrune(t *testing.T) {
	dir := t.TempDir()
	for name, age := range map[string]time.Duration{"old": keepUnused + time.Hour, "asked-for": keepUnused + time.Hour, "young": time.Hour} {
		file := writeTestFile(t, filepath.Join(dir, name), name)
		then := time.Now().Add(-age)
		if err := os.Chtimes(file, then, then); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "kernels"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"asked-for", "new"} {
		if _, err := cached(t.Context(), dir, key, func(file string) error { return os.WriteFile(file, nil, 0o644) }); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]bool{"old": false, "asked-for": true, "young": true, "new": true, "kernels": true} {
		if _, err := os.Stat(filepath.Join(dir, name)); (err == nil) != want {
			t.Errorf("%s is there: %v, want %v", name, err == nil, want)
		}
	}
}
