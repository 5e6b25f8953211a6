package netboot

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/iana"
)

// failing refuses one address.
type failing struct {
	memHost
	address string
	err     error
}

func (f failing) Listen(ctx context.Context, network, address string) (net.Listener, error) {
	if strings.HasSuffix(address, f.address) {
		return nil, f.err
	}
	return f.memHost.Listen(ctx, network, address)
}

func (f failing) ListenPacket(ctx context.Context, network, address string) (net.PacketConn, error) {
	if strings.HasSuffix(address, f.address) {
		return nil, f.err
	}
	return f.memHost.ListenPacket(ctx, network, address)
}

func TestRunBindErrors(t *testing.T) {
	for _, c := range []struct {
		address string
		err     error
		want    string
	}{
		{":67", syscall.EADDRINUSE, "dhcp.disabled"},
		{":69", syscall.EADDRINUSE, "tftpPort"},
		{":80", syscall.EADDRINUSE, "httpPort"},
		{":80", syscall.EACCES, "root's"},
	} {
		n := newMemNet()
		s := newServer(t, testConfig(t))
		err := s.Run(t.Context(), failing{n.host("10.0.0.1"), c.address, os.NewSyscallError("bind", c.err)})
		wantError(t, err, c.want)
		wantError(t, err, c.address)
		if !errors.Is(err, c.err) {
			t.Errorf("%v does not wrap %v", err, c.err)
		}
		if len(n.packets)+len(n.listeners) != 0 {
			t.Errorf("%s: sockets are left open: %v %v", c.address, n.packets, n.listeners)
		}
		select {
		case <-s.Ready():
			t.Errorf("%s: ready", c.address)
		default:
		}
	}
}

func TestRunOnce(t *testing.T) {
	n := newMemNet()
	s := newServer(t, testConfig(t))
	run(t, s, n.host("10.0.0.1"))
	wantError(t, s.Run(t.Context(), n.host("10.0.0.1")), "run already")
}

// TestRunEnds checks by the bubble that nothing goes on after Run, with a transfer of each kind under way.
func TestRunEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newMemNet()
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		s := newServer(t, testConfig(t))
		go func() { done <- s.Run(ctx, n.host("10.0.0.1")) }()
		<-s.Ready()
		p := newTFTPPeer(t, n, clientIP)
		p.request(tftpRRQ, "kernel", "octet")
		p.expect(tftpDATA, 1, kernelText)
		idle, err := n.host(clientIP).DialContext(t.Context(), "tcp4", "10.0.0.1:80")
		if err != nil {
			t.Fatal(err)
		}
		defer idle.Close()
		stop()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
		p.conn.Close()
		if len(n.packets)+len(n.listeners) != 0 {
			t.Errorf("sockets are left open: %v %v", n.packets, n.listeners)
		}
	})
}

// TestRunSocketFails has a socket close under the server.
func TestRunSocketFails(t *testing.T) {
	n := newMemNet()
	s := newServer(t, testConfig(t))
	done := make(chan error, 1)
	go func() { done <- s.Run(t.Context(), n.host("10.0.0.1")) }()
	<-s.Ready()
	n.mu.Lock()
	var socket net.PacketConn
	for local, c := range n.packets {
		if local.Port() == 67 {
			socket = c
		}
	}
	n.mu.Unlock()
	socket.Close()
	if err := <-done; !errors.Is(err, net.ErrClosed) {
		t.Errorf("Run: %v", err)
	}
}

// TestBootFlow is one machine's boot as doc.go tells it, each step by the answer to the one before, and the log of it.
func TestBootFlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		var events recorder
		c := withMachine(testConfig(t), chap)
		c.Events = events.record
		c.Logger = slog.New(slog.NewTextHandler(&log, nil))
		n := newMemNet()
		run(t, newServer(t, c), n.host("10.0.0.1"))

		rom := dhcpClient(t, n, clientIP, testMAC)
		lease, err := rom.Request(t.Context(), asPXE(iana.INTEL_X86PC)...)
		if err != nil {
			t.Fatal(err)
		}
		ip := lease.ACK.YourIPAddr.String()
		p := newTFTPPeer(t, n, ip)
		p.request(tftpRRQ, lease.ACK.BootFileName, "octet")
		p.expect(tftpDATA, 1, "for BIOS\n")
		p.ack(1)
		synctest.Wait()

		if lease, err = rom.Request(t.Context(), asIPXE()...); err != nil {
			t.Fatal(err)
		}
		if again := lease.ACK.YourIPAddr.String(); again != ip {
			t.Errorf("iPXE got %s, the ROM had %s", again, ip)
		}
		web := browser(t, n.host(ip))
		_, script := get(t, web, lease.ACK.BootFileName)
		for _, url := range []string{base + "/kernel", machine + "/ibft.cpio", base + "/initramfs"} {
			if path := strings.TrimPrefix(url, base); !strings.Contains(script, "${base}"+path+" ") {
				t.Errorf("the script does not load %s:\n%s", path, script)
			}
			if resp, _ := get(t, web, url); resp.StatusCode != 200 {
				t.Errorf("%s: %s", url, resp.Status)
			}
		}
		if lease, err = rom.Request(t.Context(), asInit()...); err != nil {
			t.Fatal(err)
		}
		if lease.ACK.RootPath() == "" || len(lease.ACK.Options.Get(dhcpv4.GenericOptionCode(203))) == 0 {
			t.Errorf("init was told %v", lease.ACK)
		}
		web.CloseIdleConnections()
		synctest.Wait()

		dora := []Kind{DHCPDiscover, DHCPOffer, DHCPRequest, DHCPAck}
		want := slices.Concat(dora, []Kind{TFTPRead}, dora, slices.Repeat([]Kind{HTTPStart, HTTPDone}, 4), dora)
		if got := events.kinds(); !slices.Equal(got, want) {
			t.Errorf("events %q\nwant   %q", got, want)
		}
		for _, e := range events.all() {
			if e.Machine != "web1" {
				t.Errorf("event of %q: %+v", e.Machine, e)
			}
		}
		if s := log.String(); strings.Contains(s, "secret-of") || !strings.Contains(s, `msg="netboot: tftp read" machine=web1 client=`+ip) {
			t.Errorf("log:\n%s", s)
		}
	})
}

func TestHostNetwork(t *testing.T) {
	c := Config{Addr: netip.MustParsePrefix("192.0.2.1/24")} // A documentation address: nobody has it (RFC 5737).
	_, err := c.HostNetwork()
	wantError(t, err, "192.0.2.1")
	c.Addr = netip.MustParsePrefix("127.0.0.1/8")
	network, err := c.HostNetwork()
	if err != nil {
		t.Fatal(err)
	}
	if n, ok := network.(hostNetwork); !ok || n.device != "lo" {
		t.Errorf("network %+v", network)
	}
	c.DHCP.Disabled = true
	if _, err := c.HostNetwork(); err != nil {
		t.Errorf("without DHCP: %v", err)
	}
}
