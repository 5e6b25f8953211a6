package store_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/bootlun/bootlun/target/store"
	"github.com/bootlun/bootlun/target/store/storetest"
)

func TestMemory(t *testing.T) {
	storetest.Run(t, func(_ *testing.T, size int64) storetest.Subject {
		return storetest.Subject{Store: store.NewMemory(size)}
	})
}

func TestFile(t *testing.T) {
	dirs := map[string]string{"disk": "", "tmpfs": "/dev/shm"}
	for name, parent := range dirs {
		t.Run(name, func(t *testing.T) {
			storetest.Run(t, func(t *testing.T, size int64) storetest.Subject {
				return fileSubject(t, sparseFile(t, parent, size), store.FileOptions{})
			})
		})
	}
}

func TestFileDirect(t *testing.T) {
	storetest.Run(t, func(t *testing.T, size int64) storetest.Subject {
		path := sparseFile(t, "", size)
		s, err := store.OpenFile(path, store.FileOptions{Direct: true})
		if err != nil {
			t.Skipf("SKIP: needs a file system with direct access in blocks of 512 bytes: %v", err)
		}
		s.Close()
		return fileSubject(t, path, store.FileOptions{Direct: true})
	})
}

func TestFileDirectRefuses(t *testing.T) {
	_, err := store.OpenFile(sparseFile(t, "", 4096+100), store.FileOptions{Direct: true})
	if err == nil || !strings.Contains(err.Error(), "open it without") && !strings.Contains(err.Error(), "open the file without") {
		t.Errorf("a size that is not whole blocks: %v, want one that says what to do", err)
	}
}

func TestFilePreallocated(t *testing.T) {
	storetest.Run(t, func(t *testing.T, size int64) storetest.Subject {
		return fileSubject(t, sparseFile(t, "", size), store.FileOptions{Preallocate: true})
	})
}

func TestBlockDevice(t *testing.T) {
	storetest.Run(t, func(t *testing.T, size int64) storetest.Subject {
		return fileSubject(t, loopDevice(t, size), store.FileOptions{})
	})
}

func TestBlockDeviceReadOnly(t *testing.T) {
	s := open(t, loopDevice(t, 1<<20, "--read-only"), store.FileOptions{})
	if _, err := s.WriteAt(make([]byte, 512), 0); !s.ReadOnly() || !errors.Is(err, store.ErrReadOnly) {
		t.Errorf("a device that is read-only: ReadOnly() = %v, write: %v", s.ReadOnly(), err)
	}
}

func TestOverlay(t *testing.T) {
	t.Run("of zeros", func(t *testing.T) {
		storetest.Run(t, func(_ *testing.T, size int64) storetest.Subject {
			return storetest.Subject{Store: store.NewOverlay(store.NewMemory(size))}
		})
	})
	t.Run("of an image", func(t *testing.T) {
		storetest.Run(t, func(t *testing.T, size int64) storetest.Subject {
			image := bytes.Repeat([]byte("golden"), int(size)/6+1)[:size]
			pristine := bytes.Clone(image)
			t.Cleanup(func() {
				if !bytes.Equal(image, pristine) {
					t.Error("the base has changed")
				}
			})
			return storetest.Subject{Store: store.NewOverlay(bytes.NewReader(image)), Content: pristine}
		})
	})
	t.Run("of a file", func(t *testing.T) {
		storetest.Run(t, func(t *testing.T, size int64) storetest.Subject {
			base := open(t, sparseFile(t, "", size), store.FileOptions{ReadOnly: true})
			return storetest.Subject{Store: store.NewOverlay(base)}
		})
	})
}

func TestOverlaysShareABase(t *testing.T) {
	base := bytes.NewReader([]byte(strings.Repeat("base", 4096)))
	a, b := store.NewOverlay(base), store.NewOverlay(base)
	if _, err := a.WriteAt([]byte("AAAA"), 8); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 12)
	for s, want := range map[*store.Overlay]string{a: "basebaseAAAA", b: "basebasebase"} {
		if _, err := s.ReadAt(got, 0); err != nil || string(got) != want {
			t.Errorf("read %q, %v; want %q", got, err, want)
		}
	}
	if a.Held() != 4096 || b.Held() != 0 {
		t.Errorf("held %d and %d bytes, want one block and none", a.Held(), b.Held())
	}
	if err := a.Discard(0, 4096); err != nil {
		t.Fatal(err)
	}
	if a.Held() != 0 {
		t.Errorf("held %d bytes after discarding all that was written", a.Held())
	}
}

