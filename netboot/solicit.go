package netboot

import (
	"bytes"
	"context"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/bootlun/bootlun/ibft"
)

// SolicitationNetwork is a Network on which IPv6 router solicitations can be answered too.
//
// iPXE configures IPv6 beside IPv4 and waits for both. Where no IPv6 router answers it, it goes on only after 16 s, long
// after DHCP has given it all that it needs. So a Server answers an iPXE that has just asked it by DHCP, and nobody else,
// that there is no IPv6 router here (RFC 4861, 4.2, with a router lifetime of 0).
type SolicitationNetwork interface {
	Network
	// ListenSolicitations opens a connection that reads ICMPv6 messages sent to all routers (ff02::2), from their type
	// on, and sends such messages from a link-local address with a hop limit of 255 and the checksum filled in. Peers
	// are *net.IPAddr or *net.UDPAddr, with their zone where the connection needs it.
	ListenSolicitations(ctx context.Context) (net.PacketConn, error)
}

// ICMPv6 for router discovery (RFC 4861, 4.1, 4.2 and 4.6).
const (
	icmpRouterSolicitation  = 133
	icmpRouterAdvertisement = 134

	solicitationLength  = 8
	advertisementLength = 16

	ndpSourceLinkLayer = 1
	ndpOptionUnit      = 8
)

// solicitTime is how long after its DHCP request an iPXE is answered.
const solicitTime = time.Minute

// solicitors are the machines whose solicitations are answered. The zero value is ready. Safe for concurrent use.
type solicitors struct {
	mu    sync.Mutex
	until map[ibft.MAC]time.Time
}

// expect has a machine's solicitations answered for a while.
func (s *solicitors) expect(mac ibft.MAC, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.until == nil {
		s.until = make(map[ibft.MAC]time.Time)
	}
	for other, until := range s.until {
		if now.After(until) || len(s.until) >= maxPool {
			delete(s.until, other)
		}
	}
	s.until[mac] = now.Add(solicitTime)
}

func (s *solicitors) expects(mac ibft.MAC, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return now.Before(s.until[mac])
}

// listenSolicitations opens the network's connection for solicitations, if it can: machines boot without, only later.
func (s *Server) listenSolicitations(ctx context.Context, network Network) net.PacketConn {
	n, ok := network.(SolicitationNetwork)
	if !ok {
		return nil
	}
	conn, err := n.ListenSolicitations(ctx)
	if err != nil {
		s.log.Info("netboot: IPv6 solicitations cannot be answered, iPXE will wait 16 s for a router", "reason", err)
		return nil
	}
	return conn
}

// serveSolicitations answers until ctx ends.
func (s *Server) serveSolicitations(ctx context.Context, conn net.PacketConn) error {
	return readPackets(ctx, conn, s.log, func(packet []byte, from net.Addr) {
		mac, ok := parseSolicitation(packet)
		if !ok || !s.solicitors.expects(mac, time.Now()) {
			return
		}
		if _, err := conn.WriteTo(noRouter(), from); err != nil {
			s.log.Debug("netboot: answer to an IPv6 solicitation", "to", from, "error", err)
			return
		}
		s.log.Debug("netboot: told iPXE that there is no IPv6 router", "machine", s.machines.find(mac, netip.Addr{}).label())
	})
}

// parseSolicitation returns the Ethernet address of who sent a router solicitation.
func parseSolicitation(packet []byte) (mac ibft.MAC, ok bool) {
	if len(packet) < solicitationLength || packet[0] != icmpRouterSolicitation || packet[1] != 0 {
		return mac, false
	}
	for options := packet[solicitationLength:]; len(options) >= ndpOptionUnit; {
		length := int(options[1]) * ndpOptionUnit
		if length == 0 || length > len(options) {
			return mac, false
		}
		if options[0] == ndpSourceLinkLayer && length == ndpOptionUnit {
			copy(mac[:], options[2:])
			return mac, true
		}
		options = options[length:]
	}
	return mac, false
}

// noRouter is an advertisement of a router that routes nothing: lifetime 0, no prefix, no DHCPv6.
func noRouter() []byte {
	return append([]byte{icmpRouterAdvertisement}, bytes.Repeat([]byte{0}, advertisementLength-1)...)
}
