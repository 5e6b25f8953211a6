package ibft

import (
	"errors"
	"fmt"
	"strings"
)

// dhcpNames are the options that say where the disk is, by number and by the name that ISC's dhclient gives them.
// 203 is iPXE's for the initiator's name, as are those under 175; 59 is DHCPv6's boot file URL (RFC 5970, 3.1).
func dhcpNames() map[string]string {
	return map[string]string{
		"1": "subnet-mask", "3": "routers", "6": "domain-name-servers", "12": "host-name", "17": "root-path",
		"54": "dhcp-server-identifier", "59": "dhcp6.bootfile-url", "203": "initiator-iqn",
		"175.190": "username", "175.191": "password", "175.192": "reverse-username", "175.193": "reverse-password",
	}
}

// parseDHCP reads a lease: a line for each option, "17 = iscsi:…" or as in a file of ISC's dhclient,
// "option root-path "iscsi:…";". Of several leases the last one counts. Besides options there are fixed-address
// and hardware-address.
func parseDHCP(text string) (Settings, error) {
	var m importer
	lines(text, func(line string) {
		if strings.HasPrefix(line, "lease") && strings.HasSuffix(line, "{") {
			m = importer{err: m.err}
			return
		}
		m.dhcp(splitOption(line))
	})
	if m.NIC.IP.IsValid() || m.NIC.DHCP.IsValid() {
		m.NIC.Origin = OriginDHCP
	}
	if len(m.RootPaths) == 0 {
		m.fail("root-path (17)", errors.New("the lease has none"))
	}
	return m.done()
}

// splitOption returns the name and the value of "17 = value", "17 value" or "option name "value";".
func splitOption(line string) (name, value string) {
	name = strings.TrimPrefix(strings.TrimSuffix(line, ";"), "option ")
	if i := strings.IndexAny(name, " \t="); i >= 0 {
		name, value = name[:i], strings.TrimLeft(name[i:], " \t=")
	}
	if inner, ok := strings.CutPrefix(value, `"`); ok {
		value = strings.TrimSuffix(inner, `"`)
	}
	if known, ok := dhcpNames()[name]; ok {
		name = known
	}
	return name, value
}

func (m *importer) dhcp(key, value string) {
	n := &m.NIC
	first, _, _ := strings.Cut(value, ",")
	switch key {
	case "fixed-address", "fixed-address6":
		m.addr(key, value, &n.IP)
	case "hardware-address":
		m.mac(key, value)
	case "subnet-mask":
		m.prefix(key, value)
	case "routers":
		m.addr(key, first, &n.Gateway)
	case "domain-name-servers", "dhcp6.name-servers":
		for s := range strings.SplitSeq(value, ",") {
			m.dns(key, strings.TrimSpace(s))
		}
	case "host-name":
		m.Hostname = value
	case "dhcp-server-identifier":
		m.addr(key, value, &n.DHCP)
	case "root-path", "dhcp6.bootfile-url":
		if !strings.HasPrefix(value, "iscsi:") {
			m.fail(key, fmt.Errorf("%q is no iSCSI root path", value))
			return
		}
		m.sanboot(strings.Fields(value))
	case "initiator-iqn":
		m.InitiatorName = value
	case "username":
		m.CHAPName = value
	case "password":
		m.CHAPSecret = Secret(value)
	case "reverse-username":
		m.ReverseCHAPName = value
	case "reverse-password":
		m.ReverseCHAPSecret = Secret(value)
	}
}
