package lan

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/link/ethernet"
	"gvisor.dev/gvisor/pkg/tcpip/network/arp"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
	"gvisor.dev/gvisor/pkg/waiter"
)

// cardID is the number of a host's only network card.
const cardID = tcpip.NICID(1)

// HostConfig describes a host on a LAN.
type HostConfig struct {
	// Name is what logs and errors call the host.
	Name string
	// MAC is its Ethernet address; empty means one from the locally administered range that no other host of the LAN has.
	MAC net.HardwareAddr
	// Addrs are its addresses with the network each is on: at least one. The first IPv4 and the first IPv6 address are the
	// sources of what it sends from unbound sockets. An IPv6 link-local address comes by itself.
	Addrs []netip.Prefix
}

// Host is a station with its own TCP/IP stack in this process. It reaches the networks of its addresses only: there is no
// router. Its methods may be called from several goroutines; it lives until the LAN is closed.
type Host struct {
	name   string
	mac    mac
	addrs  []netip.Prefix
	stack  *stack.Stack
	sw     *fabric
	link   *link
	wg     sync.WaitGroup
	closed atomic.Bool
}

// Host adds a host to the LAN.
func (l *LAN) Host(c HostConfig) (*Host, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil, fmt.Errorf("lan: host %q: %w", c.Name, net.ErrClosed)
	}
	addr, err := l.hostMAC(c.MAC)
	if err == nil {
		err = checkAddrs(c.Addrs)
	}
	if err != nil {
		return nil, fmt.Errorf("lan: host %q: %w", c.Name, err)
	}
	h := &Host{name: c.Name, mac: addr, addrs: slices.Clone(c.Addrs), sw: l.sw}
	if err := h.start(l.mtu); err != nil {
		return nil, fmt.Errorf("lan: host %q: %w", c.Name, err)
	}
	l.hosts = append(l.hosts, h)
	l.log.Debug("lan: host added", "host", h.name, "mac", h.mac, "addrs", h.addrs)
	return h, nil
}

// hostMAC checks the wanted Ethernet address, or makes one up.
func (l *LAN) hostMAC(want net.HardwareAddr) (mac, error) {
	if len(want) == 0 {
		n := len(l.hosts) + 1
		return mac{0x02, 'l', 'u', 'n', byte(n >> 8), byte(n)}, nil
	}
	if len(want) != len(mac{}) {
		return mac{}, fmt.Errorf("bad Ethernet address %q: want 6 bytes", want)
	}
	m := mac(want)
	if m.group() || m == (mac{}) {
		return m, fmt.Errorf("the Ethernet address %v is not one station's", m)
	}
	if slices.ContainsFunc(l.hosts, func(h *Host) bool { return h.mac == m }) {
		return m, fmt.Errorf("the Ethernet address %v is another host's already", m)
	}
	return m, nil
}

func checkAddrs(addrs []netip.Prefix) error {
	if len(addrs) == 0 {
		return errors.New("no address: give at least one, as 192.0.2.1/24")
	}
	for _, p := range addrs {
		if a := p.Addr(); !p.IsValid() || a.Is4In6() || a.Zone() != "" || a.IsUnspecified() || a.IsMulticast() {
			return fmt.Errorf("address %v: want one host's address with its network, as 192.0.2.1/24", p)
		}
	}
	return nil
}

// start makes the stack and its card, and plugs it in.
func (h *Host) start(mtu int) error {
	h.stack = stack.New(stack.Options{
		NetworkProtocols: []stack.NetworkProtocolFactory{
			arp.NewProtocol, ipv4.NewProtocol, ipv6.NewProtocolWithOptions(ipv6.Options{AutoGenLinkLocal: true}),
		},
		TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocol, udp.NewProtocol},
		HandleLocal:        true,
	})
	h.link = &link{sw: h.sw, port: h.sw.plug(), mtu: uint32(mtu) + header.EthernetMinimumSize, addr: h.mac}
	h.wg.Go(h.link.receive)
	err := h.configure()
	if err != nil {
		h.unplug()
		h.close()
	}
	return err
}

