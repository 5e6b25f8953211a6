package lan

import (
	"encoding/binary"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/dhcpv4/server4"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	"gvisor.dev/gvisor/pkg/tcpip/header"
)

const typeIPv4 = 0x0800

// udpFrame is a frame with a UDP packet, as a machine without an address sends one.
func udpFrame(dst, src mac, to, from netip.AddrPort, payload []byte) []byte {
	const ipLen, udpLen = header.IPv4MinimumSize, header.UDPMinimumSize
	pkt := make([]byte, ipLen+udpLen, ipLen+udpLen+len(payload))
	ip := header.IPv4(pkt)
	ip.Encode(&header.IPv4Fields{
		TotalLength: uint16(ipLen + udpLen + len(payload)), TTL: 64, Protocol: uint8(header.UDPProtocolNumber),
		SrcAddr: tcpip.AddrFromSlice(from.Addr().AsSlice()), DstAddr: tcpip.AddrFromSlice(to.Addr().AsSlice()),
	})
	ip.SetChecksum(^ip.CalculateChecksum())
	u := header.UDP(pkt[ipLen:])
	u.Encode(&header.UDPFields{SrcPort: from.Port(), DstPort: to.Port(), Length: uint16(udpLen + len(payload))})
	sum := header.PseudoHeaderChecksum(header.UDPProtocolNumber, ip.SourceAddress(), ip.DestinationAddress(), u.Length())
	u.SetChecksum(^u.CalculateChecksum(checksum.Checksum(payload, sum)))

	f := append(append([]byte(nil), dst[:]...), src[:]...)
	return append(append(binary.BigEndian.AppendUint16(f, typeIPv4), pkt...), payload...)
}

// parseUDP takes a frame apart that a host sent, and checks the checksums that it must have.
func parseUDP(t *testing.T, f []byte) (to, from netip.AddrPort, payload []byte) {
	t.Helper()
	ip := header.IPv4(f[minFrame:])
	if !ip.IsValid(len(ip)) || !ip.IsChecksumValid() || ip.TransportProtocol() != header.UDPProtocolNumber {
		t.Fatalf("not a good UDP packet: % x", f)
	}
	u := header.UDP(ip.Payload())
	if !u.IsChecksumValid(ip.SourceAddress(), ip.DestinationAddress(), checksum.Checksum(u.Payload(), 0)) {
		t.Fatalf("the UDP checksum of % x is wrong", f)
	}
	addr := func(a tcpip.Address, port uint16) netip.AddrPort {
		return netip.AddrPortFrom(netip.AddrFrom4(a.As4()), port)
	}
	return addr(ip.DestinationAddress(), u.DestinationPort()), addr(ip.SourceAddress(), u.SourcePort()), u.Payload()
}

// TestDHCP has a machine without an address ask a DHCP server written against net.PacketConn.
func TestDHCP(t *testing.T) {
	for _, address := range []string{":67", "0.0.0.0:67"} {
		for _, network := range []string{"udp", "udp4"} {
			t.Run(network+" "+address, func(t *testing.T) { testDHCP(t, network, address) })
		}
	}
}

func testDHCP(t *testing.T, network, address string) {
	l := newLAN(t, Config{})
	host := newHost(t, l, "dhcp", "192.168.7.1/24", "fd00::1/64")
	newHost(t, l, "bystander", "192.168.7.2/24")
	conn, err := host.ListenPacket(t.Context(), network, address)
	if err != nil {
		t.Fatal(err)
	}
	serveDHCP(t, conn)

	s := plugIn(t, l)
	discover, err := dhcpv4.NewDiscovery(macA[:], dhcpv4.WithBroadcast(true))
	if err != nil {
		t.Fatal(err)
	}
	s.send(udpFrame(broadcast, macA, netip.MustParseAddrPort("255.255.255.255:67"), netip.MustParseAddrPort("0.0.0.0:68"), discover.ToBytes()))

	f := s.receive(typeIPv4)
	to, from, payload := parseUDP(t, f)
	if dstOf(f) != broadcast || srcOf(f) != mac(host.MAC()) {
		t.Errorf("the offer went to %v from %v, want to everybody from %v", dstOf(f), srcOf(f), host.MAC())
	}
	if to != netip.MustParseAddrPort("255.255.255.255:68") || from != netip.MustParseAddrPort("192.168.7.1:67") {
		t.Errorf("the offer went to %v from %v", to, from)
	}
	offer, err := dhcpv4.FromBytes(payload)
	if err != nil {
		t.Fatal(err)
	}
	if offer.MessageType() != dhcpv4.MessageTypeOffer || !offer.YourIPAddr.Equal(net.IPv4(192, 168, 7, 77)) {
		t.Errorf("received %v", offer)
	}
}

