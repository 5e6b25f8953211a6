package lan

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"gvisor.dev/gvisor/pkg/buffer"
)

func newLAN(t testing.TB, c Config) *LAN {
	t.Helper()
	l, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

func newHost(t testing.TB, l *LAN, name string, addrs ...string) *Host {
	t.Helper()
	c := HostConfig{Name: name}
	for _, a := range addrs {
		c.Addrs = append(c.Addrs, netip.MustParsePrefix(a))
	}
	h, err := l.Host(c)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// station is a machine without a stack: it speaks QEMU's framing at the LAN's socket.
type station struct {
	net.Conn
	t testing.TB
}

func plugIn(t testing.TB, l *LAN) *station {
	t.Helper()
	before := portCount(l)
	c, err := net.Dial("unix", l.Socket())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	for portCount(l) == before { // The socket takes a connection before the switch does.
		runtime.Gosched()
	}
	return &station{c, t}
}

func portCount(l *LAN) int {
	l.sw.mu.RLock()
	defer l.sw.mu.RUnlock()
	return len(l.sw.ports)
}

func (s *station) send(f []byte) {
	s.t.Helper()
	if _, err := s.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(f))), f...)); err != nil {
		s.t.Fatal(err)
	}
}

// receive returns the next frame that has the wanted type (IEEE 802.3, 3.2.6), skipping others; 0 takes any.
func (s *station) receive(etherType uint16) []byte {
	s.t.Helper()
	s.SetReadDeadline(time.Now().Add(10 * time.Second))
	for {
		var n uint32
		if err := binary.Read(s, binary.BigEndian, &n); err != nil {
			s.t.Fatalf("waiting for a frame of type %#x: %v", etherType, err)
		}
		f := make([]byte, n)
		if _, err := io.ReadFull(s, f); err != nil {
			s.t.Fatal(err)
		}
		if etherType == 0 || binary.BigEndian.Uint16(f[12:]) == etherType {
			return f
		}
	}
}

const testType = 0x88b5 // IEEE 802-2014, table 9-1: for local experiments.

func testFrame(dst, src mac, text string) []byte {
	f := append(append([]byte(nil), dst[:]...), src[:]...)
	return append(binary.BigEndian.AppendUint16(f, testType), text...)
}