func (h *Host) configure() error {
	if err := tune(h.stack); err != nil {
		return err
	}
	if err := h.stack.CreateNIC(cardID, ethernet.New(h.link)); err != nil {
		return fmt.Errorf("network card: %v", err)
	}
	linkLocal, err := tcpip.NewSubnet(header.IPv6LinkLocalPrefix.Address, tcpip.MaskFromBytes(net.CIDRMask(64, 128)))
	if err != nil {
		return err
	}
	routes := []tcpip.Route{{Destination: linkLocal, NIC: cardID}}
	for _, p := range h.addrs {
		addr := tcpip.AddressWithPrefix{Address: tcpip.AddrFromSlice(p.Addr().AsSlice()), PrefixLen: p.Bits()}
		proto := ipv4.ProtocolNumber
		if p.Addr().Is6() {
			proto = ipv6.ProtocolNumber
		}
		if err := h.stack.AddProtocolAddress(cardID, tcpip.ProtocolAddress{Protocol: proto, AddressWithPrefix: addr}, stack.AddressProperties{}); err != nil {
			return fmt.Errorf("address %v: %v", p, err)
		}
		routes = append(routes, tcpip.Route{Destination: addr.Subnet(), NIC: cardID})
	}
	h.stack.SetRouteTable(routes)
	return nil
}

// unplug takes the host off the LAN; its sockets' errors are net.ErrClosed from then on.
func (h *Host) unplug() {
	h.closed.Store(true)
	h.sw.unplug(h.link.port)
}

// close ends an unplugged host with all its sockets.
func (h *Host) close() {
	h.wg.Wait()
	h.stack.Destroy()
}

// Addr is the host's first address.
func (h *Host) Addr() netip.Addr { return h.addrs[0].Addr() }

// Prefixes are the host's addresses, each with its network, as configured.
func (h *Host) Prefixes() []netip.Prefix { return slices.Clone(h.addrs) }

// MAC is the host's Ethernet address.
func (h *Host) MAC() net.HardwareAddr { return h.mac[:] }

// Listen is as net.ListenConfig's, on this host: network is tcp, tcp4 or tcp6, address is "host:port" with a numeric or
// empty host. The context is for the call only. The LAN's end closes the listener; whichever way it is closed, Accept then
// returns net.ErrClosed.
func (h *Host) Listen(ctx context.Context, network, address string) (net.Listener, error) {
	addr, proto, err := h.resolve(ctx, "tcp", network, address)
	if err != nil {
		return nil, h.opError("listen", network, address, err)
	}
	ln, err := gonet.ListenTCP(h.stack, addr, proto)
	if err != nil {
		return nil, h.opError("listen", network, address, err)
	}
	return &listener{TCPListener: ln, host: h}, nil
}

// ListenPacket is as net.ListenConfig's, on this host: network is udp, udp4 or udp6. A socket without a host in its
// address receives what is sent to 255.255.255.255 and may send there, as a DHCP server does; its packets carry the host's
// first address as their source.
func (h *Host) ListenPacket(ctx context.Context, network, address string) (net.PacketConn, error) {
	addr, proto, err := h.resolve(ctx, "udp", network, address)
	if err != nil {
		return nil, h.opError("listen", network, address, err)
	}
	var wq waiter.Queue
	ep, terr := h.stack.NewEndpoint(udp.ProtocolNumber, proto, &wq)
	if terr != nil {
		return nil, h.opError("listen", network, address, errors.New(terr.String()))
	}
	ep.SocketOptions().SetBroadcast(true)
	addr.NIC = cardID // The way for addresses that have no route: limited broadcast and multicast.
	if terr := ep.Bind(addr); terr != nil {
		ep.Close()
		return nil, h.opError("listen", network, address, errors.New(terr.String()))
	}
	return &packetConn{UDPConn: gonet.NewUDPConn(&wq, ep), host: h}, nil
}

// DialContext is as net.Dialer's, from this host: network is tcp or udp, with or without 4 or 6, and address is
// "host:port" with a numeric host.
func (h *Host) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	transport := "tcp"
	if len(network) >= 3 && network[:3] == "udp" {
		transport = "udp"
	}
	addr, proto, err := h.resolve(ctx, transport, network, address)
	if err == nil && addr.Addr.Len() == 0 {
		err = errors.New("no host in the address")
	}
	if err != nil {
		return nil, h.opError("dial", network, address, err)
	}
	if transport == "udp" {
		c, err := gonet.DialUDP(h.stack, nil, &addr, proto)
		if err != nil {
			return nil, h.opError("dial", network, address, err)
		}
		return &packetConn{UDPConn: c, host: h}, nil
	}
	c, err := gonet.DialContextTCP(ctx, h.stack, addr, proto)
	if err != nil {
		return nil, h.opError("dial", network, address, err)
	}
	return &conn{TCPConn: c, host: h}, nil
}

func (h *Host) opError(op, network, address string, err error) error {
	return fmt.Errorf("lan: host %q: %s %s %s: %w", h.name, op, network, address, err)
}
