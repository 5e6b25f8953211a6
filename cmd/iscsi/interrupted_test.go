package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bootlun/bootlun/internal/cli"
	"github.com/bootlun/bootlun/internal/cli/clitest"
	"github.com/bootlun/bootlun/target"
	"github.com/bootlun/bootlun/target/store"
)

const gatedSize = 48 << 20

// gatedDisk lets what goes beyond its first part through one by one, as long as its gate is not open.
type gatedDisk struct {
	store.Store
	pass, open chan struct{}
	lowest     atomic.Int64 // offset of what was read or written
}

func newGatedDisk(t *testing.T, content []byte) *gatedDisk {
	t.Helper()
	d := &gatedDisk{Store: store.NewMemory(gatedSize), pass: make(chan struct{}), open: make(chan struct{})}
	if _, err := d.Store.WriteAt(content, 0); err != nil {
		t.Fatal(err)
	}
	d.lowest.Store(math.MaxInt64)
	return d
}

func (d *gatedDisk) wait(off int64) {
	d.lowest.Store(min(d.lowest.Load(), off))
	if off < gatedSize/4 {
		return
	}
	select {
	case <-d.pass:
	case <-d.open:
	}
}

func (d *gatedDisk) ReadAt(p []byte, off int64) (int, error) {
	d.wait(off)
	return d.Store.ReadAt(p, off)
}

func (d *gatedDisk) WriteAt(p []byte, off int64) (int, error) {
	d.wait(off)
	return d.Store.WriteAt(p, off)
}

// restartable serves a disk at one address, by one server after the other.
type restartable struct {
	t     *testing.T
	disk  store.Store
	addr  string
	stop  context.CancelFunc
	ended chan error
}

func (r *restartable) start() {
	r.t.Helper()
	server, err := target.New(target.Config{Targets: []*target.Target{{Name: testTarget, LUNs: []target.LUN{{Store: r.disk}}}}, LogoutTimeout: -1})
	if err != nil {
		r.t.Fatal(err)
	}
	l, err := net.Listen("tcp", r.addr)
	if err != nil {
		r.t.Fatal(err)
	}
	r.addr = l.Addr().String()
	var ctx context.Context
	ctx, r.stop = context.WithCancel(context.WithoutCancel(r.t.Context()))
	r.ended = make(chan error, 1)
	go func() { r.ended <- server.Serve(ctx, l) }()
}

func (r *restartable) end() {
	r.stop()
	<-r.ended
}

func (r *restartable) url() string { return "iscsi://" + r.addr + "/" + testTarget + "/0" }

// copying is a copy by a process of its own.
type copying struct {
	*exec.Cmd
	said bytes.Buffer
}

func startCopy(t *testing.T, args ...string) *copying {
	t.Helper()
	c := &copying{Cmd: exec.CommandContext(t.Context(), filepath.Join(clitest.ProgramDir(t, "iscsi"), "iscsi"), append([]string{"copy"}, args...)...)}
	c.Stdout, c.Stderr = &c.said, &c.said
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	return c
}

// noted lets a copy on, step by step, until it has noted how far it is, and returns that.
func noted(t *testing.T, d *gatedDisk, c *copying, file string) int64 {
	t.Helper()
	deadline := time.After(time.Minute)
	// Slower than a note is due, or there would be none before the end.
	for range time.Tick(100 * time.Millisecond) {
		var n note
		if b, err := os.ReadFile(file + ".progress"); err == nil && json.Unmarshal(b, &n) == nil && n.Done > 0 {
			return n.Done
		}
		select {
		case d.pass <- struct{}{}:
		case <-deadline:
			_ = c.Process.Kill() // or what it said cannot be read
			_ = c.Wait()
			t.Fatalf("no note of the copy's progress: %s", &c.said)
		default:
		}
	}
	return 0
}

