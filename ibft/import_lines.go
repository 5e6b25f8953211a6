package ibft

import (
	"errors"
	"fmt"
	"strings"
)

// lines calls f for each line that is neither empty nor a comment.
func lines(text string, f func(line string)) {
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			f(line)
		}
	}
}

// parseDebian reads the shell variables of /etc/iscsi/iscsi.initramfs. What a shell would have to work out is refused.
func parseDebian(text string) (Settings, error) {
	var m importer
	p := RootPath{Port: DefaultPort}
	var c credentials
	lines(text, func(line string) {
		key, value, ok := strings.Cut(line, "=")
		if !ok {
			m.fail(line, errors.New("not of the form NAME=value"))
			return
		}
		value, err := shellUnquote(value)
		m.fail(key, err)
		switch key = strings.ToUpper(key); key {
		case "ISCSI_INITIATOR":
			m.InitiatorName = value
		case "ISCSI_TARGET_NAME":
			p.Target = value
		case "ISCSI_TARGET_IP":
			p.Server = strings.Trim(value, "[]")
		case "ISCSI_TARGET_PORT":
			p.Port, err = parsePort(value)
			m.fail(key, err)
		case "ISCSI_USERNAME":
			c.name = value
		case "ISCSI_PASSWORD":
			c.secret = Secret(value)
		case "ISCSI_IN_USERNAME":
			c.reverseName = value
		case "ISCSI_IN_PASSWORD":
			c.reverseSecret = Secret(value)
		}
	})
	if p.Target == "" || p.Server == "" {
		m.fail("ISCSI_TARGET_NAME, ISCSI_TARGET_IP", errors.New("both are wanted"))
	}
	m.credentials("ISCSI_USERNAME", c)
	m.path(p)
	return m.done()
}

// shellUnquote undoes the quoting of one word.
func shellUnquote(s string) (string, error) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch c := s[i]; c {
		case '\'', '"':
			end := strings.IndexByte(s[i+1:], c)
			if end < 0 {
				return "", fmt.Errorf("the quote %c is not closed", c)
			}
			inner := s[i+1 : i+1+end]
			if c == '"' && strings.ContainsAny(inner, "$`\\") {
				return "", errors.New("holds what only a shell works out")
			}
			b.WriteString(inner)
			i += end + 1
		case '\\':
			if i++; i < len(s) {
				b.WriteByte(s[i])
			}
		case '$', '`', ';', '&', '|', '<', '>', '(', ')':
			return "", errors.New("holds what only a shell works out")
		case ' ', '\t':
			if rest := strings.TrimSpace(s[i:]); rest != "" && rest[0] != '#' {
				return "", errors.New("more than one word, without quotes around them")
			}
			return b.String(), nil
		default:
			b.WriteByte(c)
		}
	}
	return b.String(), nil
}

// parseOpenISCSI reads records of an open-iscsi node, each of which names one target and the NIC that reaches it.
func parseOpenISCSI(text string) ([]Settings, error) {
	var all []Settings
	for _, record := range splitRecords(text) {
		var m importer
		values := make(map[string]string)
		lines(record, func(line string) {
			key, value, ok := strings.Cut(line, "=")
			if !ok {
				m.fail(line, errors.New("not of the form key = value"))
			}
			if value = strings.TrimSpace(value); value != "<empty>" {
				values[strings.TrimSpace(key)] = value
			}
		})
		if len(values) > 0 {
			m.record(values)
		}
		s, err := m.done()
		if err != nil {
			return nil, err
		}
		if len(values) > 0 {
			all = append(all, s)
		}
	}
	if len(all) == 0 {
		return nil, errors.New("no record")
	}
	return all, nil
}

// splitRecords cuts the text where records end.
func splitRecords(text string) []string {
	var records []string
	var b strings.Builder
	for line := range strings.Lines(text) {
		b.WriteString(line)
		if strings.HasPrefix(line, "# END RECORD") {
			records = append(records, b.String())
			b.Reset()
		}
	}
	return append(records, b.String())
}

