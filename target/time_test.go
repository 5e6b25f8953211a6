package target_test

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bootlun/bootlun/iscsi"
	"github.com/bootlun/bootlun/scsi"
	"github.com/bootlun/bootlun/target"
	"github.com/bootlun/bootlun/target/store"
)

// pipes is a listener whose connections are pipes within the process, so that
// tests can be about time.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newPipes() *pipes {
	return &pipes{conns: make(chan net.Conn), closed: make(chan struct{})}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipes", Net: "pipe"} }

func (p *pipes) dial() net.Conn {
	a, b := net.Pipe()
	p.conns <- b
	return a
}

// timed runs a test in a bubble of its own time, with a server on pipes.
func timed(t *testing.T, cfg target.Config, test func(t *testing.T, l *pipes, stop func())) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		cfg.Targets = []*target.Target{disk(store.NewMemory(diskSize))}
		srv, err := target.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		l := newPipes()
		test(t, l, serveOn(t, srv, l))
	})
}

func (p *pipes) login(t *testing.T, opts ...loginOption) *client {
	t.Helper()
	c, err := loginOn(t, p.dial(), opts...)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// endsWithin expects the connection to end within a time, and not at once.
func endsWithin(t *testing.T, nc net.Conn, d time.Duration) {
	t.Helper()
	begin := time.Now()
	if err := nc.SetReadDeadline(begin.Add(10 * d)); err != nil {
		t.Fatal(err)
	}
	_, err := io.Copy(io.Discard, nc)
	if took := time.Since(begin); err != nil || took > d || took == 0 {
		t.Errorf("the connection ended after %v (error %v), want %v at most", took, err, d)
	}
}

func TestLoginTimeout(t *testing.T) {
	timed(t, target.Config{}, func(t *testing.T, l *pipes, _ func()) {
		endsWithin(t, l.dial(), 15*time.Second)
	})
}

func TestPendingLogins(t *testing.T) {
	timed(t, target.Config{MaxPendingLogins: 2}, func(t *testing.T, l *pipes, _ func()) {
		a, b := l.dial(), l.dial()
		c := l.dial()
		if n, err := a.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Errorf("the first of three connections: %d, %v; want it closed", n, err)
		}
		l.login(t).ping()
		b.Close()
		c.Close()
	})
}

func TestStallInPDU(t *testing.T) {
	timed(t, target.Config{}, func(t *testing.T, l *pipes, _ func()) {
		for _, op := range []iscsi.PDU{&iscsi.NOPOut{}, &iscsi.DataOut{ITT: 7}} {
			c := l.login(t)
			var b iscsi.BHS
			op.Encode(&b)
			b.SetDataSegmentLength(100)
			if _, err := c.nc.Write(append(b[:], "the beginning of the data"...)); err != nil {
				t.Fatal(err)
			}
			endsWithin(t, c.nc, 62*time.Second)
		}
	})
}

func TestRepliesNotTaken(t *testing.T) {
	timed(t, target.Config{}, func(t *testing.T, l *pipes, _ func()) {
		c := l.login(t)
		c.send(&iscsi.NOPOut{Immediate: true, ITT: 1, TTT: iscsi.ReservedTag}, nil)
		time.Sleep(62 * time.Second) // and takes no reply
		if _, err := c.nc.Write(make([]byte, 1)); !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("the connection has not ended: %v", err)
		}
	})
}

func TestDataNotSent(t *testing.T) {
	timed(t, target.Config{StallTimeout: 5 * time.Second}, func(t *testing.T, l *pipes, _ func()) {
		c := l.login(t, allByR2T).ready()
		cmd, r2t := c.openWrite(0)
		begin := time.Now()
		r := c.finish(&cmd, nil)
		if r.sense.Key != scsi.KeyAbortedCommand || r.sense.ASC != scsi.ASCInitiatorResponseTimeout {
			t.Errorf("%v %v", r.status, r.sense)
		}
		if took := time.Since(begin); took < 5*time.Second || took > 8*time.Second {
			t.Errorf("it was given up after %v", took)
		}
		c.dataOut(&cmd, r2t.TTT, make([]byte, 512), 0, 512)
		c.ping()
	})
}

