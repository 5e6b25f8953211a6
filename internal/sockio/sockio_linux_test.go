package sockio

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"net"
	"testing"

	"golang.org/x/sys/unix"
)

// What was written comes out, whatever the buffers and however often the socket is full.
func TestSend(t *testing.T) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	var want, got []byte
	var v net.Buffers
	random := rand.New(rand.NewPCG(1, 2))
	for range 3000 {
		b := make([]byte, random.IntN(2)*random.IntN(4000))
		for i := range b {
			b[i] = byte(random.Uint32())
		}
		v, want = append(v, b), append(want, b...)
	}
	var s Sender
	var written int64
	full := 0
	for chunk := make([]byte, 1<<16); len(got) < len(want); {
		n, err := s.Send(fds[0], &v)
		if err != nil {
			t.Fatal(err)
		}
		if written += n; len(v) > 0 {
			full++
		}
		m, err := Receive(fds[1], chunk, 0)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, chunk[:m]...)
	}
	if !bytes.Equal(got, want) || written != int64(len(want)) || len(v) != 0 || full == 0 {
		t.Errorf("%d bytes of %d read, %d written, %d buffers left, %d times full", len(got), len(want), written, len(v), full)
	}
	if _, err := Receive(fds[1], make([]byte, 1), unix.MSG_DONTWAIT); !errors.Is(err, unix.EAGAIN) {
		t.Errorf("error %v, want EAGAIN", err)
	}
	unix.Close(fds[1])
	v = net.Buffers{nil, []byte("x")}
	if _, err := s.Send(fds[0], &v); !errors.Is(err, unix.EPIPE) {
		t.Errorf("error %v, want EPIPE", err)
	}
	unix.Close(fds[0])
}
