package nbd_test

import (
	"bytes"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/bootlun/bootlun/internal/peers"
	"github.com/bootlun/bootlun/target/store"
	"github.com/bootlun/bootlun/target/store/nbd"
	"github.com/bootlun/bootlun/target/store/storetest"
)

// The acceptance suite over real servers, and over servers that have less.
func TestServers(t *testing.T) {
	for name, serve := range map[string]func(t *testing.T, size int64) *peers.NBD{
		"qemu-nbd raw":   func(t *testing.T, size int64) *peers.NBD { return peers.QEMU(t, "raw", image(t, "raw", size)) },
		"qemu-nbd qcow2": func(t *testing.T, size int64) *peers.NBD { return peers.QEMU(t, "qcow2", image(t, "qcow2", size)) },
		"nbdkit file": func(t *testing.T, size int64) *peers.NBD {
			return peers.NBDKit(t, "file", image(t, "raw", size))
		},
		"nbdkit with simple replies, by TCP": func(t *testing.T, size int64) *peers.NBD {
			return peers.NBDKitTCP(t, "--no-sr", "file", image(t, "raw", size))
		},
		"nbdkit with blocks of 512 bytes": func(t *testing.T, size int64) *peers.NBD {
			return peers.NBDKit(t, "--filter=blocksize-policy", "file", image(t, "raw", size),
				"blocksize-minimum=512", "blocksize-maximum=128K", "blocksize-error-policy=error")
		},
		"nbdkit without zeroing": func(t *testing.T, size int64) *peers.NBD {
			return peers.NBDKit(t, "--filter=nozero", "file", image(t, "raw", size))
		},
	} {
		t.Run(name, func(t *testing.T) {
			storetest.Run(t, func(t *testing.T, size int64) storetest.Subject {
				server := serve(t, size)
				s := open(t, server.URI(), nbd.Config{})
				again := func(cfg nbd.Config) func(*testing.T) store.Store {
					return func(t *testing.T) store.Store {
						s.Close()
						server.Kill()
						server.Start()
						return open(t, server.URI(), cfg)
					}
				}
				return storetest.Subject{Store: s, Reopen: again(nbd.Config{}), ReadOnly: again(nbd.Config{ReadOnly: true})}
			})
		})
	}
}

// An export that cannot be written is opened for reading only.
func TestReadOnlyExport(t *testing.T) {
	s := open(t, peers.NBDKit(t, "--readonly", "file", image(t, "raw", 1<<20)).URI(), nbd.Config{})
	if _, err := s.WriteAt(make([]byte, 512), 0); !s.ReadOnly() || !errors.Is(err, store.ErrReadOnly) {
		t.Errorf("ReadOnly() = %v, write: %v", s.ReadOnly(), err)
	}
}

// A golden image on a web server, read through nbdkit: what docs/stores.md shows.
func TestImageOverHTTP(t *testing.T) {
	want := bytes.Repeat([]byte("golden image "), 100_000)
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "golden.img", time.Time{}, bytes.NewReader(want))
	}))
	defer web.Close()
	s := open(t, peers.NBDKit(t, "--readonly", "curl", "url="+web.URL+"/golden.img").URI(), nbd.Config{})
	got := make([]byte, len(want))
	if _, err := s.ReadAt(got, 0); err != nil || !bytes.Equal(got, want) || !s.ReadOnly() {
		t.Errorf("not the image (read-only %v, error %v)", s.ReadOnly(), err)
	}
}