var (
	broadcast = mac{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
	macA      = mac{2, 0, 0, 0, 0, 0xa}
	macB      = mac{2, 0, 0, 0, 0, 0xb}
	macC      = mac{2, 0, 0, 0, 0, 0xc}
)

func TestSwitchLearns(t *testing.T) {
	l := newLAN(t, Config{})
	a, b, c := plugIn(t, l), plugIn(t, l), plugIn(t, l)

	// Each speaks once; that the others hear it shows that its address is learned by then.
	for _, from := range []struct {
		s   *station
		mac mac
	}{{a, macA}, {b, macB}, {c, macC}} {
		from.s.send(testFrame(broadcast, from.mac, "here is "+from.mac.String()))
		for _, s := range []*station{a, b, c} {
			if s != from.s {
				if got := s.receive(testType); srcOf(got) != from.mac {
					t.Fatalf("heard %v, want %v", srcOf(got), from.mac)
				}
			}
		}
	}

	// What is for B reaches B alone: the next that C hears is what was sent to all afterwards.
	a.send(testFrame(macB, macA, "for b"))
	a.send(testFrame(broadcast, macA, "for all"))
	for s, want := range map[*station]string{b: "for b", c: "for all"} {
		if got := string(s.receive(testType)[14:]); got != want {
			t.Errorf("received %q, want %q", got, want)
		}
	}
}

func TestSwitchFollowsAStationThatMoves(t *testing.T) {
	s := newFabric()
	a, b, c := s.plug(), s.plug(), s.plug()
	send := func(from *port, dst, src mac) {
		s.forward(from, newFrame(testFrame(dst, src, "x")))
	}
	count := func(p *port) int { p.out.mu.Lock(); defer p.out.mu.Unlock(); return len(p.out.frames) }

	send(a, broadcast, macA)
	send(c, macA, macC)
	if count(a) != 1 || count(b) != 1 {
		t.Fatalf("queued at a %d, at b %d; want 1 and 1 (the broadcast)", count(a), count(b))
	}
	send(b, broadcast, macA) // A's address now speaks behind b.
	send(c, macA, macC)
	if count(a) != 2 || count(b) != 2 {
		t.Fatalf("after the move: queued at a %d, at b %d; want 2 and 2", count(a), count(b))
	}
	send(a, broadcast, macA) // And back again.
	send(c, macA, macC)
	if count(a) != 3 || count(b) != 3 {
		t.Fatalf("after the move back: queued at a %d, at b %d; want 3 and 3", count(a), count(b))
	}
	s.unplug(a)
	send(c, macA, macC) // Unknown again: flooded.
	if count(b) != 4 {
		t.Fatalf("after unplugging: queued at b %d, want 4", count(b))
	}
}

func TestSwitchTableIsBounded(t *testing.T) {
	s := newFabric()
	p := s.plug()
	for i := range maxLearned + 100 {
		src := mac{2, 1}
		binary.BigEndian.PutUint32(src[2:], uint32(i))
		s.forward(p, newFrame(testFrame(macB, src, "")))
	}
	if len(s.learned) != maxLearned {
		t.Errorf("learned %d addresses, want %d", len(s.learned), maxLearned)
	}
}

func TestSetLink(t *testing.T) {
	l := newLAN(t, Config{})
	a, b := plugIn(t, l), plugIn(t, l)
	a.send(testFrame(broadcast, macA, "first"))
	b.receive(testType)
	b.send(testFrame(broadcast, macB, "first"))
	a.receive(testType)

	setLink := func(up bool) {
		if err := l.SetLink(macB[:], up); err != nil {
			t.Fatal(err)
		}
	}
	setLink(false)
	a.send(testFrame(macB, macA, "lost"))
	a.send(testFrame(broadcast, macA, "lost"))
	// A frame back to its own port's peer shows that both were seen by the switch before the link comes up again.
	c := plugIn(t, l)
	c.send(testFrame(broadcast, macC, "sync"))
	a.receive(testType)
	a.send(testFrame(macC, macA, "sync"))
	c.receive(testType)
	setLink(true)
	a.send(testFrame(macB, macA, "heard"))
	if got := string(b.receive(testType)[14:]); got != "heard" {
		t.Errorf("received %q over the restored link, want %q", got, "heard")
	}
	if err := l.SetLink(net.HardwareAddr{1, 2}, true); err == nil {
		t.Error("SetLink took an address of two bytes")
	}
}

func TestQueueDropsWhenFull(t *testing.T) {
	q := newQueue(3000)
	for range 3 {
		q.push(newFrame(make([]byte, 1400)))
	}
	if q.drops() != 1 {
		t.Errorf("dropped %d, want 1", q.drops())
	}
	got, ok := q.take(nil)
	if !ok || len(got) != 2 {
		t.Fatalf("took %d, %t; want 2, true", len(got), ok)
	}
	release(got)
	q.push(newFrame(make([]byte, 1400))) // There is room again.
	q.close()
	if got, ok := q.take(got); ok || got != nil {
		t.Errorf("took %d frames from a closed queue", len(got))
	}
	q.push(newFrame(make([]byte, 14)))
	if q.drops() != 2 {
		t.Errorf("a closed queue dropped %d in all, want 2", q.drops())
	}
}

func TestFraming(t *testing.T) {
	length := func(n uint32) []byte { return binary.BigEndian.AppendUint32(nil, n) }
	good := append(length(20), make([]byte, 20)...)
	for _, tt := range []struct {
		name   string
		stream []byte
		frames int
		err    string
	}{
		{"empty", nil, 0, "EOF"},
		{"two frames", append(good[:len(good):len(good)], good...), 2, "EOF"},
		{"cut in the length", append(good[:len(good):len(good)], 0, 0), 1, "unexpected EOF"},
		{"cut in the frame", good[:10], 0, "in a frame of 20 bytes"},
		{"too short", append(length(13), make([]byte, 13)...), 0, "want 14 to 65536"},
		{"too long", length(maxFrame + 1), 0, "want 14 to 65536"},
		{"as long as can be written", length(1<<32 - 1), 0, "want 14 to 65536"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n := 0
			err := readFrames(bytes.NewReader(tt.stream), func(f frame) { n++; f.Release() })
			if n != tt.frames || err == nil || !strings.Contains(err.Error(), tt.err) {
				t.Errorf("%d frames, then %v; want %d, then %q", n, err, tt.frames, tt.err)
			}
		})
	}
}

