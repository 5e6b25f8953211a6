package ibft

import (
	"fmt"
	"net/netip"
	"strings"
)

// networkd writes the files of systemd.network(5) and systemd.netdev(5), each headed by its name. KeepConfiguration
// keeps the network under the root disk up until the very end.
func (e *exporter) networkd() {
	const dir = "# /etc/systemd/network/10-"
	for i, n := range e.nics() {
		e.wantMAC(&n)
		if i > 0 {
			e.line("")
		}
		e.line("%s%s.network", dir, n.device())
		e.line("[Match]\nMACAddress=%s\nType=ether\n\n[Network]", n.MAC)
		if n.VLAN != 0 {
			e.line("VLAN=%s\nLinkLocalAddressing=no\nKeepConfiguration=yes\n", n.link())
			e.line("%s%s.netdev", dir, n.link())
			e.line("[NetDev]\nName=%s\nKind=vlan\n\n[VLAN]\nId=%d\n", n.link(), n.VLAN)
			e.line("%s%s.network", dir, n.link())
			e.line("[Match]\nName=%s\n\n[Network]", n.link())
		}
		e.networkdAddress(&n)
	}
}

func (e *exporter) networkdAddress(n *NIC) {
	switch n.autoconf() {
	case "dhcp":
		e.line("DHCP=ipv4")
	case "dhcp6":
		e.line("DHCP=ipv6")
	case "auto6":
		e.line("IPv6AcceptRA=yes")
	default:
		e.line("Address=%s/%d", n.IP, n.PrefixLen)
		if n.Gateway.IsValid() {
			e.line("Gateway=%s", n.Gateway)
		}
		for _, a := range n.dns() {
			e.line("DNS=%s", a)
		}
	}
	e.line("KeepConfiguration=yes")
}

// networkManager writes keyfiles (nm-settings-keyfile(5)), each headed by its name. A VLAN finds its parent by
// the Ethernet address.
func (e *exporter) networkManager() {
	for i, n := range e.nics() {
		e.wantMAC(&n)
		if i > 0 {
			e.line("")
		}
		e.line("# /etc/NetworkManager/system-connections/%s.nmconnection", n.link())
		e.line("[connection]\nid=%s", n.link())
		if n.VLAN != 0 {
			e.line("type=vlan\ninterface-name=%s", n.link())
		} else {
			e.line("type=ethernet")
		}
		e.line("\n[ethernet]\nmac-address=%s", strings.ToUpper(n.MAC.String()))
		if n.VLAN != 0 {
			e.line("\n[vlan]\nflags=1\nid=%d", n.VLAN)
		}
		e.networkManagerIP(&n, "ipv4", !n.IP.Is6(), "dhcp")
		e.networkManagerIP(&n, "ipv6", n.IP.Is6(), "dhcp6")
	}
}

// networkManagerIP writes one family's section, disabled if the NIC's address is not of the family.
func (e *exporter) networkManagerIP(n *NIC, section string, used bool, dhcp string) {
	e.line("\n[%s]", section)
	switch how := n.autoconf(); {
	case !used:
		e.line("method=disabled")
	case how == dhcp && section == "ipv6":
		e.line("method=dhcp")
	case how != "none":
		e.line("method=auto")
	default:
		e.line("method=manual")
		address := fmt.Sprintf("%s/%d", n.IP, n.PrefixLen)
		if n.Gateway.Is6() == n.IP.Is6() && n.Gateway.IsValid() {
			address += "," + n.Gateway.String()
		}
		e.line("address1=%s", address)
	}
	if used && n.autoconf() == "none" {
		e.networkManagerDNS(n)
	}
}

func (e *exporter) networkManagerDNS(n *NIC) {
	var dns strings.Builder
	for _, a := range n.dns() {
		if a.Is6() == n.IP.Is6() {
			dns.WriteString(a.String() + ";")
		}
	}
	if dns.Len() > 0 {
		e.line("dns=%s", dns.String())
	}
}

// netplan writes one YAML file. critical keeps the network under the root disk up until the very end.
func (e *exporter) netplan() {
	nics := e.nics()
	e.line("# /etc/netplan/10-ibft.yaml")
	e.line("network:\n  version: 2\n  ethernets:")
	vlans := false
	for _, n := range nics {
		e.wantMAC(&n)
		e.line("    %s:\n      match:\n        macaddress: %q\n      critical: true", n.device(), n.MAC.String())
		if n.VLAN != 0 {
			vlans = true
			continue
		}
		e.netplanAddress(&n)
	}
	if vlans {
		e.line("  vlans:")
	}
	for _, n := range nics {
		if n.VLAN != 0 {
			e.line("    %s:\n      id: %d\n      link: %s\n      critical: true", n.link(), n.VLAN, n.device())
			e.netplanAddress(&n)
		}
	}
}

func (e *exporter) netplanAddress(n *NIC) {
	switch n.autoconf() {
	case "dhcp":
		e.line("      dhcp4: true")
	case "dhcp6":
		e.line("      dhcp6: true")
	case "auto6":
		e.line("      accept-ra: true")
	default:
		e.line("      addresses:\n        - \"%s/%d\"", n.IP, n.PrefixLen)
		if n.Gateway.IsValid() {
			e.line("      routes:\n        - to: default\n          via: %q", n.Gateway.String())
		}
		e.netplanDNS(n.dns())
	}
}

func (e *exporter) netplanDNS(servers []netip.Addr) {
	if len(servers) == 0 {
		return
	}
	e.line("      nameservers:\n        addresses:")
	for _, a := range servers {
		e.line("          - %q", a.String())
	}
}
