package ibft

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// dhcpNames returns what is known by number or by name of what a lease says. Names are those that ISC's dhclient,
// systemd-networkd, NetworkManager, dhcpcd, udhcpc and klibc's ipconfig write, in small letters and with underscores.
// Option 203 is iPXE's for the initiator's name, 175 encapsulates more of iPXE's, which some servers put into 43
// (vendor specific information) instead; 23 and 59 are DHCPv6's (RFC 3646, 3; RFC 5970, 3.1).
func dhcpNames() map[string]string {
	names := make(map[string]string)
	for what, aliases := range map[string]string{
		"address":          "fixed_address fixed_address6 ip_address ip6_address ipv4addr ipv6addr ip iaaddr",
		"mac":              "hardware_address hw_address hwaddr",
		"mask":             "1 subnet_mask netmask ipv4netmask prefix_len prefix_length prefixlen ip6_prefixlen",
		"gateway":          "3 routers router ipv4gateway",
		"dns":              "6 23 domain_name_servers name_servers ipv4dns0 ipv4dns1",
		"hostname":         "12 host_name",
		"root_path":        "17 rootpath",
		"boot_url":         "59 bootfile_url",
		"server":           "54 dhcp_server_identifier server_address serverid dhcp",
		"initiator":        "203 initiator_iqn unknown_203 option_203 opt203",
		"vlan":             "vlan_id",
		"username":         "175.190 43.190",
		"password":         "175.191 43.191",
		"reverse_username": "175.192 43.192",
		"reverse_password": "175.193 43.193",
		"encapsulated":     "43 175 vendor_encapsulated_options vendor_specific unknown_175 option_175 opt43 opt175 ipxe_encap_opts",
	} {
		names[what] = what
		for alias := range strings.FieldsSeq(aliases) {
			names[alias] = what
		}
	}
	return names
}

// parseDHCP reads a lease, of DHCPv4 or DHCPv6: a JSON object, or a line for each option, in any of the forms that
// splitOption and dhcpNames know. Of several leases the last one counts.
func parseDHCP(text string) (Settings, error) {
	l := lease{names: dhcpNames()}
	if s := strings.TrimSpace(text); strings.HasPrefix(s, "{") || strings.HasPrefix(s, "[") {
		l.json(s)
	} else {
		lines(text, func(line string) {
			if strings.HasPrefix(line, "lease") && strings.HasSuffix(line, "{") {
				l.importer = importer{err: l.err}
				return
			}
			l.option(splitOption(line))
		})
	}
	n := &l.NIC
	if n.IP.IsValid() || n.DHCP.IsValid() {
		n.Origin = OriginDHCP
	}
	if n.IP.Is6() && n.PrefixLen == 0 {
		n.PrefixLen = 64 // which routers tell, not DHCPv6: RFC 4291, 2.5.4 makes it this long
	}
	if len(l.RootPaths) == 0 {
		l.fail("root path (option 17, or 59 of DHCPv6)", errors.New("the lease has none"))
	}
	return l.done()
}

// lease gathers what a lease says.
type lease struct {
	importer
	names map[string]string
}

// json reads the options of an object, or of the last object in a list.
func (l *lease) json(text string) {
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		l.fail("JSON", errors.New("not to be understood (the text itself may hold secrets, and is not shown)"))
		return
	}
	if list, ok := v.([]any); ok && len(list) > 0 {
		v = list[len(list)-1]
	}
	object, ok := v.(map[string]any)
	if !ok {
		l.fail("JSON", errors.New("no object, which a lease is"))
		return
	}
	l.object("", object)
}

// object reads options, in the order of their names. Those within another object bear its name if it is an option's:
// {"175": {"190": "user"}}, but {"options": {"17": "iscsi:..."}}.
func (l *lease) object(within string, object map[string]any) {
	for _, key := range slices.Sorted(maps.Keys(object)) {
		name := within + key
		switch v := object[key].(type) {
		case map[string]any:
			if l.names[dhcpName(key)] == "" {
				l.object("", v)
			} else {
				l.object(name+".", v)
			}
		case []any:
			var words []string
			for _, e := range v {
				words = append(words, fmt.Sprint(e))
			}
			l.option(name, strings.Join(words, " "))
		case nil:
		default:
			l.option(name, fmt.Sprint(v))
		}
	}
}

// dhcpName returns a name as dhcpNames has it.
func dhcpName(s string) string {
	s = strings.ReplaceAll(strings.ToLower(s), "-", "_")
	for _, prefix := range []string{"dhcp4.", "dhcp6.", "new_", "dhcp4_", "dhcp6_"} {
		s = strings.TrimPrefix(s, prefix)
	}
	return s
}