func serveDHCP(t *testing.T, conn net.PacketConn) {
	t.Helper()
	handler := func(conn net.PacketConn, _ net.Addr, m *dhcpv4.DHCPv4) {
		offer, err := dhcpv4.NewReplyFromRequest(m, dhcpv4.WithMessageType(dhcpv4.MessageTypeOffer), dhcpv4.WithYourIP(net.IPv4(192, 168, 7, 77)))
		if err != nil {
			t.Error(err)
			return
		}
		// An address of sixteen bytes, as most code has it.
		if _, err := conn.WriteTo(offer.ToBytes(), &net.UDPAddr{IP: net.IPv4bcast, Port: dhcpv4.ClientPort}); err != nil {
			t.Error(err)
		}
	}
	srv, err := server4.NewServer("", nil, handler, server4.WithConn(conn))
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { defer close(done); srv.Serve() }()
	t.Cleanup(func() { srv.Close(); <-done })
}

func TestUDPBetweenHosts(t *testing.T) {
	for _, tt := range []struct{ name, a, b, network, to string }{
		{"IPv4", "10.0.0.1/24", "10.0.0.2/24", "udp4", "10.0.0.1:69"},
		{"IPv6", "fd00::1/64", "fd00::2/64", "udp6", "[fd00::1]:69"},
		{"subnet broadcast", "10.0.0.1/24", "10.0.0.2/24", "udp", "10.0.0.255:69"},
		{"limited broadcast", "10.0.0.1/24", "10.0.0.2/24", "udp", "255.255.255.255:69"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := newLAN(t, Config{})
			a, b := newHost(t, l, "a", tt.a), newHost(t, l, "b", tt.b)
			server, err := a.ListenPacket(t.Context(), tt.network, ":69")
			if err != nil {
				t.Fatal(err)
			}
			client, err := b.ListenPacket(t.Context(), tt.network, ":0")
			if err != nil {
				t.Fatal(err)
			}
			exchange(t, client, server, net.UDPAddrFromAddrPort(netip.MustParseAddrPort(tt.to)), b.Addr())
		})
	}
}

// exchange sends a question and its answer, and checks that the question came from the client's address.
func exchange(t *testing.T, client, server net.PacketConn, to net.Addr, clientAddr netip.Addr) {
	t.Helper()
	buf := make([]byte, 2000)
	for _, c := range []net.PacketConn{client, server} {
		c.SetReadDeadline(time.Now().Add(10 * time.Second))
	}
	if _, err := client.WriteTo([]byte("question"), to); err != nil {
		t.Fatal(err)
	}
	n, from, err := server.ReadFrom(buf)
	if err != nil || string(buf[:n]) != "question" {
		t.Fatalf("server read %q, %v", buf[:n], err)
	}
	if got := from.(*net.UDPAddr).AddrPort().Addr(); got != clientAddr {
		t.Errorf("the question came from %v, want %v", got, clientAddr)
	}
	if _, err := server.WriteTo([]byte("answer"), from); err != nil {
		t.Fatal(err)
	}
	if n, _, err = client.ReadFrom(buf); err != nil || string(buf[:n]) != "answer" {
		t.Fatalf("client read %q, %v", buf[:n], err)
	}
}

func TestDialUDP(t *testing.T) {
	l := newLAN(t, Config{})
	a, b := newHost(t, l, "a", "10.0.0.1/24"), newHost(t, l, "b", "10.0.0.2/24")
	server, err := a.ListenPacket(t.Context(), "udp", "10.0.0.1:69")
	if err != nil {
		t.Fatal(err)
	}
	c, err := b.DialContext(t.Context(), "udp", "10.0.0.1:69")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 100)
	server.SetReadDeadline(time.Now().Add(10 * time.Second))
	n, from, err := server.ReadFrom(buf)
	if err != nil || string(buf[:n]) != "hello" || from.String() != c.LocalAddr().String() {
		t.Errorf("read %q from %v, %v; want hello from %v", buf[:n], from, err, c.LocalAddr())
	}
}
