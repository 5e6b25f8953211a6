package netboot_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bootlun/bootlun/ibft"
	"github.com/bootlun/bootlun/netboot"
	"github.com/bootlun/bootlun/qemu"
	"github.com/bootlun/bootlun/qemu/lan"
	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/dhcpv4/server4"
)

// These tests have real firmware boot from a server on a LAN in this process.

var firmwareMAC = ibft.MAC{0x52, 0x54, 0, 0x12, 0x34, 0x56}

// tinyKernel is as much of a Linux kernel as iPXE wants to see (Linux, Documentation/arch/x86/boot.rst, "The Real-Mode
// Kernel Header"): a real-mode program that writes its command line to the serial line and stops.
func tinyKernel() []byte {
	const code = 0x270
	b := make([]byte, 8192)
	b[0x1f1] = 4                                     // setup_sects
	binary.LittleEndian.PutUint16(b[0x1fe:], 0xaa55) // boot_flag
	copy(b[0x200:], []byte{0xeb, code - 0x202})      // jump
	copy(b[0x202:], "HdrS")
	binary.LittleEndian.PutUint16(b[0x206:], 0x0203)     // version
	b[0x211] = 1                                         // loadflags: LOADED_HIGH
	binary.LittleEndian.PutUint32(b[0x214:], 0x100000)   // code32_start
	binary.LittleEndian.PutUint32(b[0x22c:], 0x37ffffff) // initrd_addr_max
	copy(b[code:], []byte{
		0x66, 0xa1, 0x28, 0x02, // mov eax, [cmd_line_ptr]
		0x89, 0xc6, 0x83, 0xe6, 0x0f, // mov si, ax; and si, 15
		0x66, 0xc1, 0xe8, 0x04, 0x8e, 0xd8, // shr eax, 4; mov ds, ax
		0xac, 0x84, 0xc0, 0x74, 0x12, // next: lodsb; test al, al; jz stop
		0x88, 0xc4, 0xba, 0xfd, 0x03, // mov ah, al; mov dx, 0x3fd
		0xec, 0xa8, 0x20, 0x74, 0xfb, // wait: in al, dx; test al, 0x20; jz wait
		0x88, 0xe0, 0xba, 0xf8, 0x03, 0xee, // mov al, ah; mov dx, 0x3f8; out dx, al
		0xeb, 0xe9, // jmp next
		0xf4, 0xeb, 0xfd, // stop: hlt; jmp stop
	})
	return b
}

// boot switches a machine on at a server's LAN, with a card that has the boot ROM named. It returns the machine and where
// to wait for events.
func boot(t *testing.T, c netboot.Config, m qemu.Machine, rom string) (*qemu.VM, *witness) {
	t.Helper()
	if testing.Short() {
		t.Skip("SKIP: starts a virtual machine, which -short leaves out")
	}
	if _, err := exec.LookPath("qemu-system-x86_64"); err != nil {
		t.Skip("SKIP: needs QEMU (apt install qemu-system-x86 ipxe-qemu)")
	}
	l, err := lan.New(lan.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	host, err := l.Host(lan.HostConfig{Name: "server", Addrs: []netip.Prefix{c.Addr}})
	if err != nil {
		t.Fatal(err)
	}
	w := &witness{events: make(chan netboot.Event, 1000)}
	c.Events = func(e netboot.Event) { w.events <- e }
	serve(t, c, host)
	if c.DHCP.Proxy {
		giveAddress(t, l)
	}
	m.NICs = []qemu.NIC{{MAC: firmwareMAC.HardwareAddr(), LAN: l.Socket(), ROM: rom}}
	vm, err := m.Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		vm.Stop()
		if t.Failed() {
			for _, line := range vm.Console.Lines() {
				t.Logf("console: %s", line.Text)
			}
		}
	})
	return vm, w
}

// givenAddress is what giveAddress gives.
var givenAddress = netip.MustParseAddr("10.0.0.77")

