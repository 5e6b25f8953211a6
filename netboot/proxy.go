package netboot

import (
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

// proxyAnswerAt returns how a proxy DHCP server answers at a port: an offer without an address to who looks for one,
// which firmware puts together with another server's, and an acknowledgement to who then asks at proxyPort.
func (s *Server) proxyAnswerAt(port uint16) func(*dhcpv4.DHCPv4, time.Time) *dhcpv4.DHCPv4 {
	return func(request *dhcpv4.DHCPv4, now time.Time) *dhcpv4.DHCPv4 {
		kind := kindOf(request)
		switch {
		case request.OpCode != dhcpv4.OpcodeBootRequest || kind == kindSystem || kind == kindInit:
			return nil
		case port != proxyPort && request.MessageType() == dhcpv4.MessageTypeDiscover:
			s.dhcpEvent(DHCPDiscover, request, netip.Addr{}, kind.String())
			if kind == kindIPXE {
				s.solicitors.expect(macOf(request), now)
			}
			return s.proxyReply(dhcpv4.MessageTypeOffer, request)
		case port == proxyPort && (request.MessageType() == dhcpv4.MessageTypeRequest || request.MessageType() == dhcpv4.MessageTypeInform):
			s.dhcpEvent(DHCPRequest, request, fromIP(request.ClientIPAddr), kind.String())
			return s.proxyReply(dhcpv4.MessageTypeAck, request)
		}
		return nil
	}
}

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
