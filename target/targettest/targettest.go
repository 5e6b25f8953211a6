// Package targettest is an iSCSI target for tests, as net/http/httptest is an HTTP
// server for them: a target on loopback with one disk in memory, in one line.
//
//	srv := targettest.NewServer(t)
//	cmd := exec.Command("iscsi-inq", srv.URL)
//
// The server ends with the test. Options give it another disk, CHAP, or whatever
// else package target can do.
package targettest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"testing"

	"github.com/bootlun/bootlun/iscsi"
	"github.com/bootlun/bootlun/target"
	"github.com/bootlun/bootlun/target/store"
)

// Name is the name of the target that is served unless Options have others.
const Name = "iqn.2026-11.org.bootlun:test"

// Size is the size in bytes of the disk in memory.
const Size = 64 << 20

// Options are what a test wants other than a disk in memory for everybody. The zero
// value is that.
type Options struct {
	// Store is the disk. It stays the test's, to be closed after the server.
	Store store.Store
	// Disk is what else the LUN is, such as its block size; number and store do not
	// count.
	Disk target.LUN
	// CHAP is what initiators must prove.
	CHAP *iscsi.CHAPServer
	// Config is what else the server is. Targets that it has are served in place of
	// the one with the disk. Its log goes to the test's output unless it has one.
	Config target.Config
}

// Server is a target that is served for a test. Its own server may be changed while
// it runs.
type Server struct {
	*target.Server

	// Portal is its address and port, Target the name of its (first) target, and URL
	// what libiscsi and QEMU call the LUN: iscsi://127.0.0.1:PORT/NAME/0.
	Portal, Target, URL string

	// Store is the disk, nil if Options had targets of their own.
	Store store.Store

	stop  context.CancelFunc
	ended chan error
}

// NewServer serves a target until the test ends, with the first of the options if
// there are some. It fails the test if it cannot.
func NewServer(tb testing.TB, options ...Options) *Server {
	tb.Helper()
	var o Options
	if len(options) > 0 {
		o = options[0]
	}
	s := &Server{Target: Name, ended: make(chan error, 1)}
	if len(o.Config.Targets) == 0 {
		if s.Store = o.Store; s.Store == nil {
			s.Store = store.NewMemory(Size)
		}
		o.Disk.Number, o.Disk.Store = 0, s.Store
		o.Config.Targets = []*target.Target{{Name: Name, LUNs: []target.LUN{o.Disk}, CHAP: o.CHAP}}
	}
	s.Target = o.Config.Targets[0].Name
	if o.Config.Logger == nil {
		o.Config.Logger = slog.New(slog.NewTextHandler(tb.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	}
	if o.Config.LogoutTimeout == 0 {
		o.Config.LogoutTimeout = -1 // tests are not to wait for each other's initiators
	}
	var err error
	if s.Server, err = target.New(o.Config); err != nil {
		tb.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	s.Portal = l.Addr().String()
	s.URL = fmt.Sprintf("iscsi://%s/%s/0", s.Portal, s.Target)
	ctx, cancel := context.WithCancel(context.WithoutCancel(tb.Context())) // to its end, cleanups of later ones included
	s.stop = cancel
	go func() { s.ended <- s.Serve(ctx, l) }()
	tb.Cleanup(func() {
		if err := s.Close(); err != nil {
			tb.Error(err)
		}
	})
	return s
}

// Close ends the server and all sessions, for tests that want to see what then
// happens. It may be called again.
func (s *Server) Close() error {
	s.stop()
	err := <-s.ended
	s.ended <- target.ErrServerClosed
	if errors.Is(err, target.ErrServerClosed) && !errors.Is(err, target.ErrStoreHangs) {
		return nil
	}
	return err
}
