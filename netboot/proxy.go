package netboot

import (
	"net"
	"net/netip"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// proxyPort is where firmware asks a proxy DHCP server again, once it has its address (PXE 2.1, 2.2.4).
const proxyPort = 4011

// Options of PXE in option 43.
const (
	pxeDiscoveryControl = dhcpv4.GenericOptionCode(6)
	useBootFile         = 1 << 3 // load the file that this answer names; look for no boot server
)

// proxyOffer answers who looks for an address: with an offer that has none, which firmware puts together with another
// server's.
func (s *Server) proxyOffer(request *dhcpv4.DHCPv4, now time.Time) *dhcpv4.DHCPv4 {
	kind := kindOf(request)
	if !bootsByProxy(request, kind) || request.MessageType() != dhcpv4.MessageTypeDiscover {
		return nil
	}
	s.dhcpEvent(DHCPDiscover, request, netip.Addr{}, kind.String())
	if kind == kindIPXE {
		s.solicitors.expect(macOf(request), now)
	}
	return s.proxyReply(dhcpv4.MessageTypeOffer, request)
}

// proxyAck answers who has an address and asks again, at proxyPort.
func (s *Server) proxyAck(request *dhcpv4.DHCPv4, _ time.Time) *dhcpv4.DHCPv4 {
	kind, asked := kindOf(request), request.MessageType()
	if !bootsByProxy(request, kind) || asked != dhcpv4.MessageTypeRequest && asked != dhcpv4.MessageTypeInform {
		return nil
	}
	s.dhcpEvent(DHCPRequest, request, fromIP(request.ClientIPAddr), kind.String())
	return s.proxyReply(dhcpv4.MessageTypeAck, request)
}

// bootsByProxy says that a request is firmware's: our init and a running system ask the other server.
func bootsByProxy(request *dhcpv4.DHCPv4, kind clientKind) bool {
	return request.OpCode == dhcpv4.OpcodeBootRequest && kind != kindSystem && kind != kindInit
}

// toAsker is where an answer from proxyPort goes.
func toAsker(_, _ *dhcpv4.DHCPv4, from net.Addr) netip.AddrPort { return addrPort(from) }

// proxyReply tells firmware what to load; nil if there is nothing.
func (s *Server) proxyReply(t dhcpv4.MessageType, request *dhcpv4.DHCPv4) *dhcpv4.DHCPv4 {
	r := s.blank(t, request)
	r.UpdateOption(dhcpv4.OptClassIdentifier("PXEClient"))
	s.addBootFile(r, request, s.machines.find(macOf(request), fromIP(request.ClientIPAddr)))
	if r.BootFileName == "" && !r.Options.Has(dhcpv4.OptionBootfileName) {
		return nil
	}
	if id := request.Options.Get(dhcpv4.OptionClientMachineIdentifier); id != nil {
		r.UpdateOption(dhcpv4.OptGeneric(dhcpv4.OptionClientMachineIdentifier, id))
	}
	control := make(dhcpv4.Options)
	control.Update(dhcpv4.OptGeneric(pxeDiscoveryControl, []byte{useBootFile}))
	r.UpdateOption(dhcpv4.Option{Code: dhcpv4.OptionVendorSpecificInformation, Value: control})
	return r
}
