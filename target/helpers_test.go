package target_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"testing"

	"github.com/bootlun/bootlun/scsi"
	"github.com/bootlun/bootlun/target"
	"github.com/bootlun/bootlun/target/store"
)

const (
	testTarget    = "iqn.2001-04.com.example:disk"
	testInitiator = "iqn.2001-04.com.example:tester"
	diskSize      = 64 << 20
)

// disk is a target with one LUN 0.
func disk(s store.Store) *target.Target {
	return &target.Target{Name: testTarget, LUNs: []target.LUN{{Store: s}}}
}

// serve serves cfg on loopback until the test ends and then expects Serve to end
// in the way it promises.
func serve(t *testing.T, cfg target.Config) (addr string, srv *target.Server) {
	t.Helper()
	l := listen(t)
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	if cfg.LogoutTimeout == 0 {
		cfg.LogoutTimeout = -1
	}
	srv, err := target.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	serveOn(t, srv, l)
	return l.Addr().String(), srv
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// serveDisk serves a target with one LUN on a store.
func serveDisk(t *testing.T, s store.Store) (addr string) {
	t.Helper()
	addr, _ = serve(t, target.Config{Targets: []*target.Target{disk(s)}})
	return addr
}

func serveOn(t *testing.T, srv interface {
	Serve(context.Context, net.Listener) error
}, l net.Listener,
) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- srv.Serve(ctx, l) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-ended; !errors.Is(err, target.ErrServerClosed) {
			t.Errorf("Serve: %v, want ErrServerClosed", err)
		}
	}
	t.Cleanup(stop)
	return stop
}

func pattern(n, seed int) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = byte((i/512+seed)*7 + i)
	}
	return p
}

func transfer(op scsi.OpCode, lba uint64, blocks uint32) scsi.CDB {
	c, err := scsi.Transfer{Op: op, LBA: lba, Blocks: blocks}.CDB()
	if err != nil {
		panic(err)
	}
	return c
}

// slowly hides everything but Store: nothing is prompt, so that all of a store's
// work goes to workers.
type slowly struct{ store.Store }

// gated is a store whose reads and writes wait for the gate to be closed (as a
// channel is).
type gated struct {
	store.Store
	entered chan struct{}
	gate    chan struct{}
}

func newGated(s store.Store) *gated {
	return &gated{s, make(chan struct{}, 64), make(chan struct{})}
}

func (g *gated) WriteAt(p []byte, off int64) (int, error) {
	g.entered <- struct{}{}
	<-g.gate
	return g.Store.WriteAt(p, off)
}

func (g *gated) ReadAt(p []byte, off int64) (int, error) {
	g.entered <- struct{}{}
	<-g.gate
	return g.Store.ReadAt(p, off)
}
