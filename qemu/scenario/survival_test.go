package scenario_test

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
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

// repeats is how often a scenario does what it does: a few times, or as an environment variable says.
func repeats(t *testing.T, variable string, otherwise int) int {
	t.Helper()
	text := os.Getenv(variable)
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("%s=%q: want a number from 1 on", variable, text)
	}
	return n
}

const survivalTarget = "iqn.2026-11.org.bootlun:survival"

var survivalGuest = ibft.MAC{0x52, 0x54, 0, 0x76, 0, 1}

// shelf is a disk that several portals of a LAN serve, each of which can fail.
type shelf struct {
	t       *testing.T
	lan     *lan.LAN
	disk    store.Store
	portals []*portal
	logins  chan time.Time // of sessions that begin, at any portal
}

// portal is a server at an address of its own.
type portal struct {
	shelf    *shelf
	host     *lan.Host
	redirect *target.Redirect

	stop  context.CancelFunc // nil while it is down
	ended chan error
	mu    sync.Mutex
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
	s := &shelf{t: t, disk: store.NewOverlay(file), logins: make(chan time.Time, 1000)}
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
		t.Cleanup(p.kill)
	}
	return s
}

// start serves, as a new process would that knows nothing of the one before.
func (p *portal) start() {
	p.shelf.t.Helper()
	server, err := target.New(target.Config{
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
	ctx, stop := context.WithCancel(context.WithoutCancel(p.shelf.t.Context()))
	l, err := p.host.Listen(ctx, "tcp", netip.AddrPortFrom(p.host.Addr(), iscsi.DefaultPort).String())
	if err != nil {
		p.shelf.t.Fatal(err)
	}
	p.stop, p.ended = stop, make(chan error, 1)
	go func() { p.ended <- server.Serve(ctx, &faultyListener{Listener: l, portal: p}) }()
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

// faultyListener keeps the connections that it accepts within reach.
type faultyListener struct {
	net.Listener
	portal *portal
}

func (l *faultyListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	f := &faultyConn{Conn: c}
	l.portal.mu.Lock()
	l.portal.conns = append(l.portal.conns, f)
	l.portal.mu.Unlock()
	return f, nil
}

// faultyConn is the server's end of a connection.
type faultyConn struct {
	net.Conn
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
	kernel, image, err := images(s.t).Netboot(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	settings := ibft.Settings{
		InitiatorName: "iqn.2026-11.org.bootlun:survivor",
		NIC:           ibft.NIC{Origin: ibft.OriginManual, MAC: survivalGuest, IP: netip.MustParseAddr("10.76.0.50"), PrefixLen: 24},
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
	return qemu.Machine{
		Name: "survivor", Memory: 1024, NoReboot: true, ACPITables: []string{file},
		Kernel: kernel.Image, Initrd: image, Append: "console=ttyS0,115200 bootlun.source=table " + cmdline,
		NICs: []qemu.NIC{{LAN: s.lan.Socket(), MAC: survivalGuest.HardwareAddr()}},
	}
}

// survivor is a Debian on the shelf's disk, on which fio writes and verifies without end.
type survivor struct {
	*guest
	shelf *shelf
	vm    *qemu.VM
}

// Each pass of fio writes a file anew in random order, with checksums, and reads it back.
const fioLoop = `(while [ ! -e /run/stop ]; do fio --name=pass --filename=/root/fio.data --size=8m --rw=randwrite --bs=4k ` +
	`--direct=1 --fsync=64 --ioengine=libaio --iodepth=4 --verify=crc32c --verify_fatal=1 --output=/run/fio.out || { echo fio failed >>/run/failed; break; }; ` +
	`echo pass >>/run/passes; done) </dev/null >/dev/null 2>&1 & true`

func bootSurvivor(t *testing.T, s *shelf, paths int, cmdline string) *survivor {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 25*time.Minute)
	t.Cleanup(cancel)
	vm, err := s.machine(paths, cmdline).Start(ctx)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { vm.Stop() })
	if testing.Verbose() {
		vm.Console.Tee(t.Output())
	}
	g := &survivor{guest: &guest{t: t, ctx: ctx, console: vm.Console, prompt: `# $`}, shelf: s, vm: vm}
	g.expect(g.prompt)
	g.run("stty cols 3000; dmesg -n 1; touch /run/passes; export TERM=dumb")
	return g
}

// load starts the writer.
func (g *survivor) load() {
	g.t.Helper()
	g.run(fioLoop)
	g.passes()
}

// passes waits until fio has gone through two more passes: one may have been under way.
func (g *survivor) passes() {
	g.t.Helper()
	out := g.run(`n=$(wc -l </run/passes); while [ $(wc -l </run/passes) -lt $((n+2)) ] && [ ! -e /run/failed ]; do sleep .2; done; cat /run/failed /run/fio.out 2>/dev/null | grep -i -e failed -e 'err=' -e bad`)
	if text := strings.Join(out, "\n"); strings.Contains(text, "failed") || strings.Contains(text, "bad") {
		g.t.Fatalf("fio: %s\n%s", text, strings.Join(g.run("dmesg | tail -40; cat /run/bootlun/keeper.log"), "\n"))
	}
}

// survives does harm, has the harm mended, and waits until the disk works again. It returns the time from then to the login.
func (g *survivor) survives(what string, harm, mend func()) {
	g.t.Helper()
	g.drainLogins()
	start := time.Now()
	harm()
	mend()
	mended := time.Now()
	select {
	case at := <-g.shelf.logins:
		g.t.Logf("%s: session again %v after the fault, %v after it was mended", what,
			at.Sub(start).Round(time.Millisecond), at.Sub(mended).Round(time.Millisecond))
	case <-time.After(3 * time.Minute):
		g.t.Fatalf("%s: no session for three minutes\n%s", what, strings.Join(g.run("cat /run/bootlun/keeper.log"), "\n"))
	}
	g.passes()
}

func (g *survivor) drainLogins() {
	for {
		select {
		case <-g.shelf.logins:
		default:
			return
		}
	}
}

// unharmed looks for what must not have happened.
func (g *survivor) unharmed() {
	g.t.Helper()
	if bad := g.run(`dmesg | grep -E 'I/O error|EXT4-fs error|EXT4-fs warning|emounting filesystem read-only|rejecting I/O|offlined'`); len(bad) > 0 {
		g.t.Errorf("the kernel says\n%s", strings.Join(bad, "\n"))
	}
	if options := strings.Join(g.run("findmnt -no OPTIONS /"), ""); !strings.HasPrefix(options, "rw,") {
		g.t.Errorf("the root is mounted %q", options)
	}
}

// keeperInCharge and iscsidInCharge are what systemd is told.
const (
	keeperInCharge = "systemd.mask=iscsid.service systemd.mask=iscsid.socket systemd.mask=open-iscsi.service"
	iscsidInCharge = ""
)

// A Debian root survives what its target does, with the keeper in charge of its session.
func TestSurvival(t *testing.T) {
	need(t, "qemu-system-x86_64", "apt-get", "mmdebstrap", "mke2fs", "grub-mkimage")
	s := newShelf(t, workbenchRoot(t), 2)
	g := bootSurvivor(t, s, 1, keeperInCharge)
	t.Log(strings.Join(g.run("cat /run/bootlun/keeper.json; cat /sys/class/iscsi_session/session*/recovery_tmo"), "\n"))
	g.load()
	nothing := func() {}
	first := s.portals[0]
	for i := range repeats(t, "BOOTLUN_SURVIVAL_RESTARTS", 3) {
		g.survives(fmt.Sprint("server killed and started, ", i+1), first.kill, first.start)
	}
	g.survives("connection reset", func() { first.each(func(c *faultyConn) { c.set(func(c *faultyConn) { c.deaf = true }) }) }, nothing)
	g.survives("server's words lost", func() { first.each(func(c *faultyConn) { c.set(func(c *faultyConn) { c.mute = true }) }) }, nothing)
	for _, length := range cuts(t) {
		g.survives(fmt.Sprint("link cut for ", length), func() {
			s.link(false)
			time.Sleep(length)
		}, func() { s.link(true) })
	}
	g.moves(s.portals[0], s.portals[1])
	g.unharmed()
	t.Log(strings.Join(g.run("cat /run/bootlun/keeper.log"), "\n"))
	g.ends("poweroff")
}

// cuts are for how long links are cut: 5 s, or what the environment says.
func cuts(t *testing.T) []time.Duration {
	var all []time.Duration
	for _, text := range strings.Fields(cmp.Or(os.Getenv("BOOTLUN_SURVIVAL_CUTS"), "5s")) {
		d, err := time.ParseDuration(text)
		if err != nil {
			t.Fatalf("BOOTLUN_SURVIVAL_CUTS: %v", err)
		}
		all = append(all, d)
	}
	return all
}

// link cuts the machine off from the LAN, or restores it. Neither end sees its carrier change.
func (s *shelf) link(up bool) {
	s.t.Helper()
	if err := s.lan.SetLink(survivalGuest.HardwareAddr(), up); err != nil {
		s.t.Fatal(err)
	}
}

// moves has a portal send sessions to another one, loses the one that is there, and goes back.
func (g *survivor) moves(from, to *portal) {
	g.t.Helper()
	g.survives("address changed by redirect", from.kill, func() {
		from.redirect = &target.Redirect{To: iscsi.TargetAddress{Host: to.host.Addr().String(), Port: iscsi.DefaultPort}}
		from.start()
	})
	if at := g.run("cat /sys/class/iscsi_connection/connection*/address"); !slices.Contains(at, to.host.Addr().String()) {
		g.t.Errorf("after the redirect the session is at %q", at)
	}
	from.kill()
	from.redirect = nil
	from.start()
	g.survives("back to the first address", to.kill, to.start)
}

// ends shuts the machine down. From the last service's end on it has ten seconds, and the root is unmounted and logged out of.
func (g *survivor) ends(verb string) {
	g.t.Helper()
	g.run("touch /run/stop; while pgrep -x fio >/dev/null; do sleep .2; done; dmesg -n 7")
	g.send("systemctl " + verb)
	g.expect(`Reached target .*(Power Off|Reboot|System Shutdown|Late Shutdown)|systemd-shutdown\[1\]`)
	last := time.Now()
	g.expect(`bootlun: shutdown: the root is unmounted and logged out of; ` + verb)
	if err := g.vm.Wait(); err != nil {
		g.t.Error(err)
	}
	if took := time.Since(last); took > 10*time.Second {
		g.t.Errorf("%s took %v after the last service", verb, took)
	} else {
		g.t.Logf("%s took %v after the last service", verb, took.Round(time.Millisecond))
	}
}
