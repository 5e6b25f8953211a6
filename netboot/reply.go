package netboot

import (
	"net"
	"net/netip"
	"strings"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

const (
	udpHeaders     = 28  // of an IPv4 packet without options and its UDP datagram
	minMessageSize = 576 // what every client takes (RFC 2131, 2), headers included
	maxMessageSize = 1500
	maxFileField   = 127 // bytes of a boot file name in the BOOTP header (RFC 2131, 2), its NUL aside
)

// reply builds an offer or an acknowledgement of an address.
func (s *Server) reply(t dhcpv4.MessageType, request *dhcpv4.DHCPv4, ip netip.Addr) *dhcpv4.DHCPv4 {
	r := s.blank(t, request)
	if request.MessageType() == dhcpv4.MessageTypeInform {
		r.ClientIPAddr = request.ClientIPAddr // It has its address, and no lease of ours (RFC 2131, 4.3.5).
	} else {
		r.YourIPAddr = netIP(ip)
		r.UpdateOption(dhcpv4.OptIPAddressLeaseTime(s.cfg.DHCP.LeaseTime))
	}
	m := s.machines.find(macOf(request), ip)
	s.addBootFile(r, request, m)
	s.addOptions(r, request, m)
	return r
}

// refuse builds a NAK. It goes to all, since the client's address is wrong; a relay is told to broadcast it too
// (RFC 2131, 4.3.2).
func (s *Server) refuse(request *dhcpv4.DHCPv4, reason error) *dhcpv4.DHCPv4 {
	r := s.blank(dhcpv4.MessageTypeNak, request)
	r.SetBroadcast()
	text := reason.Error()
	r.UpdateOption(dhcpv4.OptMessage(text[:min(len(text), 255)]))
	return r
}

// blank is an answer with what every answer has. Relay information goes back as it came (RFC 3046, 2.2), and so does
// the client identifier (RFC 6842).
func (s *Server) blank(t dhcpv4.MessageType, request *dhcpv4.DHCPv4) *dhcpv4.DHCPv4 {
	r := &dhcpv4.DHCPv4{
		OpCode: dhcpv4.OpcodeBootReply, HWType: request.HWType, TransactionID: request.TransactionID,
		Flags: request.Flags, GatewayIPAddr: request.GatewayIPAddr, ClientHWAddr: request.ClientHWAddr,
		Options: make(dhcpv4.Options),
	}
	if t == dhcpv4.MessageTypeAck {
		r.ClientIPAddr = request.ClientIPAddr
	}
	r.UpdateOption(dhcpv4.OptMessageType(t))
	r.UpdateOption(dhcpv4.OptServerIdentifier(netIP(s.cfg.Addr.Addr())))
	for _, code := range []dhcpv4.OptionCode{dhcpv4.OptionClientIdentifier, dhcpv4.OptionRelayAgentInformation} {
		if v := request.Options.Get(code); v != nil {
			r.UpdateOption(dhcpv4.OptGeneric(code, v))
		}
	}
	return r
}

// addBootFile tells firmware what to load: iPXE its script, other firmware the iPXE binary made for it.
func (s *Server) addBootFile(r, request *dhcpv4.DHCPv4, m Machine) {
	kind := kindOf(request)
	var file string
	switch kind {
	case kindPXE, kindHTTPBoot:
		name, err := s.loaderFor(archOf(request))
		if err != nil {
			s.log.Warn("netboot: this machine gets an address but nothing to boot", "machine", m.label(), "reason", err)
			return
		}
		file = "loader/" + name
		if kind == kindHTTPBoot {
			file = s.httpBase() + "/" + file
			// UEFI takes an offer for HTTP boot only from a server that says so (UEFI 2.10, 24.7.3.1).
			r.UpdateOption(dhcpv4.OptClassIdentifier("HTTPClient"))
		}
	case kindIPXE:
		if !m.boots() {
			s.log.Warn("netboot: this machine gets an address but nothing to boot", "machine", m.label(),
				"reason", "it is not among machines, and boot.kernel is not configured")
			return
		}
		file = s.httpBase() + "/" + machinePath(m.MAC, "boot.ipxe")
	default:
		return
	}
	r.ServerIPAddr = netIP(s.cfg.Addr.Addr())
	if len(file) <= maxFileField {
		r.BootFileName = file
	}
	if len(file) > maxFileField || request.IsOptionRequested(dhcpv4.OptionBootfileName) {
		r.UpdateOption(dhcpv4.OptBootFileName(file))
	}
}

// addOptions adds what the client has asked for, the most needed first, as far as its message size allows.
func (s *Server) addOptions(r, request *dhcpv4.DHCPv4, m Machine) {
	limit := messageLimit(request)
	for _, o := range s.options(kindOf(request), m) {
		if !request.IsOptionRequested(o.Code) {
			continue
		}
		r.UpdateOption(o)
		if len(r.ToBytes()) > limit {
			r.DeleteOption(o.Code)
			s.log.Warn("netboot: a DHCP answer left an option out, the client takes no larger message",
				"machine", m.label(), "option", o.Code.Code(), "limit", limit)
		}
	}
}

// messageLimit is how many bytes of DHCP the client takes (RFC 2132, 9.10), never more than fit into one frame.
func messageLimit(request *dhcpv4.DHCPv4) int {
	size, err := request.MaxMessageSize()
	if err != nil {
		size = 0
	}
	return min(max(int(size), minMessageSize), maxMessageSize) - udpHeaders
}

// options are all options that a client of this kind may have, the most needed first.
func (s *Server) options(kind clientKind, m Machine) []dhcpv4.Option {
	d := s.cfg.DHCP
	list := []dhcpv4.Option{dhcpv4.OptSubnetMask(net.CIDRMask(d.Subnet.Bits(), 32))}
	if d.Router.IsValid() {
		list = append(list, dhcpv4.OptRouter(netIP(d.Router)))
	}
	list = append(list, s.diskOptions(kind, m)...)
	if len(d.DNS) > 0 {
		var servers []net.IP
		for _, a := range d.DNS {
			servers = append(servers, netIP(a))
		}
		list = append(list, dhcpv4.OptDNS(servers...))
	}
	if m.Name != "" {
		list = append(list, dhcpv4.OptHostName(m.Name))
	}
	if d.Domain != "" {
		list = append(list, dhcpv4.OptDomainName(d.Domain))
	}
	return append(list, dhcpv4.OptBroadcastAddress(netIP(lastAddr(d.Subnet))))
}

// diskOptions say where the machine's disk is. iPXE is not told: it would attach the disk by itself and publish a table
// of its own. Our init gets all root paths, separated by spaces (a repeated option would be joined without any,
// RFC 3396); other systems know of one only.
func (s *Server) diskOptions(kind clientKind, m Machine) []dhcpv4.Option {
	if kind == kindIPXE {
		wait := make(dhcpv4.Options)
		wait.Update(dhcpv4.OptGeneric(ipxeNoPXEDHCP, []byte{1}))
		return []dhcpv4.Option{{Code: optionIPXE, Value: wait}}
	}
	var list []dhcpv4.Option
	if len(m.RootPaths) > 0 {
		root := m.RootPaths[0]
		if kind == kindInit {
			root = strings.Join(m.RootPaths, " ")
		}
		list = append(list, dhcpv4.OptRootPath(root))
	}
	if m.InitiatorName != "" {
		list = append(list, dhcpv4.OptGeneric(optionInitiatorName, []byte(m.InitiatorName)))
	}
	if kind == kindInit && s.cfg.DHCP.Secrets && m.hasSecrets() {
		list = append(list, dhcpv4.Option{Code: optionIPXE, Value: chapOptions(m)})
	}
	return list
}

// chapOptions are a machine's CHAP names and secrets in iPXE's encapsulation.
func chapOptions(m Machine) dhcpv4.Options {
	o := make(dhcpv4.Options)
	for _, v := range []struct {
		code  dhcpv4.OptionCode
		value string
	}{
		{ipxeUsername, m.CHAPName},
		{ipxePassword, m.CHAPSecret.Reveal()},
		{ipxeReverseUsername, m.ReverseCHAPName},
		{ipxeReversePassword, m.ReverseCHAPSecret.Reveal()},
	} {
		if v.value != "" {
			o.Update(dhcpv4.OptGeneric(v.code, []byte(v.value)))
		}
	}
	return o
}