// giveAddress has a DHCP server on the LAN that knows nothing of booting: it gives everybody the same address.
func giveAddress(t *testing.T, l *lan.LAN) {
	t.Helper()
	addr := netip.MustParsePrefix("10.0.0.2/24")
	host, err := l.Host(lan.HostConfig{Name: "dhcp", Addrs: []netip.Prefix{addr}})
	if err != nil {
		t.Fatal(err)
	}
	conn, err := host.ListenPacket(t.Context(), "udp4", "0.0.0.0:67")
	if err != nil {
		t.Fatal(err)
	}
	handle := func(conn net.PacketConn, _ net.Addr, request *dhcpv4.DHCPv4) {
		answer := map[dhcpv4.MessageType]dhcpv4.MessageType{
			dhcpv4.MessageTypeDiscover: dhcpv4.MessageTypeOffer, dhcpv4.MessageTypeRequest: dhcpv4.MessageTypeAck,
		}[request.MessageType()]
		reply, err := dhcpv4.NewReplyFromRequest(request, dhcpv4.WithMessageType(answer), dhcpv4.WithYourIP(givenAddress.AsSlice()),
			dhcpv4.WithOption(dhcpv4.OptServerIdentifier(addr.Addr().AsSlice())), dhcpv4.WithLeaseTime(3600), dhcpv4.WithNetmask(net.CIDRMask(24, 32)))
		if err != nil {
			t.Error(err)
			return
		}
		_, _ = conn.WriteTo(reply.ToBytes(), &net.UDPAddr{IP: net.IPv4bcast, Port: 68}) // at the test's end there is no network
	}
	s, err := server4.NewServer("", nil, handle, server4.WithConn(conn))
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- s.Serve() }()
	t.Cleanup(func() {
		s.Close()
		<-ended
	})
}

// serve runs a server until the test ends.
func serve(t *testing.T, c netboot.Config, network netboot.Network) {
	t.Helper()
	s, err := netboot.New(c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx, network) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	select {
	case <-s.Ready():
	case err := <-done:
		done <- nil
		t.Fatal(err)
	}
}

// witness waits for events.
type witness struct {
	events chan netboot.Event
	seen   []string
}

// await waits for events in this order, each given by its kind and how its detail begins, others between them.
func (w *witness) await(t *testing.T, within time.Duration, wanted ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	for _, want := range wanted {
		for {
			var e netboot.Event
			select {
			case e = <-w.events:
			case <-ctx.Done():
				t.Fatalf("no event %q within %s after\n%s", want, within, strings.Join(w.seen, "\n"))
			}
			text := fmt.Sprintf("%s: %s", e.Kind, e.Detail)
			w.seen = append(w.seen, text)
			if e.Machine != "web1" {
				t.Errorf("an event of %q: %s", e.Machine, text)
			}
			if strings.HasPrefix(text, want) {
				break
			}
		}
	}
}