// FuzzFraming reads any stream, and writes what it read: the same bytes come out.
func FuzzFraming(f *testing.F) {
	f.Add([]byte{0, 0, 0, 14, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14})
	f.Add([]byte{0xff, 0xff, 0xff, 0xff})
	f.Add([]byte{0, 0, 0, 14, 1})
	f.Fuzz(func(t *testing.T, in []byte) {
		q := newQueue(len(in) + 1)
		readFrames(bytes.NewReader(in), q.push)
		var out bytes.Buffer
		w := writerFunc(func(b []byte) (int, error) { q.close(); return out.Write(b) })
		if len(q.frames) == 0 {
			return
		}
		if err := writeFrames(w, q); err != nil {
			t.Fatal(err)
		}
		if !bytes.HasPrefix(in, out.Bytes()) {
			t.Errorf("read % x, wrote % x", in, out.Bytes())
		}
	})
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

func TestABadStreamEndsItsPortOnly(t *testing.T) {
	l := newLAN(t, Config{})
	good, bad := plugIn(t, l), plugIn(t, l)
	bad.Write([]byte{0xff, 0xff, 0xff, 0xff})
	if _, err := bad.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("reading after a bad length: %v, want EOF", err)
	}
	other := plugIn(t, l)
	other.send(testFrame(broadcast, macA, "x"))
	good.receive(testType)
}

func TestTCP(t *testing.T) {
	for _, tt := range []struct{ name, server, client, network, listen, dial string }{
		{"IPv4", "10.0.0.1/24", "10.0.0.2/24", "tcp4", ":80", "10.0.0.1:80"},
		{"IPv6", "fd00::1/64", "fd00::2/64", "tcp6", "[::]:80", "[fd00::1]:80"},
		{"both families, by IPv4", "10.0.0.1/24", "10.0.0.2/24", "tcp", ":80", "10.0.0.1:80"},
		{"both families, by IPv6", "fd00::1/64", "fd00::2/64", "tcp", ":80", "[fd00::1]:80"},
		{"bound", "10.0.0.1/24", "10.0.0.2/24", "tcp", "10.0.0.1:80", "10.0.0.1:80"},
		{"itself", "10.0.0.1/24", "10.0.0.1/24", "tcp", "10.0.0.1:80", "10.0.0.1:80"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := newLAN(t, Config{})
			server := newHost(t, l, "server", tt.server)
			client := server
			if tt.client != tt.server {
				client = newHost(t, l, "client", tt.client)
			}
			ln, err := server.Listen(t.Context(), tt.network, tt.listen)
			if err != nil {
				t.Fatal(err)
			}
			want := bytes.Repeat([]byte("0123456789abcdef"), 64<<10)
			srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.Write(want) }))
			srv.Listener.Close()
			srv.Listener = ln
			srv.Start()
			t.Cleanup(srv.Close)
			c := http.Client{Transport: &http.Transport{DialContext: client.DialContext, DisableKeepAlives: true}}
			resp, err := c.Get("http://" + tt.dial)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			got, err := io.ReadAll(resp.Body)
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("read %d bytes, %v; want the %d that were sent", len(got), err, len(want))
			}
		})
	}
}

func TestErrorsAreThoseOfPackageNet(t *testing.T) {
	l := newLAN(t, Config{})
	h := newHost(t, l, "h", "10.0.0.1/24")
	ln, err := h.Listen(t.Context(), "tcp", ":80")
	if err != nil {
		t.Fatal(err)
	}
	accepted := make(chan error, 1)
	go func() { _, err := ln.Accept(); accepted <- err }()
	ln.Close()
	if err := <-accepted; !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept on a closed listener: %v, want net.ErrClosed", err)
	}

	pc, err := h.ListenPacket(t.Context(), "udp", ":69")
	if err != nil {
		t.Fatal(err)
	}
	pc.SetReadDeadline(time.Now().Add(time.Millisecond))
	if _, _, err := pc.ReadFrom(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("ReadFrom past the deadline: %v, want os.ErrDeadlineExceeded", err)
	}
	if _, err := pc.WriteTo(nil, &net.TCPAddr{}); err == nil {
		t.Error("WriteTo a TCP address succeeded")
	}
	pc.SetReadDeadline(time.Time{})
	read := make(chan error, 1)
	go func() { _, _, err := pc.ReadFrom(make([]byte, 1)); read <- err }()
	l.Close()
	if err := <-read; !errors.Is(err, net.ErrClosed) {
		t.Errorf("ReadFrom when the LAN closes: %v, want net.ErrClosed", err)
	}
	if _, err := h.Listen(t.Context(), "tcp", ":80"); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Listen on a closed LAN: %v, want net.ErrClosed", err)
	}
	if _, err := l.Host(HostConfig{Name: "late"}); !errors.Is(err, net.ErrClosed) {
		t.Errorf("a host on a closed LAN: %v, want net.ErrClosed", err)
	}
}