// Many machines write to clones of one golden volume at the same time, and each
// has its own.
func TestManyClones(t *testing.T) {
	const clones, size = 64, 1 << 20
	path := sparseFile(t, "", size)
	golden := bytes.Repeat([]byte("golden volume..."), size/16)
	if err := os.WriteFile(path, golden, 0o600); err != nil {
		t.Fatal(err)
	}
	base := open(t, path, store.FileOptions{ReadOnly: true})
	var wg sync.WaitGroup
	for i := range clones {
		wg.Go(func() {
			s := store.NewOverlay(base)
			want := bytes.Clone(golden)
			for n := range 32 {
				off := (i*7 + n*31) % 255 * 4096
				copy(want[off+100:], fmt.Sprintf("clone %d, write %d", i, n))
				if _, err := s.WriteAt(want[off+100:off+200], int64(off)+100); err != nil {
					t.Error(err)
				}
			}
			got := make([]byte, size)
			if _, err := s.ReadAt(got, 0); err != nil || !bytes.Equal(got, want) {
				t.Errorf("clone %d is not the golden volume and what was written to it (error %v)", i, err)
			}
		})
	}
	wg.Wait()
	if got, _ := os.ReadFile(path); !bytes.Equal(got, golden) {
		t.Error("the golden volume has changed")
	}
}

// brokenBase fails to read its second half.
type brokenBase struct{ store.Base }

func (b brokenBase) ReadAt(p []byte, off int64) (int, error) {
	if off+int64(len(p)) > b.Size()/2 {
		return 0, fs.ErrInvalid
	}
	return b.Base.ReadAt(p, off)
}

func TestOverlayReportsItsBase(t *testing.T) {
	o := store.NewOverlay(brokenBase{store.NewMemory(16384)})
	p := make([]byte, 512)
	if _, err := o.ReadAt(p, 0); err != nil {
		t.Errorf("read where the base is whole: %v", err)
	}
	if _, err := o.ReadAt(p, 12288); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("read where it is not: %v", err)
	}
	if _, err := o.WriteAt(p, 12288); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("write of a part of a block: %v", err)
	}
	if _, err := o.WriteAt(make([]byte, 4096), 12288); err != nil {
		t.Errorf("write of a whole block: %v", err)
	}
	if _, err := o.TryReadAt(p, 0); !errors.Is(err, store.ErrWouldBlock) {
		t.Errorf("TryReadAt over a base that is not Prompt: %v", err)
	}
}

func TestMemoryHoldsWhatIsWritten(t *testing.T) {
	m := store.NewMemory(1 << 40)
	if _, err := m.WriteAt([]byte("x"), 1<<39); err != nil {
		t.Fatal(err)
	}
	if m.Held() != 64<<10 {
		t.Errorf("held %d bytes after writing one, want one page", m.Held())
	}
	if err := m.Discard(0, 1<<32); err != nil {
		t.Fatal(err)
	}
	if err := m.Discard(1<<39, 1<<20); err != nil {
		t.Fatal(err)
	}
	if m.Held() != 0 {
		t.Errorf("held %d bytes after discarding them", m.Held())
	}
}

