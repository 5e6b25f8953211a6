package initramfs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// cacheDir returns dir, or the user's cache folder for this program.
func cacheDir(dir string) (string, error) {
	if dir != "" {
		return dir, nil
	}
	user, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("no folder to keep builds in: %w", err)
	}
	return filepath.Join(user, "bootlun"), nil
}

// keepUnused is how long the cache keeps what nobody asks for.
const keepUnused = 14 * 24 * time.Hour

// cached returns a file of the cache that make has written, now or earlier.
// The key must tell all that the contents depend on. Of several processes that
// want the same file one makes it, the others wait.
func cached(ctx context.Context, dir, key string, make func(file string) error) (string, error) {
	file := filepath.Join(dir, key)
	if used(file) {
		return file, nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	unlock, err := lock(ctx, file+".lock")
	if err != nil {
		return "", err
	}
	defer unlock()
	if used(file) {
		return file, nil
	}
	prune(dir)
	tmp := file + ".tmp"
	defer os.Remove(tmp)
	if err := make(tmp); err != nil {
		return "", err
	}
	return file, os.Rename(tmp, file)
}

// used reports whether a file of the cache is there, and marks it as in use.
func used(file string) bool {
	now := time.Now()
	return os.Chtimes(file, now, now) == nil
}

// prune removes files that have not been used for long. What cannot be removed
// now will be tried again.
func prune(dir string) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	for _, e := range entries {
		info, err := e.Info()
		if err == nil && info.Mode().IsRegular() && time.Since(info.ModTime()) > keepUnused {
			os.Remove(filepath.Join(dir, e.Name()))
		}
	}
}

// lock takes a lock that all processes of the machine share. The system gives
// it up for us should the process die.
func lock(ctx context.Context, name string) (unlock func(), err error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return func() { f.Close() }, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			f.Close()
			return nil, &os.PathError{Op: "lock", Path: name, Err: err}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			f.Close()
			return nil, fmt.Errorf("waiting for another build to end (%s): %w", name, context.Cause(ctx))
		}
	}
}

// writeFile writes a file in one step: readers see the old one or the new one.
func writeFile(name string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+"-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(data)
	err = errors.Join(err, f.Chmod(0o644), f.Close())
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), name)
}
