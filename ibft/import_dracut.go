package ibft

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

// parseDracut reads a kernel command line as dracut does (dracut.cmdline(7)).
func parseDracut(text string) (Settings, error) {
	var m importer
	for _, arg := range commandLine(text) {
		key, value, _ := strings.Cut(arg, "=")
		m.dracut(key, value)
	}
	if m.err == nil && len(m.RootPaths) == 0 {
		m.fail("netroot", errors.New("none is there, where the disk is remains unsaid"))
	}
	return m.done()
}

// commandLine returns the arguments of a kernel command line. Double quotes hold spaces together.
func commandLine(text string) []string {
	quoted := false
	words := strings.FieldsFunc(text, func(r rune) bool {
		if r == '"' {
			quoted = !quoted
		}
		return !quoted && (r == ' ' || r == '\t' || r == '\n' || r == '\r')
	})
	for i, w := range words {
		words[i] = strings.ReplaceAll(w, `"`, "")
	}
	return words
}

func (m *importer) dracut(key, value string) {
	switch key {
	case "netroot", "root":
		if strings.HasPrefix(value, "iscsi:") {
			m.netroot(key, value)
		}
	case "rd.iscsi.initiator":
		same(m, key, &m.InitiatorName, value, false)
	case "rd.iscsi.username":
		same(m, key, &m.CHAPName, value, false)
	case "rd.iscsi.password":
		same(m, key, &m.CHAPSecret, value, true)
	case "rd.iscsi.in.username":
		same(m, key, &m.ReverseCHAPName, value, false)
	case "rd.iscsi.in.password":
		same(m, key, &m.ReverseCHAPSecret, value, true)
	case "rd.iscsi.firmware", "rd.iscsi.ibft":
		if value != "0" && value != "no" {
			m.fail(key, errors.New("the settings are in the firmware's own table, not here"))
		}
	case "ip":
		m.ip(value)
	case "ifname":
		_, mac, _ := strings.Cut(value, ":")
		m.mac(key, mac)
	case "nameserver":
		m.dns(key, value)
	case "vlan":
		name, _, _ := strings.Cut(value, ":")
		m.vlan(key, name[strings.LastIndexAny(name, ".n")+1:]) // eth0.42 or vlan42
	}
}

// netroot reads iscsi:[user:password[:reverse user:reverse password]@][server]:[protocol]:[port][:[iface]:[netdev]]:[LUN]:target.
// The target's name begins where dracut looks for it.
func (m *importer) netroot(what, value string) {
	rest := strings.TrimPrefix(value, "iscsi:")
	begin := -1
	for _, kind := range []string{":iqn.", ":eui.", ":naa."} {
		if i := strings.Index(rest, kind); i >= 0 && (begin < 0 || i < begin) {
			begin = i
		}
	}
	if begin < 0 {
		m.fail(what, errors.New("no target name: one begins with iqn., eui. or naa. here"))
		return
	}
	head, target := rest[:begin], rest[begin+1:]
	if at := strings.LastIndexByte(head, '@'); at >= 0 {
		m.netrootCredentials(what, head[:at])
		head = head[at+1:]
	}
	fields := splitColons(head)
	if len(fields) != 4 && len(fields) != 6 {
		m.fail(what, fmt.Errorf("%d fields between iscsi: and the target name, want 4, or 6 with an interface", len(fields)))
		return
	}
	p := RootPath{Target: target}
	var err error
	if p.Server, err = parseServer(fields[0]); err == nil {
		if p.Port, err = parsePort(fields[2]); err == nil {
			p.LUN, err = ParseLUN(fields[len(fields)-1])
		}
	}
	m.fail(what, err)
	m.path(p)
}

func (m *importer) netrootCredentials(what, s string) {
	f := strings.Split(s, ":")
	switch len(f) {
	case 2:
		m.credentials(what, credentials{f[0], Secret(f[1]), "", ""})
	case 4:
		m.credentials(what, credentials{f[0], Secret(f[1]), f[2], Secret(f[3])})
	default:
		m.fail(what, fmt.Errorf("%d fields before the @, want user:password, or both and the target's", len(f)))
	}
}

// splitColons splits at colons outside brackets.
func splitColons(s string) []string {
	var fields []string
	for {
		end := separator(s)
		if end < 0 {
			return append(fields, s)
		}
		fields, s = append(fields, s[:end]), s[end+1:]
	}
}

// ip reads ip=, in its three forms: how; interface:how[:mtu[:mac]];
// client:peer:gateway:mask:host name:interface:how[:dns[:dns]] or [:mtu[:mac]].
func (m *importer) ip(value string) {
	const what = "ip"
	f := splitColons(value)
	switch {
	case value == "ibft":
		m.fail(what, errors.New("the settings are in the firmware's own table, not here"))
	case len(f) == 1:
		m.autoconf(what, f[0])
	case len(f) < 6:
		m.nic(f[0])
		m.autoconf(what, f[1])
		if len(f) > 3 {
			m.mac(what, strings.Join(f[3:], ":"))
		}
	case isHow(f[1]): // a MAC's colons make many fields of the second form
		m.nic(f[0])
		m.autoconf(what, f[1])
		m.mac(what, strings.Join(f[3:], ":"))
	default:
		m.static(what, f)
	}
}

func isHow(s string) bool {
	switch s {
	case "none", "off", "dhcp", "on", "any", "dhcp4", "dhcp6", "auto6", "either6", "link6", "link-local", "single-dhcp":
		return true
	}
	return false
}

func (m *importer) static(what string, f []string) {
	n := &m.NIC
	if f[5] != "" {
		m.nic(f[5])
	}
	m.addr(what, f[0], &n.IP)
	m.addr(what, f[2], &n.Gateway)
	m.prefix(what, f[3])
	same(m, what, &m.Hostname, f[4], false)
	if len(f) > 6 {
		m.autoconf(what, f[6])
	}
	if len(f) < 8 {
		return
	}
	if _, err := netip.ParseAddr(strings.Trim(f[7], "[]")); err == nil || f[7] == "" && len(f) < 10 {
		for _, s := range f[7:min(len(f), 9)] {
			m.dns(what, s)
		}
	} else if len(f) > 8 { // an MTU, then a MAC
		m.mac(what, strings.Join(f[8:], ":"))
	}
}

func (m *importer) autoconf(what, how string) {
	switch {
	case how == "" || how == "none" || how == "off":
	case how == "auto6":
		m.NIC.Origin = OriginRouterAdvertisement
	case isHow(how):
		m.NIC.Origin = OriginDHCP
	default:
		m.fail(what, fmt.Errorf("%q is no way to configure an interface that is known here", how))
	}
}
