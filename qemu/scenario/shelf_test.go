package scenario_test

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/bootlun/bootlun/ibft"
	"github.com/bootlun/bootlun/iscsi"
	"github.com/bootlun/bootlun/qemu"
	"github.com/bootlun/bootlun/qemu/lan"
	"github.com/bootlun/bootlun/target"
	"github.com/bootlun/bootlun/target/store"
)

const survivalTarget = "iqn.2026-11.org.bootlun:survival"

var (
	survivalGuest = ibft.MAC{0x52, 0x54, 0, 0x76, 0, 1}
	survivalAddr  = netip.MustParseAddr("10.76.0.50")
)

// shelf is a disk that several portals of a LAN serve, each of which can fail.
type shelf struct {
	t       *testing.T
	lan     *lan.LAN
	disk    store.Store
	portals []*portal
	logins  chan time.Time // of sessions that begin, at any portal
	words   chan time.Time // the last answers of any server, as far as somebody takes them
}

// portal is a server at an address of its own.
type portal struct {
	shelf    *shelf
	host     *lan.Host
	redirect *target.Redirect
	digests  bool // it insists on them
	addr     net.Addr
	server   *target.Server // the last one

	stop  context.CancelFunc // nil while it is down
	ended chan error
	mu    sync.Mutex
	door  *door // of the server that runs, or the one before
	conns []*faultyConn
}

// newShelf serves the image, whose writes stay in memory, at addresses 10.76.0.1 and on.
func newShelf(t *testing.T, image string, portals int) *shelf {
	t.Helper()
	file, err := store.OpenFile(image, store.FileOptions{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { file.Close() })
	s := &shelf{t: t, disk: store.NewOverlay(file), logins: make(chan time.Time, 1000), words: make(chan time.Time)}
	if s.lan, err = lan.New(lan.Config{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.lan.Close() })
	for i := range portals {
		addr := netip.AddrFrom4([4]byte{10, 76, 0, byte(i + 1)})
		host, err := s.lan.Host(lan.HostConfig{Name: "portal", Addrs: []netip.Prefix{netip.PrefixFrom(addr, 24)}})
		if err != nil {
			t.Fatal(err)
		}
		p := &portal{shelf: s, host: host}
		s.portals = append(s.portals, p)
		p.start()
		p.listen()
		t.Cleanup(p.kill)
	}
	return s
}

// start serves, as a new process would that knows nothing of the one before.
func (p *portal) start() {
	p.shelf.t.Helper()
	var offer iscsi.Offer
	if p.digests {
		offer.HeaderDigest, offer.DataDigest = iscsi.DigestRequire, iscsi.DigestRequire
	}
	server, err := target.New(target.Config{
		Offer: offer,
		Targets: []*target.Target{{
			Name: survivalTarget, Redirect: p.redirect,
			LUNs: []target.LUN{{Store: p.shelf.disk}},
		}},
		LogoutTimeout: -1,
		Events: func(e target.Event) {
			if e.Kind == target.LoginEvent && e.Session.Target == survivalTarget {
				p.shelf.logins <- time.Now()
			}
		},
	})
	if err != nil {
		p.shelf.t.Fatal(err)
	}
	p.server = server
	ctx, stop := context.WithCancel(context.WithoutCancel(p.shelf.t.Context()))
	door := &door{portal: p, conns: make(chan net.Conn), closed: make(chan struct{})}
	p.mu.Lock()
	p.door = door
	p.mu.Unlock()
	p.stop, p.ended = stop, make(chan error, 1)
	go func() { p.ended <- server.Serve(ctx, door) }()
}

// kill ends the server without a word to its sessions.
func (p *portal) kill() {
	if p.stop == nil {
		return
	}
	p.stop()
	<-p.ended
	p.stop = nil
}

// each makes all its connections faulty.
func (p *portal) each(f func(*faultyConn)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.conns {
		f(c)
	}
}

// listen takes connections for the portal's whole life: the LAN's hosts do not give a port again that has just been in use.
// While no server runs, callers are turned away.
func (p *portal) listen() {
	l, err := p.host.Listen(p.shelf.t.Context(), "tcp", netip.AddrPortFrom(p.host.Addr(), iscsi.DefaultPort).String())
	if err != nil {
		p.shelf.t.Fatal(err)
	}
	p.addr = l.Addr()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return // the LAN has ended
			}
			f := &faultyConn{Conn: c, words: p.shelf.words}
			p.mu.Lock()
			p.conns = append(p.conns, f)
			door := p.door
			p.mu.Unlock()
			select {
			case door.conns <- f:
			case <-door.closed:
				f.Close()
			}
		}
	}()
}