func TestIdleSession(t *testing.T) {
	timed(t, target.Config{}, func(t *testing.T, l *pipes, _ func()) {
		c := l.login(t)
		time.Sleep(24 * time.Hour)
		c.ping()
	})
}

func TestPings(t *testing.T) {
	cfg := target.Config{NOPInterval: 10 * time.Second, StallTimeout: 30 * time.Second}
	timed(t, cfg, func(t *testing.T, l *pipes, _ func()) {
		c := l.login(t)
		pinged := func() iscsi.NOPIn {
			t.Helper()
			var p iscsi.NOPIn
			if c.expect(&p); p.TTT == iscsi.ReservedTag || p.ITT != iscsi.ReservedTag {
				t.Errorf("ping %+v", p)
			}
			return p
		}
		pinged()
		time.Sleep(24 * time.Hour) // it does not know how to answer, and is left alone
		c.ping()
		for range 3 {
			p := pinged()
			c.send(&iscsi.NOPOut{Immediate: true, ITT: iscsi.ReservedTag, TTT: p.TTT, CmdSN: c.cmdSN}, nil)
		}
		pinged()
		endsWithin(t, c.nc, 42*time.Second) // it knew, and is gone
	})
}

func TestShutdown(t *testing.T) {
	t.Run("polite", func(t *testing.T) {
		timed(t, target.Config{LogoutTimeout: time.Hour}, func(t *testing.T, l *pipes, stop func()) {
			c := l.login(t)
			synctest.Wait() // the server has seen the end of the login, too
			stopped := make(chan struct{})
			begin := time.Now()
			go func() {
				stop()
				close(stopped)
			}()
			var p iscsi.AsyncMessage
			if c.expect(&p); p.Event != iscsi.AsyncLogout || p.Param3 != 3600 {
				t.Errorf("%+v", p)
			}
			c.send(&iscsi.LogoutRequest{Immediate: true, ITT: 1, CmdSN: c.cmdSN}, nil)
			c.expect(&iscsi.LogoutResponse{})
			c.expectClosed()
			<-stopped
			if took := time.Since(begin); took != 0 {
				t.Errorf("Serve returned %v after the last logout", took)
			}
		})
	})
	t.Run("deaf", func(t *testing.T) {
		timed(t, target.Config{}, func(t *testing.T, l *pipes, stop func()) {
			c, idle := l.login(t), l.dial()
			go io.Copy(io.Discard, c.nc)
			synctest.Wait()
			begin := time.Now()
			stop()
			if took := time.Since(begin); took != 2*time.Second {
				t.Errorf("Serve returned after %v, want LogoutTimeout", took)
			}
			if _, err := idle.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
				t.Errorf("the connection without a session: %v", err)
			}
		})
	})
}

// TestListenerFails expects Serve to say so, and to go on after errors that pass.
func TestListenerFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, err := target.New(target.Config{LogoutTimeout: -1})
		if err != nil {
			t.Fatal(err)
		}
		broken := errors.New("broken")
		l := &failingListener{newPipes(), []error{temporary{}, temporary{}, broken}}
		if err := srv.Serve(t.Context(), l); !errors.Is(err, broken) || errors.Is(err, target.ErrServerClosed) {
			t.Errorf("Serve: %v", err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := srv.Serve(ctx, newPipes()); !errors.Is(err, target.ErrServerClosed) {
			t.Errorf("Serve after the end: %v", err)
		}
	})
}

type failingListener struct {
	*pipes
	errs []error
}

func (l *failingListener) Accept() (net.Conn, error) {
	err := l.errs[0]
	l.errs = l.errs[1:]
	return nil, err
}

type temporary struct{}

func (temporary) Error() string   { return "too many of something" }
func (temporary) Temporary() bool { return true }
