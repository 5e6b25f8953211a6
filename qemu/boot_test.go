package qemu_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/dhcpv4/server4"

	"github.com/bootlun/bootlun/qemu"
	"github.com/bootlun/bootlun/qemu/lan"
	"github.com/bootlun/bootlun/qemu/qmp"
)

var (
	serverAddr = netip.MustParsePrefix("192.168.7.1/24")
	guestIP    = net.IPv4(192, 168, 7, 77)
)

// bootServer is a LAN with a host that gives an address and an iPXE script to whoever asks.
type bootServer struct {
	LAN *lan.LAN
	Mux *http.ServeMux

	mu       sync.Mutex
	discover time.Time // When the first DHCPDISCOVER came.
}

// needQEMU skips where a network boot cannot run, and is the time that one may take.
func needQEMU(t testing.TB) context.Context {
	t.Helper()
	if _, err := exec.LookPath("qemu-system-x86_64"); err != nil {
		t.Skip("SKIP: needs qemu-system-x86_64 (apt install qemu-system-x86 ipxe-qemu)")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 40*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func serveBoot(t testing.TB, script string) *bootServer {
	t.Helper()
	l, err := lan.New(lan.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	host, err := l.Host(lan.HostConfig{Name: "server", Addrs: []netip.Prefix{serverAddr}})
	if err != nil {
		t.Fatal(err)
	}
	s := &bootServer{LAN: l, Mux: http.NewServeMux()}
	s.Mux.HandleFunc("/boot.ipxe", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, script) })
	s.serveDHCP(t, host)
	s.serveHTTP(t, host)
	return s
}

func (s *bootServer) serveHTTP(t testing.TB, host *lan.Host) {
	ln, err := host.Listen(t.Context(), "tcp", ":80")
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: s.Mux}
	var wg sync.WaitGroup
	wg.Go(func() { srv.Serve(ln) })
	t.Cleanup(func() { srv.Close(); wg.Wait() })
}

func (s *bootServer) serveDHCP(t testing.TB, host *lan.Host) {
	conn, err := host.ListenPacket(t.Context(), "udp4", ":67")
	if err != nil {
		t.Fatal(err)
	}
	srv, err := server4.NewServer("", nil, s.answer, server4.WithConn(conn))
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() { srv.Serve() })
	t.Cleanup(func() { srv.Close(); wg.Wait() })
}

func (s *bootServer) answer(conn net.PacketConn, _ net.Addr, m *dhcpv4.DHCPv4) {
	kind := dhcpv4.MessageTypeAck
	if m.MessageType() == dhcpv4.MessageTypeDiscover {
		kind = dhcpv4.MessageTypeOffer
		s.mu.Lock()
		if s.discover.IsZero() {
			s.discover = time.Now()
		}
		s.mu.Unlock()
	}
	// iPXE's option 176 inside option 175, no-pxedhcp: there is no proxy DHCP server to wait for.
	ipxe := dhcpv4.OptGeneric(dhcpv4.GenericOptionCode(175), []byte{176, 1, 1})
	reply, err := dhcpv4.NewReplyFromRequest(m,
		dhcpv4.WithMessageType(kind), dhcpv4.WithYourIP(guestIP), dhcpv4.WithServerIP(serverAddr.Addr().AsSlice()),
		dhcpv4.WithOption(dhcpv4.OptServerIdentifier(serverAddr.Addr().AsSlice())), dhcpv4.WithNetmask(net.CIDRMask(24, 32)),
		dhcpv4.WithLeaseTime(3600), dhcpv4.WithOption(ipxe),
		dhcpv4.WithOption(dhcpv4.OptBootFileName("http://"+serverAddr.Addr().String()+"/boot.ipxe")))
	if err == nil {
		conn.WriteTo(reply.ToBytes(), &net.UDPAddr{IP: net.IPv4bcast, Port: dhcpv4.ClientPort})
	}
}

func (s *bootServer) start(ctx context.Context, t testing.TB, m qemu.Machine) *qemu.VM {
	t.Helper()
	m.Memory = 256
	if m.NICs == nil {
		m.NICs = []qemu.NIC{{}}
	}
	m.NICs[0].LAN = s.LAN.Socket()
	vm, err := m.Start(ctx)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { vm.Stop() })
	return vm
}