func (m *importer) record(v map[string]string) {
	n := &m.NIC
	same(m, "iface.initiatorname", &m.InitiatorName, v["iface.initiatorname"], false)
	m.mac("iface.hwaddress", v["iface.hwaddress"])
	if v["iface.bootproto"] == "DHCP" {
		n.Origin = OriginDHCP
	}
	m.addr("iface.ipaddress", v["iface.ipaddress"], &n.IP)
	m.prefix("iface.subnet_mask", v["iface.subnet_mask"])
	m.prefix("iface.prefix_len", v["iface.prefix_len"])
	m.addr("iface.gateway", v["iface.gateway"], &n.Gateway)
	m.addr("iface.primary_dns", v["iface.primary_dns"], &n.PrimaryDNS)
	m.addr("iface.secondary_dns", v["iface.secondary_dns"], &n.SecondaryDNS)
	if id := v["iface.vlan_id"]; id != "" {
		m.vlan("iface.vlan_id", id)
	}
	const auth = "node.session.auth."
	m.credentials(auth+"username", credentials{
		v[auth+"username"], Secret(v[auth+"password"]), v[auth+"username_in"], Secret(v[auth+"password_in"]),
	})
	p := RootPath{Server: v["node.conn[0].address"], Target: v["node.name"]}
	if p.Server == "" || p.Target == "" {
		m.fail("node.name, node.conn[0].address", errors.New("both are wanted"))
	}
	var err error
	p.Port, err = parsePort(v["node.conn[0].port"])
	m.fail("node.conn[0].port", err)
	if lun := v["node.boot_lun"]; lun != "" {
		p.LUN, err = parseSysfsLUN(lun)
		m.fail("node.boot_lun", err)
	}
	m.path(p)
}

// parseIPXE reads the settings of an iPXE script, or of a list of name=value, and the root paths of sanboot,
// sanhook and root-path. What else a script does is not carried out.
func parseIPXE(text string) (Settings, error) {
	var m importer
	var fallback string
	lines(text, func(line string) {
		words := strings.Fields(line)
		if key, value, ok := strings.Cut(words[0], "="); ok && len(words) == 1 {
			words = []string{"set", key, value}
		}
		switch command, args := words[0], words[1:]; command {
		case "set":
			if len(args) > 1 {
				m.ipxe(args[0], strings.Join(args[1:], " "), &fallback)
			}
		case "vcreate":
			if i := indexOf(args, "--tag"); i >= 0 && i+1 < len(args) {
				m.vlan(line, args[i+1])
			}
		case "dhcp", "ifconf":
			m.NIC.Origin = OriginDHCP
		case "sanboot", "sanhook":
			m.sanboot(args)
		}
	})
	if len(m.RootPaths) == 0 && fallback != "" {
		m.sanboot([]string{fallback})
	}
	return m.done()
}

func indexOf(words []string, word string) int {
	for i, w := range words {
		if w == word {
			return i
		}
	}
	return -1
}

func (m *importer) sanboot(args []string) {
	for _, a := range args {
		if !strings.HasPrefix(a, "iscsi:") {
			continue // an option, or a device that is none of ours
		}
		p, err := ParseRootPath(a)
		if err != nil {
			m.fail("root path", err)
			continue
		}
		m.path(p)
	}
}

// ipxe takes one setting; its name may have a scope before and a type behind it.
func (m *importer) ipxe(name, value string, rootPath *string) {
	if strings.Contains(value, "${") {
		m.fail(name, errors.New("refers to another setting: put its value here"))
		return
	}
	scope, key, scoped := strings.Cut(name, "/")
	if !scoped {
		scope, key = "", name
	}
	key, _, _ = strings.Cut(key, ":")
	n := &m.NIC
	switch key {
	case "ip", "ip6", "netmask", "len6", "gateway", "gateway6", "mac":
		if scope != "" {
			m.nic(scope)
		}
	}
	switch key {
	case "initiator-iqn":
		m.InitiatorName = value
	case "hostname":
		m.Hostname = value
	case "username":
		m.CHAPName = value
	case "password":
		m.CHAPSecret = Secret(value)
	case "reverse-username":
		m.ReverseCHAPName = value
	case "reverse-password":
		m.ReverseCHAPSecret = Secret(value)
	case "root-path":
		*rootPath = value
	case "ip", "ip6":
		m.addr(name, value, &n.IP)
	case "netmask", "len6":
		m.prefix(name, value)
	case "gateway", "gateway6":
		m.addr(name, value, &n.Gateway)
	case "dns", "dns6":
		m.dns(name, value)
	case "dhcp-server":
		m.addr(name, value, &n.DHCP)
	case "mac":
		m.mac(name, value)
	}
}