// splitOption returns the name and the value of "17 = value", "17 value", "ROOT_PATH='value'", "option name "value";",
// or of nmcli's "DHCP4.OPTION[3]: name = value".
func splitOption(line string) (name, value string) {
	if strings.HasPrefix(line, "DHCP") {
		if _, rest, ok := strings.Cut(line, "]:"); ok {
			line = strings.TrimSpace(rest)
		}
	}
	name = strings.TrimPrefix(strings.TrimSuffix(strings.TrimSuffix(line, ";"), " {"), "option ")
	if i := strings.IndexAny(name, " \t=:"); i >= 0 {
		name, value = name[:i], strings.TrimLeft(name[i:], " \t=:")
	}
	for _, quote := range []string{`"`, "'"} {
		if inner, ok := strings.CutPrefix(value, quote); ok {
			value = strings.TrimSuffix(inner, quote)
		}
	}
	return name, value
}

// option takes one option. What has nothing to do with the disk is passed over.
func (l *lease) option(key, value string) {
	n := &l.NIC
	words := strings.FieldsFunc(value, func(r rune) bool { return r == ' ' || r == ',' })
	if len(words) == 0 {
		return
	}
	switch name := l.names[dhcpName(key)]; name {
	case "address":
		address, prefix, _ := strings.Cut(words[0], "/")
		l.addr(key, address, &n.IP)
		l.prefix(key, prefix)
	case "mac":
		l.mac(key, words[len(words)-1]) // after its kind, as the case may be
	case "mask":
		l.prefix(key, words[0])
	case "gateway":
		l.addr(key, words[0], &n.Gateway)
	case "dns":
		l.servers(key, words)
	case "server":
		l.addr(key, words[0], &n.DHCP)
	case "vlan":
		l.vlan(key, words[0])
	case "root_path":
		if !strings.HasPrefix(words[0], "iscsi:") {
			l.fail(key, fmt.Errorf("%q is no iSCSI root path", words[0]))
		}
		l.sanboot(words)
	case "boot_url": // or another file to boot; and in DHCPv4 a number (RFC 2132, 9.12)
		l.sanboot(words)
	case "encapsulated":
		l.encapsulated(key, value)
	case "initiator":
		l.InitiatorName = textOption(value)
	default:
		l.said(name, value)
	}
}

// said takes what is text.
func (l *lease) said(name, value string) {
	switch name {
	case "hostname":
		l.Hostname = value
	case "username":
		l.CHAPName = value
	case "password":
		l.CHAPSecret = Secret(value)
	case "reverse_username":
		l.ReverseCHAPName = value
	case "reverse_password":
		l.ReverseCHAPSecret = Secret(value)
	}
}

// servers takes DNS servers. 23 is a number in DHCPv4 (RFC 2132, 4.3: a time to live).
func (l *lease) servers(key string, words []string) {
	if key == "23" && !strings.Contains(words[0], ":") {
		return
	}
	for _, w := range words {
		l.dns(key, w)
	}
}

// encapsulated takes options within an option, given in hexadecimal: number, length, value (RFC 2132, 8.4).
func (l *lease) encapsulated(key, value string) {
	b, ok := hexOption(value)
	for ok && len(b) >= 2 && b[0] != 0xff {
		if b[0] == 0 { // padding
			b = b[1:]
			continue
		}
		if int(b[1]) > len(b)-2 {
			l.fail(key, errors.New("an option in it is longer than it"))
			return
		}
		l.said(l.names[fmt.Sprintf("175.%d", b[0])], string(b[2:2+b[1]]))
		b = b[2+b[1]:]
	}
}

// textOption returns an iSCSI name, which a program that does not know the option may have written in hexadecimal.
func textOption(value string) string {
	if b, ok := hexOption(value); ok && len(b) > 4 && b[3] == '.' {
		return string(b)
	}
	return value
}

// hexOption reads "be:4:75:73:65:72", as ISC's dhclient writes it, or the same without colons.
func hexOption(s string) ([]byte, bool) {
	if strings.Contains(s, ":") {
		var digits strings.Builder
		for pair := range strings.SplitSeq(s, ":") {
			if len(pair) == 1 {
				pair = "0" + pair
			}
			if len(pair) != 2 {
				return nil, false
			}
			digits.WriteString(pair)
		}
		s = digits.String()
	}
	b, err := hex.DecodeString(s)
	return b, err == nil
}