// door is a server's listener.
type door struct {
	portal *portal
	conns  chan net.Conn
	once   sync.Once
	closed chan struct{}
}

func (d *door) Accept() (net.Conn, error) {
	select {
	case c := <-d.conns:
		return c, nil
	case <-d.closed:
		return nil, net.ErrClosed
	}
}

func (d *door) Close() error {
	d.once.Do(func() { close(d.closed) })
	return nil
}

func (d *door) Addr() net.Addr { return d.portal.addr }

// faultyConn is the server's end of a connection.
type faultyConn struct {
	net.Conn
	words  chan<- time.Time
	mu     sync.Mutex
	mute   bool // what the server says is lost, and it is none the wiser
	deaf   bool // nothing is read any more
	damage bool // a bit of the next long message flips
}

func (c *faultyConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.mu.Lock()
	deaf := c.deaf
	c.mu.Unlock()
	if deaf && err == nil {
		time.Sleep(300 * time.Millisecond) // more comes, and waits: closing now is a reset
		c.Conn.Close()
	}
	return n, err
}

func (c *faultyConn) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.mute:
		return len(b), nil
	case c.damage && len(b) >= 512:
		c.damage = false
		b = slices.Clone(b)
		b[len(b)/2] ^= 0x10
	}
	select {
	case c.words <- time.Now():
	default:
	}
	return c.Conn.Write(b)
}

func (c *faultyConn) set(f func(*faultyConn)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f(c)
}

// machine boots from the shelf's disk by a table with its first paths portals.
func (s *shelf) machine(paths int, cmdline string) qemu.Machine {
	s.t.Helper()
	settings := ibft.Settings{
		InitiatorName: "iqn.2026-11.org.bootlun:survivor",
		NIC:           ibft.NIC{Origin: ibft.OriginManual, MAC: survivalGuest, IP: survivalAddr, PrefixLen: 24},
	}
	for _, p := range s.portals[:paths] {
		settings.RootPaths = append(settings.RootPaths, fmt.Sprintf("iscsi:%s:::0:%s", p.host.Addr(), survivalTarget))
	}
	table, err := settings.Table(s.t.Context(), nil)
	if err != nil {
		s.t.Fatal(err)
	}
	raw, err := table.Build(ibft.BuildOptions{})
	if err != nil {
		s.t.Fatal(err)
	}
	file := filepath.Join(s.t.TempDir(), "ibft.bin")
	if err := os.WriteFile(file, raw, 0o600); err != nil {
		s.t.Fatal(err)
	}
	m := survivorMachine(s.t, s.lan, "bootlun.source=table "+cmdline)
	m.ACPITables = []string{file}
	return m
}

// survivorMachine boots our image, which QEMU loads.
func survivorMachine(t *testing.T, l *lan.LAN, cmdline string) qemu.Machine {
	t.Helper()
	kernel, image, err := images(t).Netboot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return qemu.Machine{
		Name: "survivor", Memory: 1024, CPUs: number(t, "BOOTLUN_SURVIVAL_CPUS", 1), NoReboot: true,
		Kernel: kernel.Image, Initrd: image, Append: "console=ttyS0,115200 no_timer_check " + cmdline,
		NICs: []qemu.NIC{{LAN: l.Socket(), MAC: survivalGuest.HardwareAddr()}},
	}
}

// link cuts the machine off from the LAN, or restores it. Neither end sees its carrier change.
func (s *shelf) link(up bool) {
	s.t.Helper()
	s.linkOf(survivalGuest.HardwareAddr(), up)
}

// link cuts a portal off from the LAN, or restores it.
func (p *portal) link(up bool) {
	p.shelf.t.Helper()
	p.shelf.linkOf(p.host.MAC(), up)
}

func (s *shelf) linkOf(addr net.HardwareAddr, up bool) {
	s.t.Helper()
	if err := s.lan.SetLink(addr, up); err != nil {
		s.t.Fatal(err)
	}
}
