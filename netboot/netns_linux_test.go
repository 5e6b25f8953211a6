package netboot_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bootlun/bootlun/netboot"
	"github.com/vishvananda/netns"
)

// These tests serve on the operating system's network, in a network namespace of their own, to the DHCP, TFTP and HTTP
// clients that Debian has.

// namespaces are two network namespaces joined by a virtual cable, s0 with the server's address to c0.
type namespaces struct{ server, client string }

func newNamespaces(t *testing.T) namespaces {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("SKIP: needs root, to make network namespaces")
	}
	need(t, "ip", "iproute2")
	n := namespaces{fmt.Sprintf("netboot-%d-server", os.Getpid()), fmt.Sprintf("netboot-%d-client", os.Getpid())}
	for _, name := range []string{n.server, n.client} {
		if out, err := exec.Command("ip", "netns", "add", name).CombinedOutput(); err != nil {
			t.Skipf("SKIP: needs network namespaces: %s", out)
		}
		t.Cleanup(func() { exec.Command("ip", "netns", "del", name).Run() })
	}
	for _, command := range []string{
		"link add s0 netns " + n.server + " type veth peer name c0 netns " + n.client,
		"-n " + n.server + " addr add 10.0.0.1/24 dev s0",
		"-n " + n.server + " link set s0 up",
		"-n " + n.client + " link set c0 address 52:54:00:12:34:56",
		"-n " + n.client + " link set c0 up",
	} {
		command := exec.Command("ip", strings.Fields(command)...)
		if out, err := command.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", command, err, out)
		}
	}
	return n
}

func need(t *testing.T, program, pkg string) {
	t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		t.Skipf("SKIP: needs %s (apt install %s)", program, pkg)
	}
}

// run runs a program on the client's side and returns what it writes.
func (n namespaces) run(t *testing.T, program string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	command := exec.CommandContext(ctx, "ip", append([]string{"netns", "exec", n.client, program}, args...)...)
	out, err := command.CombinedOutput()
	if err != nil {
		t.Errorf("%s: %v\n%s", command, err, out)
	}
	return string(out)
}

// network is the host's network as the server's namespace has it.
func (n namespaces) network(t *testing.T, c netboot.Config) netboot.Network {
	t.Helper()
	c.Interface = "s0"
	network, err := c.HostNetwork()
	if err != nil {
		t.Fatal(err)
	}
	return inNamespace{network.(netboot.SolicitationNetwork), n.server}
}

// inNamespace opens a network's sockets in a namespace: a socket stays where it was opened.
type inNamespace struct {
	netboot.SolicitationNetwork
	name string
}

func (n inNamespace) do(open func() error) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	home, err := netns.Get()
	if err != nil {
		return err
	}
	defer home.Close()
	ns, err := netns.GetFromName(n.name)
	if err != nil {
		return err
	}
	defer ns.Close()
	if err := netns.Set(ns); err != nil {
		return err
	}
	defer netns.Set(home)
	return open()
}

func (n inNamespace) Listen(ctx context.Context, network, address string) (l net.Listener, err error) {
	err = n.do(func() error { l, err = n.SolicitationNetwork.Listen(ctx, network, address); return err })
	return l, err
}

func (n inNamespace) ListenPacket(ctx context.Context, network, address string) (c net.PacketConn, err error) {
	err = n.do(func() error { c, err = n.SolicitationNetwork.ListenPacket(ctx, network, address); return err })
	return c, err
}

func (n inNamespace) ListenSolicitations(ctx context.Context) (c net.PacketConn, err error) {
	err = n.do(func() error { c, err = n.SolicitationNetwork.ListenSolicitations(ctx); return err })
	return c, err
}

// namespaceConfig is firmwareConfig with all that a DHCP client shows.
func namespaceConfig(t *testing.T) netboot.Config {
	c := firmwareConfig(t, []byte(strings.Repeat("kernel ", 1<<16)))
	c.Machines[0].IP = netip.MustParseAddr("10.0.0.77")
	c.DHCP.Router = netip.MustParseAddr("10.0.0.254")
	c.DHCP.DNS = []netip.Addr{netip.MustParseAddr("10.0.0.2")}
	c.DHCP.Domain = "example.com"
	c.LoaderDir = t.TempDir()
	if err := os.WriteFile(filepath.Join(c.LoaderDir, "undionly.kpxe"), bytes.Repeat([]byte("loader\n"), 10000), 0o644); err != nil {
		t.Fatal(err)
	}
	return c
}

func wantAll(t *testing.T, got string, want ...string) {
	t.Helper()
	for _, w := range want {
		if !strings.Contains(got, w) {
			t.Errorf("no %q in\n%s", w, got)
		}
	}
}

