package netboot

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

const (
	dhcpServerPort = 67
	dhcpClientPort = 68
	dhcpHandlers   = 64 // packets in hand at once; the socket's buffer holds the rest
)

// dhcpService is how packets at one port are answered.
type dhcpService struct {
	answer func(request *dhcpv4.DHCPv4, now time.Time) *dhcpv4.DHCPv4 // nil for nothing
	to     func(request, reply *dhcpv4.DHCPv4, from net.Addr) netip.AddrPort
}

// serveDHCP answers packets until ctx ends.
func (s *Server) serveDHCP(ctx context.Context, conn net.PacketConn, service dhcpService) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	slots := make(chan struct{}, dhcpHandlers)
	return readPackets(ctx, conn, s.log, func(packet []byte, from net.Addr) {
		request, err := dhcpv4.FromBytes(packet)
		if err != nil {
			s.log.Debug("netboot: not a DHCP packet", "error", err)
			return
		}
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			if reply := service.answer(request, time.Now()); reply != nil {
				s.send(conn, request, reply, service.to(request, reply, from))
			}
		})
	})
}

// send answers a request.
func (s *Server) send(conn net.PacketConn, request, reply *dhcpv4.DHCPv4, to netip.AddrPort) {
	if reply.MessageType() == dhcpv4.MessageTypeAck && s.cfg.DHCP.leases() {
		s.saveLeases()
	}
	detail := kindOf(request).String()
	if reply.MessageType() == dhcpv4.MessageTypeNak {
		detail = reply.Message()
	}
	// Recorded before it is sent: what the client does next is recorded after it.
	s.dhcpEvent(sentKind(reply.MessageType()), request, fromIP(reply.YourIPAddr), detail)
	if _, err := conn.WriteTo(reply.ToBytes(), net.UDPAddrFromAddrPort(to)); err != nil {
		s.log.Error("netboot: a DHCP answer could not be sent", "to", to, "error", err)
	}
}

// saveLeases writes the lease file. A full disk does not keep machines from booting: it is said, loudly.
func (s *Server) saveLeases() {
	if err := s.leaseFile.save(); err != nil {
		s.log.Error("netboot: leases are not saved and would be forgotten on a restart", "error", err)
	}
}

// destination is where an answer goes (RFC 2131, 4.1): to the relay, to the address that the client has, else to all.
// A client that has no address yet hears only broadcasts, unless the server could enter it into its ARP table.
func destination(request, reply *dhcpv4.DHCPv4, _ net.Addr) netip.AddrPort {
	broadcast := netip.AddrPortFrom(netip.AddrFrom4([4]byte{255, 255, 255, 255}), dhcpClientPort)
	if relay := fromIP(request.GatewayIPAddr); relay.IsValid() {
		return netip.AddrPortFrom(relay, dhcpServerPort)
	}
	if ip := fromIP(request.ClientIPAddr); ip.IsValid() && reply.MessageType() != dhcpv4.MessageTypeNak {
		return netip.AddrPortFrom(ip, dhcpClientPort)
	}
	return broadcast
}

// answer is what to reply to a request, nil for nothing. It is the whole of the protocol (RFC 2131, 4.3).
func (s *Server) answer(request *dhcpv4.DHCPv4, now time.Time) *dhcpv4.DHCPv4 {
	client, ok := clientKey(request)
	if !ok || request.OpCode != dhcpv4.OpcodeBootRequest {
		return nil
	}
	if relay := fromIP(request.GatewayIPAddr); relay.IsValid() && !s.cfg.DHCP.Subnet.Contains(relay) {
		s.log.Warn("netboot: a relay asks for a subnet that is not served", "relay", relay, "subnet", s.cfg.DHCP.Subnet)
		return nil
	}
	switch request.MessageType() {
	case dhcpv4.MessageTypeDiscover:
		return s.discover(client, request, now)
	case dhcpv4.MessageTypeRequest:
		return s.request(client, request, now)
	case dhcpv4.MessageTypeInform:
		ip := fromIP(request.ClientIPAddr)
		s.dhcpEvent(DHCPInform, request, ip, "")
		if !s.cfg.DHCP.Subnet.Contains(ip) {
			return nil
		}
		return s.reply(dhcpv4.MessageTypeAck, request, ip)
	case dhcpv4.MessageTypeRelease:
		s.giveBack(DHCPRelease, client, request, fromIP(request.ClientIPAddr), now)
	case dhcpv4.MessageTypeDecline:
		s.giveBack(DHCPDecline, client, request, fromIP(request.RequestedIPAddress()), now)
	}
	return nil
}