func TestFileLock(t *testing.T) {
	path := sparseFile(t, "", 4096)
	a := open(t, path, store.FileOptions{})
	for _, ro := range []bool{false, true} {
		_, err := store.OpenFile(path, store.FileOptions{ReadOnly: ro})
		if !errors.Is(err, store.ErrLocked) || !strings.Contains(err.Error(), path) {
			t.Errorf("second OpenFile (read-only %v): %v, want ErrLocked naming the file", ro, err)
		}
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	open(t, path, store.FileOptions{ReadOnly: true})
	open(t, path, store.FileOptions{ReadOnly: true})
	if _, err := store.OpenFile(path, store.FileOptions{}); !errors.Is(err, store.ErrLocked) {
		t.Errorf("OpenFile for writing beside readers: %v, want ErrLocked", err)
	}
}

func TestFileReadOnly(t *testing.T) {
	s := open(t, sparseFile(t, "", 4096), store.FileOptions{ReadOnly: true})
	if !s.ReadOnly() {
		t.Error("ReadOnly() is false")
	}
	if _, err := s.WriteAt([]byte("x"), 0); !errors.Is(err, store.ErrReadOnly) {
		t.Errorf("WriteAt: %v", err)
	}
	if err := s.Discard(0, 512); !errors.Is(err, store.ErrReadOnly) {
		t.Errorf("Discard: %v", err)
	}
	if err := s.Flush(); err != nil {
		t.Errorf("Flush: %v", err)
	}
}

func TestFilePunchesHoles(t *testing.T) {
	path := sparseFile(t, "/dev/shm", 1<<20)
	s := open(t, path, store.FileOptions{})
	if _, err := s.WriteAt(bytes.Repeat([]byte("x"), 1<<20), 0); err != nil {
		t.Fatal(err)
	}
	full := allocated(t, path)
	if err := s.Discard(0, 1<<20); err != nil {
		t.Fatal(err)
	}
	if full < 1<<20 || allocated(t, path) != 0 {
		t.Errorf("%d bytes allocated when full and %d after discarding all", full, allocated(t, path))
	}
}

func TestOpenFileRefuses(t *testing.T) {
	dir := t.TempDir()
	if _, err := store.OpenFile(filepath.Join(dir, "none"), store.FileOptions{}); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "truncate") {
		t.Errorf("a file that is not there: %v, want one that says how to make it", err)
	}
	for _, path := range []string{dir, "/dev/null"} {
		if _, err := store.OpenFile(path, store.FileOptions{ReadOnly: true}); err == nil || !strings.Contains(err.Error(), "not a regular file") {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func TestFileThatShrank(t *testing.T) {
	path := sparseFile(t, "", 8192)
	s := open(t, path, store.FileOptions{})
	if err := os.Truncate(path, 4096); err != nil {
		t.Fatal(err)
	}
	if _, err := s.ReadAt(make([]byte, 4096), 4096); err == nil {
		t.Error("read beyond the new end succeeded")
	}
}

func fileSubject(t *testing.T, path string, opts store.FileOptions) storetest.Subject {
	s := open(t, path, opts)
	again := func(readOnly bool) func(*testing.T) store.Store {
		return func(t *testing.T) store.Store {
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			opts.ReadOnly = readOnly
			return open(t, path, opts)
		}
	}
	return storetest.Subject{Store: s, Reopen: again(false), ReadOnly: again(true)}
}

func open(t *testing.T, path string, opts store.FileOptions) *store.File {
	t.Helper()
	s, err := store.OpenFile(path, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil && !errors.Is(err, fs.ErrClosed) {
			t.Error(err)
		}
	})
	return s
}

// sparseFile makes a file of zeros in parent, or where tests keep theirs.
func sparseFile(t *testing.T, parent string, size int64) string {
	t.Helper()
	dir := t.TempDir()
	if parent != "" {
		var err error
		if dir, err = os.MkdirTemp(parent, "store"); err != nil {
			t.Skipf("SKIP: needs to write to %s: %v", parent, err)
		}
		t.Cleanup(func() { os.RemoveAll(dir) })
	}
	path := filepath.Join(dir, "disk.img")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, size); err != nil {
		t.Fatal(err)
	}
	return path
}

// loopDevice makes a block device of a file of zeros, with arguments of losetup.
func loopDevice(t *testing.T, size int64, args ...string) string {
	t.Helper()
	path := sparseFile(t, "", size)
	out, err := exec.Command("losetup", append(args, "--find", "--show", path)...).CombinedOutput()
	if err != nil {
		t.Skipf("SKIP: needs losetup, root and loop devices: %v: %s", err, out)
	}
	dev := strings.TrimSpace(string(out))
	t.Cleanup(func() {
		if out, err := exec.Command("losetup", "--detach", dev).CombinedOutput(); err != nil {
			t.Errorf("losetup --detach %s: %v: %s", dev, err, out)
		}
	})
	return dev
}

func TestFileResizes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "disk.img")
	if err := os.WriteFile(path, bytes.Repeat([]byte{7}, 8192), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := store.OpenFile(path, store.FileOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	want := func(size int64) {
		t.Helper()
		if s.Size() != size {
			t.Errorf("size %d, want %d", s.Size(), size)
		}
	}
	if err := s.Resize(16384); err != nil {
		t.Fatal(err)
	}
	want(16384)
	b := make([]byte, 2)
	if _, err := s.ReadAt(b, 8191); err != nil || b[0] != 7 || b[1] != 0 {
		t.Errorf("around the old end: %v, %v", b, err)
	}
	if err := os.Truncate(path, 32768); err != nil {
		t.Fatal(err)
	}
	want(16384) // until it is told
	if err := s.Resize(0); err != nil {
		t.Fatal(err)
	}
	want(32768)
	if err := s.Resize(4096); err != nil {
		t.Fatal(err)
	}
	want(4096)
	if _, err := s.ReadAt(b, 8191); !errors.Is(err, store.ErrOutOfRange) {
		t.Errorf("read beyond the new end: %v", err)
	}
	s.Close()
	readOnly := open(t, path, store.FileOptions{ReadOnly: true})
	if err := readOnly.Resize(8192); !errors.Is(err, store.ErrReadOnly) {
		t.Errorf("resize of a read-only file: %v", err)
	}
}