// A copy whose process is killed leaves a note, and goes on where that says; nothing is taken for a whole copy before.
func TestCopyKilled(t *testing.T) {
	content := diskContent(t)
	for _, way := range []string{"to a file", "to the disk"} {
		t.Run(way, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "file")
			disk := newGatedDisk(t, content)
			args := func(url string) []string { return []string{url, file} }
			if way == "to the disk" {
				if err := os.WriteFile(file, content, 0o600); err != nil {
					t.Fatal(err)
				}
				disk = newGatedDisk(t, []byte("something else"))
				args = func(url string) []string { return []string{file, url} }
			}
			r := &restartable{t: t, disk: disk, addr: "127.0.0.1:0"}
			r.start()
			defer func() { r.end() }()
			c := startCopy(t, args(r.url())...)
			at := noted(t, disk, c, file)
			if err := c.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			_ = c.Wait() // killed
			close(disk.open)
			r.end() // with what it may still have done of the killed one's commands
			r.start()
			disk.lowest.Store(math.MaxInt64)
			line := strings.Join(args(r.url()), " ")
			if code, _, errout := runIn(t, "", "copy "+line); code != cli.ExitFailed || !strings.Contains(errout, "--resume") {
				t.Errorf("a copy over an interrupted one: exit %d, %s", code, errout)
			}
			succeed(t, "", "copy --resume "+line)
			if low := disk.lowest.Load(); low < at {
				t.Errorf("resumed at %d, though all up to %d was noted", low, at)
			}
			sameContent(t, disk, file, content)
		})
	}
}

// diskContent is random data with holes.
func diskContent(t *testing.T) []byte {
	t.Helper()
	b, err := os.ReadFile(diskImage(t, gatedSize))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// sameContent compares a disk and a file with what both should have.
func sameContent(t *testing.T, d store.Store, file string, content []byte) {
	t.Helper()
	on := make([]byte, len(content))
	if _, err := d.ReadAt(on, 0); err != nil || !bytes.Equal(on, content) {
		t.Errorf("the disk has something else (%v)", err)
	}
	if in, err := os.ReadFile(file); err != nil || !bytes.Equal(in, content) {
		t.Errorf("the file has something else (%v)", err)
	}
	if _, err := os.Stat(file + ".progress"); err == nil {
		t.Error("the note of the copy's progress is left behind")
	}
}

// A copy outlives its target; or, if it may not wait, it ends and goes on when told.
func TestCopyTargetRestarted(t *testing.T) {
	content := diskContent(t)
	for _, patience := range []string{"1m", "0s"} {
		t.Run("patience of "+patience, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "file")
			disk := newGatedDisk(t, content)
			r := &restartable{t: t, disk: disk, addr: "127.0.0.1:0"}
			r.start()
			defer func() { r.end() }()
			c := startCopy(t, "--recover", patience, r.url(), file)
			noted(t, disk, c, file)
			close(disk.open)
			r.end()
			if patience == "0s" {
				if err := c.Wait(); err == nil || c.ProcessState.ExitCode() != exitNoConnection {
					t.Fatalf("without patience: %v: %s", err, &c.said)
				}
				r.start()
				succeed(t, "", "copy --resume "+r.url()+" "+file)
			} else {
				r.start()
				if err := c.Wait(); err != nil {
					t.Fatalf("%v: %s", err, &c.said)
				}
			}
			sameContent(t, disk, file, content)
		})
	}
}

// Of a place where no note can be written a copy is made that cannot be resumed.
func TestCopyWithoutNote(t *testing.T) {
	disk := newGatedDisk(t, nil)
	close(disk.open)
	r := &restartable{t: t, disk: disk, addr: "127.0.0.1:0"}
	r.start()
	defer r.end()
	file := filepath.Join(t.TempDir(), "file")
	content := diskContent(t)
	if err := os.WriteFile(file, content, 0o600); err != nil {
		t.Fatal(err)
	}
	fd, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer fd.Close()
	// Folders of /proc take no files, not even root's.
	name := fmt.Sprintf("/proc/self/fd/%d", fd.Fd())
	code, _, errout := runIn(t, "", "copy "+name+" "+r.url())
	if code != cli.ExitOK || !strings.Contains(errout, "cannot be resumed") {
		t.Errorf("exit %d: %s", code, errout)
	}
	sameContent(t, disk, file, content)
}