// Errors of the server arrive as what they are, and the data that was
// acknowledged before stays.
func TestServerErrors(t *testing.T) {
	trigger := filepath.Join(t.TempDir(), "fail")
	for name, want := range map[string]error{"EIO": syscall.EIO, "ENOSPC": syscall.ENOSPC, "EPERM": syscall.EPERM} {
		t.Run(name, func(t *testing.T) {
			server := peers.NBDKit(t, "--filter=error", "memory", "1M", "error="+name, "error-rate=100%", "error-file="+trigger)
			s := open(t, server.URI(), nbd.Config{})
			before := bytes.Repeat([]byte("before"), 100)
			if _, err := s.WriteAt(before, 0); err != nil {
				t.Fatal(err)
			}
			touch(t, trigger)
			if _, err := s.WriteAt([]byte("after"), 0); !errors.Is(err, want) {
				t.Errorf("write: %v, want %v", err, want)
			}
			if _, err := s.ReadAt(make([]byte, 5), 0); !errors.Is(err, want) || errors.Is(err, store.ErrReadOnly) {
				t.Errorf("read: %v, want %v", err, want)
			}
			if err := s.WriteZeroes(0, 512); !errors.Is(err, want) {
				t.Errorf("zero: %v, want %v", err, want)
			}
			os.Remove(trigger)
			got := make([]byte, len(before))
			if _, err := s.ReadAt(got, 0); err != nil || !bytes.Equal(got, before) {
				t.Errorf("read after the errors: %q, %v", got, err)
			}
		})
	}
}

// A flush and a durable write arrive at the server as NBD_CMD_FLUSH and
// NBD_CMD_FLAG_FUA, as its own log says.
func TestFlushArrives(t *testing.T) {
	log := filepath.Join(t.TempDir(), "log")
	server := peers.NBDKit(t, "--filter=log", "memory", "1M", "logfile="+log)
	s := open(t, server.URI(), nbd.Config{})
	for range 3 {
		if _, err := s.WriteAt(make([]byte, 4096), 0); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.WriteDurable(make([]byte, 4096), 8192); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := s.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	var flushes, writes, fua int
	for line := range strings.Lines(string(text)) {
		switch {
		case strings.Contains(line, " Flush "):
			flushes++
		case strings.Contains(line, " Write ") && strings.Contains(line, "fua=1"):
			fua++
		case strings.Contains(line, " Write "):
			writes++
		}
	}
	if flushes != 3 || writes != 3 || fua != 1 {
		t.Errorf("%d flushes, %d writes and %d with FUA arrived, want 3 (one of them by Open), 3 and 1:\n%s", flushes, writes, fua, text)
	}
}

// An export that grows is seen by Resize.
func TestResize(t *testing.T) {
	path := image(t, "raw", 1<<20)
	s := open(t, peers.NBDKit(t, "file", path).URI(), nbd.Config{})
	if err := os.Truncate(path, 3<<20); err != nil {
		t.Fatal(err)
	}
	if s.Size() != 1<<20 {
		t.Errorf("Size() = %d before Resize", s.Size())
	}
	if err := s.Resize(0); err != nil || s.Size() != 3<<20 {
		t.Errorf("Resize: %v, Size() = %d", err, s.Size())
	}
	if _, err := s.WriteAt([]byte("x"), 3<<20-1); err != nil {
		t.Errorf("write of the last new byte: %v", err)
	}
	if err := s.Resize(5 << 20); err == nil || !strings.Contains(err.Error(), "where it is served") {
		t.Errorf("Resize to what the export is not: %v", err)
	}
}

// A server that is away too long fails the calls, which the next one serves
// again, with what the first had acknowledged.
func TestServerAway(t *testing.T) {
	server := peers.NBDKit(t, "memory", "1M") // a new one has forgotten all
	s := open(t, server.URI(), nbd.Config{ReconnectTimeout: 200 * time.Millisecond})
	want := bytes.Repeat([]byte("kept"), 1000)
	if _, err := s.WriteAt(want, 100); err != nil {
		t.Fatal(err)
	}
	server.Kill()
	if _, err := s.ReadAt(make([]byte, 10), 0); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("read without a server: %v, want ErrUnavailable", err)
	}
	if err := s.Flush(); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("flush without a server: %v, want ErrUnavailable", err)
	}
	server.Start()
	got := make([]byte, len(want))
	readBack(t, s, got, 100)
	if !bytes.Equal(got, want) {
		t.Error("a write that was acknowledged and not flushed is lost with the server")
	}
	if err := s.Flush(); err != nil {
		t.Errorf("flush with the server back: %v", err)
	}
	server.Kill() // what was flushed is the server's to keep, and this one does not
	server.Start()
	readBack(t, s, got, 100)
	if !bytes.Equal(got, make([]byte, len(got))) {
		t.Error("what was flushed is written again")
	}
}

