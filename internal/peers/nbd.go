package peers

import (
	"context"
	"net"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// NBD is an NBD server that can be killed and started again. It ends with the
// test.
type NBD struct {
	Socket string // the Unix socket that it listens on; empty: TCP
	Addr   string // the address of the TCP port that it listens on; empty: a socket

	t    testing.TB
	name string
	args []string
	d    *daemon
}

// QEMU serves an image by qemu-nbd, to eight connections at a time, with further
// arguments before the file.
func QEMU(t testing.TB, format, file string, args ...string) *NBD {
	t.Helper()
	s := &NBD{t: t, name: Program(t, "qemu-nbd", "qemu-utils"), Socket: filepath.Join(t.TempDir(), "nbd.sock")}
	s.args = append([]string{"--persistent", "--shared=8", "--format=" + format, "--discard=unmap", "--socket=" + s.Socket}, args...)
	s.args = append(s.args, file)
	return s.started()
}

// NBDKit runs nbdkit with the given arguments: filters, plugin and what these
// take.
func NBDKit(t testing.TB, args ...string) *NBD {
	t.Helper()
	s := &NBD{t: t, name: Program(t, "nbdkit", "nbdkit"), Socket: filepath.Join(t.TempDir(), "nbd.sock")}
	s.args = append([]string{"--foreground", "--newstyle", "--unix=" + s.Socket}, args...)
	return s.started()
}

// NBDKitTCP is NBDKit on a port of loopback.
func NBDKitTCP(t testing.TB, args ...string) *NBD {
	t.Helper()
	port := FreePort(t)
	s := &NBD{t: t, name: Program(t, "nbdkit", "nbdkit"), Addr: "127.0.0.1:" + port}
	s.args = append([]string{"--foreground", "--newstyle", "--ipaddr=127.0.0.1", "--port=" + port}, args...)
	return s.started()
}

func (s *NBD) started() *NBD {
	s.t.Helper()
	s.Start()
	s.t.Cleanup(func() { s.Kill() })
	return s
}

// URI names the server's nameless export.
func (s *NBD) URI() string {
	if s.Addr != "" {
		return "nbd://" + s.Addr
	}
	return "nbd+unix:///?socket=" + s.Socket
}

// Start starts the server again after Kill, and returns when it can be reached.
func (s *NBD) Start() {
	s.t.Helper()
	if err := s.start(); err != nil {
		s.t.Fatal(err)
	}
}

func (s *NBD) start() error {
	network, address := "tcp", s.Addr
	if s.Socket != "" {
		network, address = "unix", s.Socket
		_ = syscall.Unlink(address) // of the server that was killed
	}
	var err error
	if s.d, err = run(s.name, s.args...); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	return s.d.await(ctx, func() error {
		c, err := net.Dial(network, address)
		if err == nil {
			c.Close()
		}
		return err
	})
}

// Kill ends the server as a power failure ends it: by SIGKILL.
func (s *NBD) Kill() { s.d.stop() }

// Signal sends the server a signal, such as SIGSTOP.
func (s *NBD) Signal(sig syscall.Signal) {
	s.t.Helper()
	if err := s.d.cmd.Process.Signal(sig); err != nil {
		s.t.Fatal(err)
	}
}