func expect(ctx context.Context, t testing.TB, vm *qemu.VM, pattern string) qemu.Match {
	t.Helper()
	m, err := vm.Console.Expect(ctx, regexp.MustCompile(pattern))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// TestNetworkBoot has iPXE boot a script over the LAN: its own DHCP and HTTP clients against servers on a host.
func TestNetworkBoot(t *testing.T) {
	ctx := needQEMU(t)
	s := serveBoot(t, "#!ipxe\necho marker ${net0/ip} of ${net0/mac}\nshell\n")
	var mu sync.Mutex
	var events []string
	vm := s.start(ctx, t, qemu.Machine{Name: "ipxe", OnEvent: func(e qmp.Event) {
		mu.Lock()
		defer mu.Unlock()
		events = append(events, e.Name)
	}})
	m := expect(ctx, t, vm, `marker (\S+) of (\S{17})`)
	if m.Groups[1] != guestIP.String() || m.Groups[2] != "52:54:00:12:34:56" {
		t.Errorf("the script printed %q", m.Groups)
	}
	s.mu.Lock()
	t.Logf("DHCPDISCOVER after %v, the script's line after %v", s.discover.Sub(vm.Started), m.Line.Time.Sub(vm.Started))
	s.mu.Unlock()

	// The shell shows that what is typed arrives.
	expect(ctx, t, vm, `iPXE> $`)
	if err := vm.Console.Send("echo ${mac}\r"); err != nil {
		t.Fatal(err)
	}
	expect(ctx, t, vm, `^52:54:00:12:34:56`)

	if err := vm.QMP.Execute(ctx, "quit", nil, nil); err != nil {
		t.Fatal(err)
	}
	if err := vm.Wait(); err != nil {
		t.Errorf("after quit: %v", err)
	}
	mu.Lock()
	defer mu.Unlock()
	if len(events) == 0 || events[len(events)-1] != "SHUTDOWN" {
		t.Errorf("events %q, want SHUTDOWN at the end", events)
	}
}

// TestControl asks QEMU for what it knows of a running machine.
func TestControl(t *testing.T) {
	ctx := needQEMU(t)
	s := serveBoot(t, "#!ipxe\necho up\nshell\n")
	vm := s.start(ctx, t, qemu.Machine{NICs: []qemu.NIC{{Model: "e1000"}}}) // iPXE's driver for it looks at the link.
	expect(ctx, t, vm, `iPXE> $`)

	bios, err := vm.ReadMemory(ctx, 0xffff0, 16)
	if err != nil {
		t.Fatal(err)
	}
	if bios[0] != 0xea { // The reset vector is a far jump; the date of the BIOS follows it.
		t.Errorf("the reset vector reads % x", bios)
	}
	if _, err := vm.ReadMemory(ctx, 0, -1); err == nil {
		t.Error("read less than nothing")
	}

	for _, want := range []string{"down", "up"} {
		if err := vm.SetLink(ctx, 0, want == "up"); err != nil {
			t.Fatal(err)
		}
		for got := ""; got != want; { // The card takes a moment to negotiate.
			if err := vm.Console.Send("ifstat\r"); err != nil {
				t.Fatal(err)
			}
			got = expect(ctx, t, vm, `\[Link:(up|down)`).Groups[1]
			expect(ctx, t, vm, `iPXE> $`)
		}
	}
	var refused *qmp.Error
	if err := vm.SetLink(ctx, 1, true); !errors.As(err, &refused) {
		t.Errorf("the link of a card that is not there: %v", err)
	}

	short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancel()
	if err := vm.Shutdown(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("iPXE took the power button: %v", err)
	}
	if err := vm.Stop(); err != nil {
		t.Errorf("Stop: %v", err)
	}
	if err := vm.Shutdown(ctx); !errors.Is(err, qmp.ErrClosed) {
		t.Errorf("Shutdown after the end: %v", err)
	}
}

func TestStartErrors(t *testing.T) {
	ctx := needQEMU(t)
	for _, tt := range []struct {
		name string
		m    qemu.Machine
		want string
	}{
		{"no such program", qemu.Machine{Binary: "qemu-system-none"}, "apt install qemu-system-x86"},
		{"an option QEMU refuses", qemu.Machine{Name: "web", ExtraArgs: []string{"-nonsense"}}, "-nonsense: invalid option"},
		{"a disk that is not there", qemu.Machine{Disks: []qemu.Disk{{Path: "/nonexistent.img"}}}, "/nonexistent.img"},
		{"a LAN that is not there", qemu.Machine{NICs: []qemu.NIC{{LAN: "/nonexistent.sock"}}}, "its LAN"},
		{"not QEMU", qemu.Machine{Binary: "true"}, "did not come up"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			vm, err := tt.m.Start(ctx)
			if err == nil {
				vm.Stop()
				t.Fatal("it started")
			}
			if !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q in it", err, tt.want)
			}
		})
	}
}

func TestContextKills(t *testing.T) {
	ctx, cancel := context.WithCancelCause(needQEMU(t))
	vm, err := qemu.Machine{Memory: 64, ExtraArgs: []string{"-S"}}.Start(ctx)
	if err != nil {
		t.Fatal(err)
	}
	cause := errors.New("enough")
	cancel(cause)
	if err := vm.Wait(); !errors.Is(err, cause) {
		t.Errorf("error %v, want the context's cause", err)
	}
	<-vm.Done()
	if _, err := vm.Console.Expect(t.Context(), regexp.MustCompile("never")); !errors.Is(err, qemu.ErrConsoleClosed) {
		t.Errorf("the console of a dead machine: %v", err)
	}
}

// BenchmarkDiscover is the time from power-on to the firmware's first DHCPDISCOVER.
func BenchmarkDiscover(b *testing.B) {
	ctx := needQEMU(b)
	var sum time.Duration
	for range b.N {
		s := serveBoot(b, "#!ipxe\necho up\nshell\n")
		vm := s.start(ctx, b, qemu.Machine{})
		expect(ctx, b, vm, `^up$`)
		s.mu.Lock()
		sum += s.discover.Sub(vm.Started)
		s.mu.Unlock()
		if err := vm.Stop(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(sum.Milliseconds())/float64(b.N), "ms/discover")
}

// BenchmarkDownload is a file of ten megabytes, by HTTP, to iPXE in an emulated machine.
func BenchmarkDownload(b *testing.B) {
	ctx := needQEMU(b)
	const size = 10_000_000
	s := serveBoot(b, "#!ipxe\n:again\nprompt go?\nimgfetch -n f http://192.168.7.1/file && imgfree f && echo fetched\ngoto again\n")
	s.Mux.HandleFunc("/file", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(size))
		w.Write(make([]byte, size))
	})
	vm := s.start(ctx, b, qemu.Machine{})
	expect(ctx, b, vm, `go\?`)
	b.SetBytes(size)
	b.ResetTimer()
	for range b.N {
		if err := vm.Console.Send(" "); err != nil {
			b.Fatal(err)
		}
		expect(ctx, b, vm, `^fetched`)
		expect(ctx, b, vm, `go\?`)
	}
}
