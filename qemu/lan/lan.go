package lan

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
)

const (
	defaultMTU = 1500
	minMTU     = 1280  // RFC 8200, 5: IPv6's minimum.
	maxMTU     = 65000 // Keeps a frame inside the largest buffer that is pooled, and inside QEMU's 68 KiB.
)

// Config describes a LAN. The zero value is a LAN with an MTU of 1500 bytes and a socket in a directory of its own.
type Config struct {
	// Socket is the path at which machines plug in, at most about 100 bytes as Unix socket paths go. It must not exist.
	// Empty means a path in a new temporary directory that Close removes.
	Socket string

	// MTU is the largest IP packet in bytes that hosts send, 1280 to 65000; 0 means 1500. A machine keeps its own (see
	// host_mtu in QEMU's virtio-net); TCP agrees on the smaller of the two.
	MTU int

	// LeaveRouters leaves the question of IPv6 hosts for routers to a station of the LAN. Otherwise the LAN itself answers
	// that there is none, so that nobody waits for one.
	LeaveRouters bool

	// Logger gets one line for each station that comes or goes. Nil discards them.
	Logger *slog.Logger
}

// LAN is one Ethernet segment. Its methods may be called from several goroutines.
type LAN struct {
	mtu    int
	log    *slog.Logger
	sw     *fabric
	ln     net.Listener
	router *port  // Answers IPv6's router solicitations; nil where a station does.
	tmpDir string // Removed by Close; empty where the caller chose the path.
	wg     sync.WaitGroup

	mu     sync.Mutex
	closed bool
	hosts  []*Host
	conns  map[net.Conn]struct{}
}

// New makes a LAN and begins to accept machines at its socket. Close ends it.
func New(c Config) (*LAN, error) {
	l := &LAN{mtu: c.MTU, log: c.Logger, sw: newFabric(), conns: make(map[net.Conn]struct{})}
	if l.mtu == 0 {
		l.mtu = defaultMTU
	}
	if l.mtu < minMTU || l.mtu > maxMTU {
		return nil, fmt.Errorf("lan: MTU %d: want %d to %d", l.mtu, minMTU, maxMTU)
	}
	if l.log == nil {
		l.log = slog.New(slog.DiscardHandler)
	}
	if err := l.listen(c.Socket); err != nil {
		return nil, err
	}
	if !c.LeaveRouters {
		l.router = l.sw.plug()
		l.wg.Go(func() { l.sw.answerSolicitations(l.router) })
	}
	l.wg.Go(l.accept)
	return l, nil
}

func (l *LAN) listen(path string) (err error) {
	if path == "" {
		if l.tmpDir, err = os.MkdirTemp("", "bootlun-lan-"); err != nil {
			return fmt.Errorf("lan: directory for the socket: %w", err)
		}
		path = filepath.Join(l.tmpDir, "lan.sock")
	}
	if l.ln, err = net.Listen("unix", path); err != nil {
		l.removeTemp()
		return fmt.Errorf("lan: socket for machines: %w", err)
	}
	return nil
}

func (l *LAN) removeTemp() {
	if l.tmpDir != "" {
		os.RemoveAll(l.tmpDir)
	}
}

// Socket is the path of the Unix socket at which machines plug in.
func (l *LAN) Socket() string { return l.ln.Addr().String() }

// MTU is the largest IP packet, in bytes, that the LAN's hosts send.
func (l *LAN) MTU() int { return l.mtu }

// Close unplugs every machine, ends every host with its listeners and connections, and waits for all of them.
func (l *LAN) Close() error {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return nil
	}
	l.closed = true
	hosts := l.hosts
	for c := range l.conns {
		c.Close()
	}
	l.mu.Unlock()

	err := l.ln.Close()
	if l.router != nil {
		l.sw.unplug(l.router)
	}
	for _, h := range hosts {
		h.unplug() // All of them first: the end of one is then no event for another.
	}
	for _, h := range hosts {
		h.close()
	}
	l.wg.Wait()
	l.removeTemp()
	if err != nil {
		return fmt.Errorf("lan: closing the socket: %w", err)
	}
	return nil
}

// accept plugs in whatever connects to the socket, until the socket is closed.
func (l *LAN) accept() {
	for {
		c, err := l.ln.Accept()
		if err != nil {
			if !errors.Is(err, net.ErrClosed) {
				l.log.Error("lan: no further machine can plug in", "socket", l.Socket(), "err", err)
			}
			return
		}
		if l.track(c) {
			l.wg.Go(func() { l.serve(c) })
		}
	}
}

// track notes a connection so that Close can end it; on a closed LAN it ends it now and reports false.
func (l *LAN) track(c net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		c.Close()
		return false
	}
	l.conns[c] = struct{}{}
	return true
}

// serve is one machine's port from plugging in to unplugging.
func (l *LAN) serve(c net.Conn) {
	p := l.sw.plug()
	l.log.Debug("lan: a machine plugged in", "port", p.id)
	var writer sync.WaitGroup
	writer.Go(func() {
		if err := writeFrames(c, p.out); err != nil {
			c.Close() // Ends the reader too.
		}
	})
	err := readFrames(c, func(f frame) { l.sw.forward(p, f) })
	l.sw.unplug(p)
	c.Close()
	writer.Wait()

	l.mu.Lock()
	delete(l.conns, c)
	l.mu.Unlock()
	if errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) {
		err = nil
	}
	l.log.Log(context.Background(), levelOf(err), "lan: a machine unplugged", "port", p.id, "dropped", p.out.drops(), "err", err)
}

func levelOf(err error) slog.Level {
	if err != nil {
		return slog.LevelWarn
	}
	return slog.LevelDebug
}