func (s *Server) discover(client string, request *dhcpv4.DHCPv4, now time.Time) *dhcpv4.DHCPv4 {
	kind := kindOf(request)
	s.dhcpEvent(DHCPDiscover, request, netip.Addr{}, kind.String())
	if kind == kindIPXE {
		s.solicitors.expect(macOf(request), now)
	}
	ip, err := s.pool.offer(client, fromIP(request.RequestedIPAddress()), now)
	if err != nil {
		s.dhcpEvent(DHCPExhausted, request, netip.Addr{}, err.Error())
		return nil
	}
	return s.reply(dhcpv4.MessageTypeOffer, request, ip)
}

// request grants or refuses an address. The three states of a client that sends one (RFC 2131, 4.3.2) differ only in
// where the address stands: this server is the LAN's only one, so that an address it does not know is granted where it
// is free, and refused aloud where it is not.
func (s *Server) request(client string, request *dhcpv4.DHCPv4, now time.Time) *dhcpv4.DHCPv4 {
	ip := fromIP(request.RequestedIPAddress())
	if !ip.IsValid() {
		ip = fromIP(request.ClientIPAddr)
	}
	s.dhcpEvent(DHCPRequest, request, ip, kindOf(request).String())
	if server := fromIP(request.ServerIdentifier()); server.IsValid() && server != s.cfg.Addr.Addr() {
		return nil // It has chosen another server. Our offer runs out.
	}
	err := errors.New("the request names no address")
	if ip.IsValid() {
		err = s.pool.confirm(client, s.machines.find(macOf(request), ip).Name, ip, s.cfg.DHCP.LeaseTime, now)
	}
	if err != nil {
		return s.refuse(request, err)
	}
	return s.reply(dhcpv4.MessageTypeAck, request, ip)
}

// giveBack takes back an address that the client releases or declines. Neither is answered.
func (s *Server) giveBack(kind Kind, client string, request *dhcpv4.DHCPv4, ip netip.Addr, now time.Time) {
	if server := fromIP(request.ServerIdentifier()); server.IsValid() && server != s.cfg.Addr.Addr() {
		return
	}
	take, detail := s.pool.release, ""
	if kind == DHCPDecline {
		take = s.pool.decline
		detail = fmt.Sprintf("somebody else uses %s; it is not given out for %s", ip, quarantineTime)
	}
	if !take(client, ip, now) {
		detail = fmt.Sprintf("%s is not this machine's: ignored", ip)
	}
	s.dhcpEvent(kind, request, ip, detail)
	s.saveLeases()
}

// dhcpEvent records a message of or to a client.
func (s *Server) dhcpEvent(kind Kind, request *dhcpv4.DHCPv4, ip netip.Addr, detail string) {
	level := slog.LevelInfo
	if kind == DHCPExhausted || kind == DHCPDecline {
		level = slog.LevelWarn
	}
	s.event(level, Event{Kind: kind, Machine: s.machines.find(macOf(request), ip).label(), Client: ip, Detail: detail})
}

func sentKind(t dhcpv4.MessageType) Kind {
	switch t {
	case dhcpv4.MessageTypeOffer:
		return DHCPOffer
	case dhcpv4.MessageTypeNak:
		return DHCPNak
	}
	return DHCPAck
}
