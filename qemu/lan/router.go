package lan

import (
	"bytes"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
)

// A station with IPv6 asks for routers before it takes its network for configured, and without any answer asks again and
// again: iPXE for sixteen seconds, with the DHCP lease in its hand. So the switch answers what is true: this segment has
// no router, no prefix to make addresses from, and no DHCPv6 (RFC 4861, 4.2 and 6.2.6).

// routerAdvert is a frame for every station that announces nothing: all of its fields, the router's lifetime first of
// all, are zero.
func routerAdvert() []byte {
	router := tcpip.LinkAddress([]byte{0x02, 'l', 'u', 'n', 0, 0}) // Below the hosts': see hostMAC.
	src, dst := header.LinkLocalAddr(router), header.IPv6AllNodesMulticastAddress
	icmp := header.ICMPv6(make([]byte, header.ICMPv6HeaderSize+header.NDPRAMinimumSize))
	icmp.SetType(header.ICMPv6RouterAdvert)
	icmp.SetChecksum(header.ICMPv6Checksum(header.ICMPv6ChecksumParams{Header: icmp, Src: src, Dst: dst}))

	ip := header.IPv6(make([]byte, header.IPv6MinimumSize))
	ip.Encode(&header.IPv6Fields{
		PayloadLength: uint16(len(icmp)), TransportProtocol: header.ICMPv6ProtocolNumber, HopLimit: header.NDPHopLimit,
		SrcAddr: src, DstAddr: dst,
	})
	eth := header.Ethernet(make([]byte, header.EthernetMinimumSize))
	eth.Encode(&header.EthernetFields{
		SrcAddr: router, DstAddr: header.EthernetAddressFromMulticastIPv6Address(dst), Type: header.IPv6ProtocolNumber,
	})
	return bytes.Join([][]byte{eth, ip, icmp}, nil)
}

// answerSolicitations is the goroutine of the port that answers, until the port is unplugged.
func (s *fabric) answerSolicitations(p *port) {
	advert := routerAdvert()
	var frames []frame
	for {
		var ok bool
		if frames, ok = p.out.take(frames); !ok {
			return
		}
		for _, f := range frames {
			if isRouterSolicitation(f.AsSlice()) {
				s.forward(p, buffer.NewViewWithData(advert))
			}
		}
		release(frames)
	}
}

func isRouterSolicitation(f []byte) bool {
	if len(f) < header.EthernetMinimumSize+header.IPv6MinimumSize+header.ICMPv6MinimumSize {
		return false
	}
	eth, ip := header.Ethernet(f), header.IPv6(f[header.EthernetMinimumSize:])
	icmp := header.ICMPv6(ip[header.IPv6MinimumSize:])
	return eth.Type() == header.IPv6ProtocolNumber && ip.TransportProtocol() == header.ICMPv6ProtocolNumber &&
		ip.HopLimit() == header.NDPHopLimit && icmp.Type() == header.ICMPv6RouterSolicit
}