func TestUdhcpc(t *testing.T) {
	need(t, "udhcpc", "udhcpc")
	n := newNamespaces(t)
	c := namespaceConfig(t)
	serve(t, c, n.network(t, c))
	script := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(script, []byte("#!/bin/sh\n[ \"$1\" != bound ] || set\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	got := n.run(t, "udhcpc", "-i", "c0", "-f", "-q", "-n", "-R", "-s", script, "-V", netboot.VendorClass, "-O", "rootpath")
	wantAll(t, got, "ip='10.0.0.77'", "subnet='255.255.255.0'", "router='10.0.0.254'", "dns='10.0.0.2'", "domain='example.com'",
		"hostname='web1'", "rootpath='iscsi:10.0.0.1::::iqn.2026-01.com.example:disk'", "serverid='10.0.0.1'", "lease='86400'")
}

func TestDhclient(t *testing.T) {
	need(t, "dhclient", "isc-dhcp-client")
	n := newNamespaces(t)
	c := namespaceConfig(t)
	w := &witness{events: make(chan netboot.Event, 100)}
	c.Events = func(e netboot.Event) { w.events <- e }
	serve(t, c, n.network(t, c))
	dir := t.TempDir()
	leases, conf := filepath.Join(dir, "leases"), filepath.Join(dir, "conf")
	text := "option initiator code 203 = text;\nrequest subnet-mask, routers, host-name, root-path, initiator;\n"
	if err := os.WriteFile(conf, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	args := []string{"-4", "-v", "-cf", conf, "-lf", leases, "-pf", filepath.Join(dir, "pid"), "-sf", "/bin/true"}
	n.run(t, "dhclient", append(args, "-1", "c0")...)
	defer n.run(t, "dhclient", append(args, "-x", "c0")...)
	got, err := os.ReadFile(leases)
	if err != nil {
		t.Fatal(err)
	}
	wantAll(t, string(got), "fixed-address 10.0.0.77;", "option routers 10.0.0.254;", `option host-name "web1";`,
		`option root-path "iscsi:10.0.0.1::::iqn.2026-01.com.example:disk";`, `option initiator "iqn.2026-01.com.example:web1";`)

	if out := n.run(t, "dhclient", append(args, "-r", "c0")...); !strings.Contains(out, "DHCPRELEASE") {
		t.Errorf("dhclient did not release:\n%s", out)
	}
	// It does not configure an address here (-sf /bin/true), so that its release cannot leave.
	w.await(t, time.Minute, "dhcp discover: system", "dhcp offer", "dhcp request", "dhcp ack")
}

func TestFetchPrograms(t *testing.T) {
	n := newNamespaces(t)
	c := namespaceConfig(t)
	serve(t, c, n.network(t, c))
	n.run(t, "ip", "addr", "add", "10.0.0.77/24", "dev", "c0")
	loader, err := os.ReadFile(filepath.Join(c.LoaderDir, "undionly.kpxe"))
	if err != nil {
		t.Fatal(err)
	}
	const path = "loader/undionly.kpxe"
	for _, p := range []struct {
		program, pkg string
		args         []string // OUT stands for the file to write
	}{
		{"curl", "curl", []string{"-sS", "--fail", "-o", "OUT", "http://10.0.0.1/" + path}},
		{"curl", "curl", []string{"-sS", "-o", "OUT", "--tftp-blksize", "1428", "tftp://10.0.0.1/" + path}},
		{"tftp", "tftp-hpa", []string{"-m", "binary", "10.0.0.1", "-c", "get", path, "OUT"}},
		{"atftp", "atftp", []string{"--option", "blksize 1024", "--option", "tsize 0", "-g", "-r", path, "-l", "OUT", "10.0.0.1"}},
		{"busybox", "busybox", []string{"tftp", "-g", "-b", "1400", "-r", path, "-l", "OUT", "10.0.0.1"}},
		{"busybox", "busybox", []string{"wget", "-q", "-O", "OUT", "http://10.0.0.1/" + path}},
	} {
		t.Run(p.program+" "+p.args[0], func(t *testing.T) {
			need(t, p.program, p.pkg)
			out := filepath.Join(t.TempDir(), "out")
			args := append([]string(nil), p.args...)
			for i := range args {
				args[i] = strings.ReplaceAll(args[i], "OUT", out)
			}
			said := n.run(t, p.program, args...)
			if got, err := os.ReadFile(out); err != nil || !bytes.Equal(got, loader) {
				t.Errorf("%d bytes, want %d (%v)\n%s", len(got), len(loader), err, said)
			}
		})
	}
}

// TestSolicitation has iPXE come up on the operating system's network, where it asks for an IPv6 router.
func TestSolicitation(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIP: starts a virtual machine, which -short leaves out")
	}
	need(t, "qemu-system-x86_64", "qemu-system-x86 ipxe-qemu")
	n := newNamespaces(t)
	for _, command := range []string{
		"link del s0", // The machine's cable takes its place.
		"tuntap add s0 mode tap",
		"addr add 10.0.0.1/24 dev s0",
		"link set s0 up",
	} {
		if out, err := exec.Command("ip", strings.Fields("-n "+n.server+" "+command)...).CombinedOutput(); err != nil {
			t.Skipf("SKIP: needs a tap device: ip %s: %v\n%s", command, err, out)
		}
	}
	c := namespaceConfig(t)
	c.Boot.Cmdline = "last=1"
	w := &witness{events: make(chan netboot.Event, 100)}
	c.Events = func(e netboot.Event) { w.events <- e }
	var log lockedBuffer
	c.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	serve(t, c, n.network(t, c))

	qemu := exec.CommandContext(t.Context(), "ip", "netns", "exec", n.server, "qemu-system-x86_64", "-nodefaults", "-display", "none",
		"-machine", "pc,graphics=off", "-accel", "tcg", "-m", "256", "-boot", "strict=on",
		"-netdev", "tap,id=n0,ifname=s0,script=no,downscript=no", "-device", "virtio-net-pci,netdev=n0,bootindex=1,mac=52:54:00:12:34:56")
	qemu.WaitDelay = 5 * time.Second
	if err := qemu.Start(); err != nil {
		t.Fatal(err)
	}
	defer qemu.Wait()
	defer qemu.Process.Kill()
	w.await(t, 90*time.Second, "dhcp ack: iPXE", "http done: /machines/52-54-00-12-34-56/boot.ipxe: 200")
	wantAll(t, log.String(), "no IPv6 router")
}

// lockedBuffer is written to and read at once.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
