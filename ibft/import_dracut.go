package ibft

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

// parseDracut reads a kernel command line as dracut does (dracut.cmdline(7)): settings for each network device that
// reaches a disk.
func parseDracut(text string) ([]Settings, error) {
	args := commandLine(text)
	d := dracutLine{vlans: make(map[string]string), nics: make(map[string]*importer)}
	for _, arg := range args { // first of all, as the order of arguments is nobody's
		if vlan, device, ok := strings.Cut(strings.TrimPrefix(arg, "vlan="), ":"); ok && strings.HasPrefix(arg, "vlan=") {
			d.vlans[vlan] = device
		}
	}
	for _, arg := range args {
		key, value, _ := strings.Cut(arg, "=")
		d.device(key, value)
	}
	if len(d.order) == 0 {
		d.nic("")
	}
	for _, arg := range args {
		key, value, _ := strings.Cut(arg, "=")
		if (key == "netroot" || key == "root") && strings.HasPrefix(value, "iscsi:") {
			d.netroot(key, value)
		}
	}
	for _, m := range d.nics {
		for _, arg := range args {
			key, value, _ := strings.Cut(arg, "=")
			m.dracut(key, value)
		}
	}
	return d.settings()
}

// dracutLine are the devices that a command line configures, by name and in order; the nameless one is whichever
// there is.
type dracutLine struct {
	vlans map[string]string // VLAN's device to the one under it
	nics  map[string]*importer
	order []string
	boot  string // the device whose routes count
}

// nic returns the device of a name. The nameless one is the same as the only one with a name.
func (d *dracutLine) nic(name string) *importer {
	if under, ok := d.vlans[name]; ok {
		name = under
	}
	if len(d.order) == 1 && (name == "" || d.order[0] == "") {
		only := d.order[0]
		m := d.nics[only]
		if only == "" {
			delete(d.nics, only)
			d.nics[name], d.order[0] = m, name
		}
		return m
	}
	if d.nics[name] == nil {
		d.nics[name] = new(importer)
		d.order = append(d.order, name)
	}
	return d.nics[name]
}

// device takes what concerns one device.
func (d *dracutLine) device(key, value string) {
	name, rest, _ := strings.Cut(value, ":")
	switch key {
	case "ip":
		d.nic(ipDevice(value)).ip(value)
	case "ifname":
		d.nic(name).mac(key, rest)
	case "vlan":
		d.nic(name).vlan(key, name[strings.LastIndexAny(name, ".n")+1:]) // eth0.42 or vlan42
	case "bootdev":
		d.boot = value
	}
}

// netroot gives a path to the device that it names, else to the one on whose subnet the target is, else to the one
// to boot by.
func (d *dracutLine) netroot(key, value string) {
	n, err := parseNetroot(value)
	server, _ := netip.ParseAddr(n.path.Server) // or a name, which is on no subnet
	m := d.nic(d.order[0])
	if d.boot != "" {
		m = d.nic(d.boot)
	}
	for _, name := range d.order {
		if prefix := d.nics[name].NIC.Prefix(); prefix.IsValid() && prefix.Contains(server) {
			m = d.nics[name]
			break
		}
	}
	if n.device != "" {
		m = d.nic(n.device)
	}
	m.fail(key, err)
	m.netrootCredentials(key, n.credentials)
	m.path(n.path)
}

// settings returns those of the devices that reach a disk.
func (d *dracutLine) settings() ([]Settings, error) {
	var all []Settings
	for _, name := range d.order {
		s, err := d.nics[name].done()
		if err != nil {
			return nil, err
		}
		if len(s.RootPaths) > 0 {
			all = append(all, s)
		}
	}
	if len(all) == 0 {
		return nil, errors.New("netroot: none is there, where the disk is remains unsaid")
	}
	return all, nil
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
	case "nameserver":
		m.dns(key, value)
	}
}

// netroot is one path to the disk.
type netroot struct {
	path        RootPath
	credentials string // user:password, or both and the target's
	device      string
}

// parseNetroot reads iscsi:[user:password[:reverse user:reverse password]@][server]:[protocol]:[port][:[iface]:[netdev]]:[LUN]:target.
// The target's name begins where dracut looks for it.
func parseNetroot(value string) (n netroot, err error) {
	rest := strings.TrimPrefix(value, "iscsi:")
	begin := -1
	for _, kind := range []string{":iqn.", ":eui.", ":naa."} {
		if i := strings.Index(rest, kind); i >= 0 && (begin < 0 || i < begin) {
			begin = i
		}
	}
	if begin < 0 {
		return n, errors.New("no target name: one begins with iqn., eui. or naa. here")
	}
	head := rest[:begin]
	n.path.Target = rest[begin+1:]
	if at := strings.LastIndexByte(head, '@'); at >= 0 {
		n.credentials, head = head[:at], head[at+1:]
	}
	fields := splitColons(head)
	switch len(fields) {
	case 4:
	case 6:
		n.device = fields[4]
	default:
		return n, fmt.Errorf("%d fields between iscsi: and the target name, want 4, or 6 with an interface", len(fields))
	}
	if n.path.Server, err = parseServer(fields[0]); err == nil {
		if n.path.Port, err = parsePort(fields[2]); err == nil {
			n.path.LUN, err = ParseLUN(fields[len(fields)-1])
		}
	}
	return n, err
}

func (m *importer) netrootCredentials(what, s string) {
	if s == "" {
		return
	}
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
		m.autoconf(what, f[1])
		if len(f) > 3 {
			m.mac(what, strings.Join(f[3:], ":"))
		}
	case isHow(f[1]): // a MAC's colons make many fields of the second form
		m.autoconf(what, f[1])
		m.mac(what, strings.Join(f[3:], ":"))
	default:
		m.static(what, f)
	}
}

// ipDevice returns the device that ip= is about, empty for any.
func ipDevice(value string) string {
	switch f := splitColons(value); {
	case len(f) == 1:
		return ""
	case len(f) < 6, isHow(f[1]):
		return f[0]
	default:
		return f[5]
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