// readBack reads from a server that is coming back.
func readBack(t *testing.T, s *nbd.Store, p []byte, off int64) {
	t.Helper()
	var err error
	for range 1000 {
		if _, err = s.ReadAt(p, off); !errors.Is(err, store.ErrUnavailable) {
			break
		}
		time.Sleep(10 * time.Millisecond) // it fails at once while the server is away
	}
	if err != nil {
		t.Fatal(err)
	}
}

// What a process has written that ended without a flush is flushed by the next
// one before it shows it to anybody: the server may still lose it, and no Flush
// of that process would answer for it.
func TestOpenFlushes(t *testing.T) {
	server := peers.NBDKit(t, "--filter=cache", "file", image(t, "raw", 1<<20), "cache=writeback")
	want := bytes.Repeat([]byte("left"), 1024)
	first, err := nbd.Open(t.Context(), server.URI(), nbd.Config{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := first.WriteAt(want, 0); err != nil {
		t.Fatal(err)
	}
	first.Close()
	s := open(t, server.URI(), nbd.Config{})
	server.Kill()
	server.Start()
	got := make([]byte, len(want))
	if _, err := s.ReadAt(got, 0); err != nil || !bytes.Equal(got, want) {
		t.Errorf("it is lost with the server (error %v)", err)
	}
}

// A server that stops answering is taken to be gone.
func TestServerHangs(t *testing.T) {
	server := peers.NBDKit(t, "memory", "1M")
	s := open(t, server.URI(), nbd.Config{ReplyTimeout: 100 * time.Millisecond, ReconnectTimeout: 100 * time.Millisecond})
	server.Signal(syscall.SIGSTOP)
	var err error
	for err == nil { // the signal takes effect some time
		_, err = s.ReadAt(make([]byte, 10), 0)
	}
	if !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("read: %v, want ErrUnavailable", err)
	}
	server.Signal(syscall.SIGCONT)
}

func TestOpenRefuses(t *testing.T) {
	for uri, want := range map[string]string{
		"nbd://":                       "needs a host",
		"http://a/b":                   "scheme",
		"nbd://a/b?socket=/x":          "no socket=",
		"nbd+unix:///b":                "socket=",
		"nbd://a/b?x=y":                "unknown parameter",
		"nbd://user@a/b":               "user",
		"nbd+unix:///?socket=/nowhere": "nowhere",
	} {
		if _, err := nbd.Open(t.Context(), uri, nbd.Config{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q in it", uri, err, want)
		}
	}
	path := image(t, "raw", 1<<20)
	server := peers.QEMU(t, "raw", path, "--export-name=disk")
	if _, err := nbd.Open(t.Context(), server.URI(), nbd.Config{}); err == nil || !strings.Contains(err.Error(), "no such export") {
		t.Errorf("an export that is not there: %v", err)
	}
	open(t, "nbd+unix:///disk?socket="+server.Socket, nbd.Config{})
}

func open(t *testing.T, uri string, cfg nbd.Config) *nbd.Store {
	t.Helper()
	s, err := nbd.Open(t.Context(), uri, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// image makes an empty disk image.
func image(t *testing.T, format string, size int64) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "disk."+format)
	out, err := exec.Command(peers.Program(t, "qemu-img", "qemu-utils"), "create", "-q", "-f", format, path, strconv.FormatInt(size, 10)).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return path
}

func touch(t *testing.T, path string) {
	t.Helper()
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
}