func firmwareConfig(t *testing.T, kernel []byte) netboot.Config {
	t.Helper()
	dir := t.TempDir()
	c := netboot.Config{
		Addr: netip.MustParsePrefix("10.0.0.1/24"),
		Boot: netboot.Boot{
			Kernel: filepath.Join(dir, "kernel"), Initramfs: filepath.Join(dir, "initramfs"), Cmdline: "console=ttyS0 last=1",
		},
		Machines: []netboot.Machine{{
			Name: "web1", MAC: firmwareMAC, InitiatorName: "iqn.2026-01.com.example:{name}",
			RootPaths: []string{"iscsi:10.0.0.1::::iqn.2026-01.com.example:disk"},
		}},
	}
	for path, b := range map[string][]byte{c.Boot.Kernel: kernel, c.Boot.Initramfs: make([]byte, 3<<20)} {
		if err := os.WriteFile(path, b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

// TestFirmwareIPXE boots by SeaBIOS and the card's own iPXE, up to a kernel that shows what it was told.
func TestFirmwareIPXE(t *testing.T) {
	for _, mode := range []netboot.Mode{netboot.ModeImage, netboot.ModeKernel} {
		t.Run(string(mode), func(t *testing.T) {
			c := firmwareConfig(t, tinyKernel())
			c.Machines[0].Mode = mode
			vm, w := boot(t, c, qemu.Machine{Memory: 256}, "")
			files := []string{"/machines/52-54-00-12-34-56/boot.ipxe", "/kernel", "/initramfs"}
			cmdline := "initrd=initramfs BOOTIF=01-52-54-00-12-34-56 console=ttyS0 last=1"
			if mode == netboot.ModeKernel {
				files = slices.Insert(files, 2, "/machines/52-54-00-12-34-56/ibft.cpio")
				cmdline = "initrd=ibft.cpio " + cmdline
			}
			want := []string{"dhcp discover: iPXE", "dhcp offer: iPXE", "dhcp request: iPXE", "dhcp ack: iPXE"}
			for _, f := range files {
				want = append(want, "http start: "+f, "http done: "+f+": 200")
			}
			w.await(t, 90*time.Second, want...)
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			if _, err := vm.Console.Expect(ctx, regexp.MustCompile(regexp.QuoteMeta(cmdline))); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestFirmwareProxy has another server give the addresses.
func TestFirmwareProxy(t *testing.T) {
	c := firmwareConfig(t, tinyKernel())
	c.DHCP.Proxy, c.Machines[0].IP = true, givenAddress
	vm, w := boot(t, c, qemu.Machine{Memory: 256}, "")
	w.await(t, 90*time.Second, "dhcp discover: iPXE", "dhcp offer: iPXE", "http done: /machines/52-54-00-12-34-56/boot.ipxe: 200",
		"http done: /kernel: 200", "http done: /machines/52-54-00-12-34-56/ibft.cpio: 200", "http done: /initramfs: 200")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := vm.Console.Expect(ctx, regexp.MustCompile(`initrd=ibft.cpio initrd=initramfs BOOTIF`)); err != nil {
		t.Error(err)
	}
}

// TestFirmwareFallback takes the kernel away while iPXE asks for it over HTTP, and puts it back in time for TFTP.
func TestFirmwareFallback(t *testing.T) {
	c := firmwareConfig(t, tinyKernel())
	away := c.Boot.Kernel + ".away"
	vm, w := boot(t, c, qemu.Machine{Memory: 256}, "")
	if err := os.Rename(c.Boot.Kernel, away); err != nil {
		t.Fatal(err)
	}
	w.await(t, 90*time.Second, "dhcp ack: iPXE", "http done: /kernel: 500")
	if err := os.Rename(away, c.Boot.Kernel); err != nil {
		t.Fatal(err)
	}
	w.await(t, 90*time.Second, "tftp read: kernel", "tftp read: initramfs")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := vm.Console.Expect(ctx, regexp.MustCompile("last=1")); err != nil {
		t.Error(err)
	}
}

// TestFirmwareUEFI boots by a UEFI that is not iPXE, which fetches iPXE by TFTP or by HTTP.
func TestFirmwareUEFI(t *testing.T) {
	const loaders, ovmf = "/usr/lib/ipxe", "/usr/share/ovmf/OVMF.fd"
	for _, path := range []string{filepath.Join(loaders, "snponly.efi"), ovmf} {
		if _, err := os.Stat(path); err != nil {
			t.Skipf("SKIP: needs %s (apt install ipxe ovmf)", path)
		}
	}
	for name, proxy := range map[string]bool{"server": false, "proxy": true} {
		t.Run(name, func(t *testing.T) {
			c := firmwareConfig(t, []byte("not a kernel"))
			c.LoaderDir, c.DHCP.Proxy, c.Machines[0].IP = loaders, proxy, givenAddress
			_, w := boot(t, c, qemu.Machine{Memory: 512, Firmware: ovmf}, qemu.RomNone)
			w.await(t, 3*time.Minute, "dhcp offer: PXE", "tftp read: loader/snponly.efi", "dhcp offer: iPXE",
				"http done: /machines/52-54-00-12-34-56/boot.ipxe: 200", "http done: /kernel: 200", "tftp read: kernel")
		})
	}
}