func TestCloseEndsConnections(t *testing.T) {
	l := newLAN(t, Config{})
	a, b := newHost(t, l, "a", "10.0.0.1/24"), newHost(t, l, "b", "10.0.0.2/24")
	ln, err := a.Listen(t.Context(), "tcp", ":3260")
	if err != nil {
		t.Fatal(err)
	}
	c, err := b.DialContext(t.Context(), "tcp", "10.0.0.1:3260")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ln.Accept(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 2)
	go func() { _, err := c.Read(make([]byte, 1)); ended <- err }()
	go func() { _, err := ln.Accept(); ended <- err }()
	l.Close()
	for range 2 {
		if err := <-ended; !errors.Is(err, net.ErrClosed) {
			t.Errorf("when the LAN closes: %v, want net.ErrClosed", err)
		}
	}
}

func TestBadAddresses(t *testing.T) {
	l := newLAN(t, Config{})
	h := newHost(t, l, "h", "10.0.0.1/24")
	for _, tt := range []struct{ network, address, want string }{
		{"tcp", "server:80", "numeric address"},
		{"tcp", "10.0.0.1", "missing port"},
		{"tcp", "10.0.0.1:http", "port"},
		{"tcp", "10.0.0.1:65536", "port"},
		{"tcp", ":80", "no host"},
		{"tcp6", "10.0.0.1:80", "not of IPv6"},
		{"tcp4", "[fd00::1]:80", "not of IPv4"},
		{"unix", "/x", "unknown network"},
		{"tcp", "10.9.9.9:80", "no route"},
	} {
		if _, err := h.DialContext(t.Context(), tt.network, tt.address); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("dial %s %s: %v, want an error with %q", tt.network, tt.address, err, tt.want)
		}
	}
	if _, err := h.Listen(t.Context(), "tcp", "10.0.0.9:80"); err == nil {
		t.Error("listened at an address that is not the host's")
	}
}

func TestConfigErrors(t *testing.T) {
	taken := filepath.Join(t.TempDir(), "taken")
	if err := os.WriteFile(taken, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []Config{{MTU: 100}, {MTU: 70000}, {Socket: taken}, {Socket: "/nonexistent/lan.sock"}} {
		if l, err := New(c); err == nil {
			l.Close()
			t.Errorf("New(%+v) succeeded", c)
		}
	}
	l := newLAN(t, Config{})
	prefix := []netip.Prefix{netip.MustParsePrefix("10.0.0.1/24")}
	if _, err := l.Host(HostConfig{Name: "first", MAC: macA[:], Addrs: prefix}); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		c    HostConfig
		want string
	}{
		{HostConfig{}, "no address"},
		{HostConfig{Addrs: []netip.Prefix{{}}}, "want one host's address"},
		{HostConfig{Addrs: []netip.Prefix{netip.MustParsePrefix("224.0.0.1/4")}}, "want one host's address"},
		{HostConfig{MAC: macA[:], Addrs: prefix}, "another host's"},
		{HostConfig{MAC: broadcast[:], Addrs: prefix}, "not one station's"},
		{HostConfig{MAC: net.HardwareAddr{1}, Addrs: prefix}, "6 bytes"},
	} {
		if _, err := l.Host(tt.c); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("Host(%+v): %v, want an error with %q", tt.c, err, tt.want)
		}
	}
}

func TestCloseRemovesTheSocket(t *testing.T) {
	l, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Dir(l.Socket())
	plugIn(t, l)
	for range 2 {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket's directory is still there: %v", err)
	}
}

func TestHostDefaults(t *testing.T) {
	l := newLAN(t, Config{})
	a, b := newHost(t, l, "a", "10.0.0.1/24", "fd00::1/64"), newHost(t, l, "b", "10.0.0.2/24")
	if a.Addr() != netip.MustParseAddr("10.0.0.1") || len(a.Prefixes()) != 2 {
		t.Errorf("Addr %v, Prefixes %v", a.Addr(), a.Prefixes())
	}
	if bytes.Equal(a.MAC(), b.MAC()) {
		t.Errorf("two hosts have the Ethernet address %v", a.MAC())
	}
	if l.MTU() != 1500 {
		t.Errorf("MTU %d, want 1500", l.MTU())
	}
}

func newFrame(b []byte) frame { return buffer.NewViewWithData(b) }
