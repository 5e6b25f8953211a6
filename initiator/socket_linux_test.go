package initiator

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"testing"
	"time"

	"github.com/bootlun/bootlun/iscsi"
	"github.com/bootlun/bootlun/scsi"
)

// loopback returns the ends of a TCP connection.
func loopback(t testing.TB) (ours, theirs net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if ours, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if theirs, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ours.Close()
		theirs.Close()
	})
	return ours, theirs
}

// detached returns a socket of which reads may wait in the system call, or not, and the
// other end.
func detached(t *testing.T, patient bool) (*socket, net.Conn) {
	t.Helper()
	ours, theirs := loopback(t)
	s := newStream(ours).(*socket)
	if err := s.detach(); err != nil {
		t.Fatal(err)
	}
	s.patient = patient
	t.Cleanup(func() { s.Close() })
	return s, theirs
}

func TestSocket(t *testing.T) {
	for name, patient := range map[string]bool{"waits": true, "does not wait": false} {
		t.Run(name, func(t *testing.T) {
			t.Run("data", func(t *testing.T) { socketData(t, patient) })
			t.Run("late", func(t *testing.T) {
				s, peer := detached(t, patient)
				s.hurry(true)
				p := make([]byte, 10)
				if n, err := s.Read(p); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("%d, %v", n, err)
				}
				s.hurry(false)
				time.AfterFunc(10*moment, func() { _, _ = peer.Write([]byte("late")) })
				if n, err := s.Read(p); err != nil || string(p[:n]) != "late" {
					t.Errorf("%q, %v", p[:n], err)
				}
				peer.Close()
				if n, err := s.Read(p); n != 0 || err != io.EOF {
					t.Errorf("%d, %v", n, err)
				}
			})
			t.Run("close", func(t *testing.T) {
				s, _ := detached(t, patient)
				time.AfterFunc(10*moment, func() { s.Close() })
				if n, err := s.Read(make([]byte, 10)); n != 0 || err == nil {
					t.Errorf("%d, %v", n, err)
				}
				if _, err := s.Read(make([]byte, 10)); !errors.Is(err, net.ErrClosed) {
					t.Error(err)
				}
				if _, err := s.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
					t.Error(err)
				}
				if err := s.Close(); !errors.Is(err, net.ErrClosed) {
					t.Error(err)
				}
			})
			t.Run("close while there is no room", func(t *testing.T) {
				s, _ := detached(t, patient)
				time.AfterFunc(10*moment, func() { s.Close() })
				if n, err := s.Write(make([]byte, 64<<20)); n == 64<<20 || err == nil {
					t.Errorf("%d, %v", n, err)
				}
			})
		})
	}
}

// socketData sends both ways at once.
func socketData(t *testing.T, patient bool) {
	s, peer := detached(t, patient)
	want := make([]byte, 8<<20)
	random := rand.NewChaCha8([32]byte{2})
	random.Read(want)
	failed := make(chan error, 3)
	go func() {
		_, err := peer.Write(want)
		failed <- err
	}()
	go func() {
		_, err := s.Write(want)
		failed <- err
	}()
	go func() {
		got := make([]byte, len(want))
		_, err := io.ReadFull(peer, got)
		if err == nil && !bytes.Equal(got, want) {
			err = errors.New("the peer has got something else")
		}
		failed <- err
	}()
	got := make([]byte, len(want))
	if _, err := io.ReadFull(s, got); err != nil || !bytes.Equal(got, want) {
		t.Errorf("something else has come: %v", err)
	}
	for range 3 {
		if err := <-failed; err != nil {
			t.Error(err)
		}
	}
}

// overTCP are fakes that are reached by loopback.
type overTCP struct{ *fakes }

func (f overTCP) DialContext(ctx context.Context, _, address string) (net.Conn, error) {
	ours, theirs := loopback(f.t)
	f.dials = append(f.dials, address)
	n := len(f.dials) - 1
	f.wg.Go(func() {
		defer theirs.Close()
		f.serve(context.WithoutCancel(ctx), theirs, n)
	})
	return ours, nil
}

// A call that reads its answer itself is not kept by a target that stops within a PDU.
func TestStopsWithinPDU(t *testing.T) {
	f := newFakes(t, func(f *fake) error {
		c, err := f.command()
		if err != nil {
			return err
		}
		in := iscsi.DataIn{ITT: c.ITT, TTT: iscsi.ReservedTag}
		var b iscsi.BHS
		in.Encode(&b)
		b.SetResponseSN(f.statSN, f.expCmdSN, f.expCmdSN-1+f.window)
		b.SetDataSegmentLength(512)
		if _, err := f.NetConn().Write(append(b[:], make([]byte, 100)...)); err != nil {
			return err
		}
		return f.rest()
	})
	cfg := f.config()
	cfg.Dialer = overTCP{f}
	s := dial(t, cfg)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err := s.Execute(ctx, Command{CDB: scsi.ReadCDB(0, 1), In: make([]byte, 512)})
	if !errors.Is(err, ErrConnectionLost) && !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("err = %v", err)
	}
	s.Close()
	f.wg.Wait()
}
