package lan

import (
	"testing"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
)

const typeIPv6 = 0x86dd

// solicitation is the question for routers that a station with this address asks (RFC 4861, 4.1).
func solicitation(from mac) []byte {
	icmp := header.ICMPv6(make([]byte, 8))
	icmp.SetType(header.ICMPv6RouterSolicit)
	src := header.LinkLocalAddr(tcpip.LinkAddress(from[:]))
	dst := header.IPv6AllRoutersLinkLocalMulticastAddress
	icmp.SetChecksum(header.ICMPv6Checksum(header.ICMPv6ChecksumParams{Header: icmp, Src: src, Dst: dst}))
	ip := header.IPv6(make([]byte, header.IPv6MinimumSize))
	ip.Encode(&header.IPv6Fields{
		PayloadLength: uint16(len(icmp)), TransportProtocol: header.ICMPv6ProtocolNumber, HopLimit: 255, SrcAddr: src, DstAddr: dst,
	})
	f := testFrame(mac{0x33, 0x33, 0, 0, 0, 2}, from, string(ip)+string(icmp))
	f[12], f[13] = typeIPv6>>8, typeIPv6&0xff
	return f
}

func TestRouterSolicitationIsAnswered(t *testing.T) {
	s := plugIn(t, newLAN(t, Config{}))
	s.send(solicitation(macA))
	f := s.receive(typeIPv6)
	ip := header.IPv6(f[minFrame:])
	icmp := header.ICMPv6(ip.Payload())
	if !ip.IsValid(len(ip)) || icmp.Type() != header.ICMPv6RouterAdvert || ip.HopLimit() != 255 {
		t.Fatalf("received % x", f)
	}
	want := header.ICMPv6Checksum(header.ICMPv6ChecksumParams{Header: icmp, Src: ip.SourceAddress(), Dst: ip.DestinationAddress()})
	if icmp.Checksum() != want {
		t.Errorf("checksum %#x, want %#x", icmp.Checksum(), want)
	}
	ra := header.NDPRouterAdvert(icmp.MessageBody())
	if ra.RouterLifetime() != 0 || ra.ManagedAddrConfFlag() || ra.OtherConfFlag() || len(ra.Options()) != 0 {
		t.Errorf("the advertisement announces something: % x", icmp)
	}
	if !header.IsV6LinkLocalUnicastAddress(ip.SourceAddress()) || dstOf(f) != (mac{0x33, 0x33, 0, 0, 0, 1}) {
		t.Errorf("it comes from %v to %v", ip.SourceAddress(), dstOf(f))
	}
}

func TestRouterSolicitationIsLeftAlone(t *testing.T) {
	l := newLAN(t, Config{LeaveRouters: true})
	a, b := plugIn(t, l), plugIn(t, l)
	a.send(solicitation(macA))
	b.receive(typeIPv6)
	b.send(testFrame(macA, macB, "from b"))
	if f := a.receive(0); string(f[minFrame:]) != "from b" {
		t.Errorf("received % x", f)
	}
	if n := portCount(l); n != 2 {
		t.Errorf("%d ports, want the two stations'", n)
	}
}

func TestIsRouterSolicitation(t *testing.T) {
	good := solicitation(macA)
	if !isRouterSolicitation(good) {
		t.Error("a solicitation is not taken for one")
	}
	for i, value := range map[int]byte{12: 8, 14 + 6: 17, 14 + 7: 64, 14 + 40: 128} {
		bad := append([]byte(nil), good...)
		bad[i] = value
		if isRouterSolicitation(bad) {
			t.Errorf("with byte %d as %d it is still taken for one", i, value)
		}
	}
	for n := range good {
		if isRouterSolicitation(good[:n]) {
			t.Errorf("its first %d bytes are taken for one", n)
		}
	}
}
