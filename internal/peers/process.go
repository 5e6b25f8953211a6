package peers

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"testing"
	"time"
)

// errRoot says that a daemon runs as root only.
var errRoot = errors.New("needs root")

// Program returns the path of a program, or skips the test.
func Program(t testing.TB, name, pkg string) string {
	t.Helper()
	path, err := find(name, pkg)
	skipWithout(t, err)
	return path
}

func find(name, pkg string) (string, error) {
	path, err := exec.LookPath(name)
	if err != nil {
		return "", fmt.Errorf("needs %s (apt install %s): %w", name, pkg, err)
	}
	return path, nil
}

// skipWithout skips a test that cannot run here, and fails one that should.
func skipWithout(t testing.TB, err error) {
	t.Helper()
	switch {
	case errors.Is(err, exec.ErrNotFound), errors.Is(err, errRoot):
		t.Skipf("SKIP: %v", err)
	case err != nil:
		t.Fatal(err)
	}
}

// FreePort returns a TCP port on loopback that nobody listens on.
func FreePort(t testing.TB) string {
	t.Helper()
	port, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	return port
}

func freePort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return strconv.Itoa(l.Addr().(*net.TCPAddr).Port), nil
}

// daemon is a program of somebody else that runs until it is stopped.
type daemon struct {
	cmd   *exec.Cmd
	said  output
	ended chan struct{}
}

func start(name string, args ...string) (*daemon, error) {
	if os.Geteuid() != 0 {
		return nil, fmt.Errorf("%s %w", name, errRoot)
	}
	return run(name, args...)
}

// run is start for a daemon that anybody may run.
func run(name string, args ...string) (*daemon, error) {
	d := &daemon{cmd: exec.Command(name, args...), ended: make(chan struct{})}
	d.cmd.Stdout, d.cmd.Stderr = &d.said, &d.said
	if err := d.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		_ = d.cmd.Wait() // killed, or its output tells
		close(d.ended)
	}()
	return d, nil
}

// await waits until the daemon is ready, of which it gives no sign of its own.
func (d *daemon) await(ctx context.Context, ready func() error) error {
	for {
		err := ready()
		if err == nil {
			return nil
		}
		select {
		case <-d.ended:
			return fmt.Errorf("%s ended: %w\n%s", d.cmd.Path, err, &d.said)
		case <-ctx.Done():
			return fmt.Errorf("%s does not come up: %w\n%s", d.cmd.Path, err, &d.said)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func (d *daemon) stop() {
	_ = d.cmd.Process.Kill() // it may have ended
	<-d.ended
}

// output is what a daemon has said.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}
