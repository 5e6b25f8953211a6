package ibft

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// autoconf returns how dracut calls the way in which a NIC gets its address: "dhcp", "dhcp6", "auto6", or "none" for
// an address given. A NIC without an address asks for one.
func (n *NIC) autoconf() string {
	v6 := n.IP.Is6()
	switch {
	case n.Origin == OriginRouterAdvertisement && v6:
		return "auto6"
	case (n.Origin == OriginDHCP || n.DHCP.IsValid()) && v6:
		return "dhcp6"
	case n.Origin == OriginDHCP || n.DHCP.IsValid() || !n.IP.IsValid():
		return "dhcp"
	}
	return "none"
}

// device returns the name by which formats call a NIC, without its VLAN.
func (n *NIC) device() string { return fmt.Sprintf("ibft%d", n.Index) }

// link returns the name of the interface that carries the address.
func (n *NIC) link() string {
	if n.VLAN == 0 {
		return n.device()
	}
	return fmt.Sprintf("%s.%d", n.device(), n.VLAN)
}

// netmask returns an IPv4 NIC's mask, nothing for a prefix length that is none.
func (n *NIC) netmask() string {
	if !n.IP.Is4() || n.PrefixLen > 32 {
		return ""
	}
	return net.IP(net.CIDRMask(int(n.PrefixLen), 32)).String()
}

// dns returns the NIC's DNS servers.
func (n *NIC) dns() []netip.Addr {
	var servers []netip.Addr
	for _, a := range []netip.Addr{n.PrimaryDNS, n.SecondaryDNS} {
		if a.IsValid() {
			servers = append(servers, a)
		}
	}
	return servers
}

// rootPath returns the target's root path.
func (t *Target) rootPath() RootPath {
	return RootPath{Server: t.IP.String(), Port: t.Port, LUN: t.LUN, Target: t.Name}
}

// bracketed returns an address as ip= and netroot= want it, nothing for an absent one.
func bracketed(a netip.Addr) string {
	switch {
	case !a.IsValid():
		return ""
	case a.Is6():
		return "[" + a.String() + "]"
	}
	return a.String()
}

// credentials are those of one target, empty where it wants none.
type credentials struct {
	name          string
	secret        Secret
	reverseName   string
	reverseSecret Secret
}

func (t *Target) credentials() credentials {
	var c credentials
	if t.CHAP != CHAPNone {
		c.name, c.secret = t.CHAPName, t.CHAPSecret
	}
	if t.CHAP == CHAPMutual {
		c.reverseName, c.reverseSecret = t.ReverseCHAPName, t.ReverseCHAPSecret
	}
	return c
}

// common returns the credentials of all paths. Formats that hold one set only fail where they differ.
func (e *exporter) common(paths []Path) credentials {
	var c credentials
	for i, p := range paths {
		if i == 0 {
			c = p.Target.credentials()
		} else if p.Target.credentials() != c {
			e.fail(errors.New("the paths' CHAP names or secrets differ, and the format holds those of one: " +
				"take the targets apart, or use the table itself"))
		}
	}
	return c
}

// pair is a key and its value. One with a secret is masked in errors.
type pair struct {
	key, value string
	secret     bool
}

// pairs returns the credentials under the four keys, without those that are absent.
func (c credentials) pairs(name, secret, reverseName, reverseSecret string) []pair {
	var present []pair
	for _, p := range []pair{
		{name, c.name, false},
		{secret, c.secret.Reveal(), true},
		{reverseName, c.reverseName, false},
		{reverseSecret, c.reverseSecret.Reveal(), true},
	} {
		if p.value != "" {
			present = append(present, p)
		}
	}
	return present
}

// dracut writes arguments of dracut.cmdline(7), all on one line as a kernel takes them.
func (e *exporter) dracut() {
	nics, paths := e.nics(), e.paths()
	var args []string
	add := func(p pair) { args = append(args, p.key+"="+e.word(p, `"'\`)) }
	if i := e.table.Initiator; i != nil && i.Name != "" {
		add(pair{key: "rd.iscsi.initiator", value: i.Name})
	}
	for _, n := range nics {
		if n.MAC == (MAC{}) && len(nics) == 1 && n.VLAN == 0 { // dracut takes whatever card there is
			add(pair{key: "ip", value: n.ipArgument("")})
			continue
		}
		e.wantMAC(&n)
		args = append(args, fmt.Sprintf("ifname=%s:%s", n.device(), n.MAC))
		if n.VLAN != 0 {
			args = append(args, fmt.Sprintf("vlan=%s:%s", n.link(), n.device()))
		}
		add(pair{key: "ip", value: n.ipArgument(n.link())})
	}
	if len(nics) > 1 && len(paths) > 0 { // dracut wants to know whose routes count
		args = append(args, "bootdev="+paths[0].NIC.link())
	}
	for _, p := range e.common(paths).pairs("rd.iscsi.username", "rd.iscsi.password", "rd.iscsi.in.username", "rd.iscsi.in.password") {
		add(p)
	}
	for _, p := range paths {
		if !splitsForDracut(p.Target.Name) {
			e.fail(fmt.Errorf("target name %q: dracut knows names that begin with iqn., eui. or naa. only", p.Target.Name))
		}
		r := p.Target.rootPath()
		add(pair{key: "netroot", value: fmt.Sprintf("iscsi:%s::%d:%s:%s", bracketed(p.Target.IP), r.Port, r.LUN, r.Target)})
	}
	e.line("%s", strings.Join(args, " "))
}

// splitsForDracut says whether dracut finds the beginning of a target's name.
func splitsForDracut(name string) bool {
	return strings.HasPrefix(name, "iqn.") || strings.HasPrefix(name, "eui.") || strings.HasPrefix(name, "naa.")
}

// ipArgument returns the value of ip= for a NIC under the name of its device, which may be empty.
func (n *NIC) ipArgument(device string) string {
	how := n.autoconf()
	switch {
	case how != "none" && device == "":
		return how
	case how != "none":
		return device + ":" + how
	}
	mask := n.netmask()
	if mask == "" {
		mask = strconv.Itoa(int(n.PrefixLen))
	}
	fields := []string{bracketed(n.IP), "", bracketed(n.Gateway), mask, n.Hostname, device, how}
	for _, a := range n.dns() {
		fields = append(fields, bracketed(a))
	}
	return strings.Join(fields, ":")
}

// debian writes the shell variables of /etc/iscsi/iscsi.initramfs, which hold one target and no LUN.
func (e *exporter) debian() {
	nics, paths := e.nics(), e.paths()
	if e.err != nil {
		return
	}
	t := paths[0].Target
	if len(paths) > 1 {
		e.note("only the first of %d paths: the file holds one target", len(paths))
	}
	if t.LUN != (LUN{}) {
		e.note("LUN %s is not named, the machine attaches all LUNs of the target", t.LUN)
	}
	if n := nics[0]; !n.IP.Is6() {
		e.note("the network is configured on the kernel command line: ip=%s", n.ipArgument(""))
	} else {
		e.note("the network, IPv6, is to be configured by other means than ip= on the kernel command line")
	}
	var values []pair
	if i := e.table.Initiator; i != nil && i.Name != "" {
		values = append(values, pair{key: "ISCSI_INITIATOR", value: i.Name})
	}
	values = append(values,
		pair{key: "ISCSI_TARGET_NAME", value: t.Name},
		pair{key: "ISCSI_TARGET_IP", value: t.IP.String()},
		pair{key: "ISCSI_TARGET_PORT", value: strconv.Itoa(int(t.Port))},
		pair{key: "ISCSI_TARGET_GROUP", value: "1"})
	values = append(values, t.credentials().pairs("ISCSI_USERNAME", "ISCSI_PASSWORD", "ISCSI_IN_USERNAME", "ISCSI_IN_PASSWORD")...)
	e.comments()
	for _, v := range values {
		e.line("%s=%s", v.key, shellQuote(e.printable(v)))
	}
}

// openISCSI writes a record for each path, with keys and order of "iscsistart -f". The interface's name and the
// ISID are the machine's to know.
func (e *exporter) openISCSI() {
	e.comments()
	for _, p := range e.paths() {
		e.line("# BEGIN RECORD bootlun")
		for _, v := range record(p) {
			if v.value != "" {
				e.line("%s = %s", v.key, e.printable(v))
			}
		}
		e.line("# END RECORD")
	}
}

func record(p Path) []pair {
	n, t := p.NIC, p.Target
	proto := "STATIC"
	if n.DHCP.IsValid() { // where the address came from does not count there
		proto = "DHCP"
	}
	text := func(a netip.Addr) string {
		if !a.IsValid() {
			return ""
		}
		return a.String()
	}
	values := []pair{
		{key: "iface.initiatorname", value: p.Initiator},
		{key: "iface.transport_name", value: "tcp"},
		{key: "iface.hwaddress", value: n.MAC.String()},
		{key: "iface.bootproto", value: proto},
		{key: "iface.ipaddress", value: text(n.IP)},
		{key: "iface.prefix_len", value: strconv.Itoa(int(n.PrefixLen))},
		{key: "iface.subnet_mask", value: n.netmask()},
		{key: "iface.gateway", value: text(n.Gateway)},
		{key: "iface.primary_dns", value: text(n.PrimaryDNS)},
		{key: "iface.secondary_dns", value: text(n.SecondaryDNS)},
		{key: "iface.vlan_id", value: strconv.Itoa(int(n.VLAN))},
		{key: "node.name", value: t.Name},
		{key: "node.conn[0].address", value: t.IP.String()},
		{key: "node.conn[0].port", value: strconv.Itoa(int(t.Port))},
	}
	values = append(values, t.credentials().pairs("node.session.auth.username", "node.session.auth.password",
		"node.session.auth.username_in", "node.session.auth.password_in")...)
	return append(values, pair{key: "node.boot_lun", value: linuxText(t.LUN)})
}

// linuxText returns a LUN as Linux prints it, see parseSysfsLUN.
func linuxText(l LUN) string {
	var b strings.Builder
	for _, c := range l {
		fmt.Fprintf(&b, "%x", c)
	}
	return b.String()
}

// ipxe writes a script. iPXE's shell has no quotes: a value is words, and ${ begins a setting.
func (e *exporter) ipxe() {
	nics, paths := e.nics(), e.paths()
	e.line("#!ipxe")
	e.comments()
	set := func(p pair) {
		if p.value != "" {
			e.line("set %s %s", p.key, e.word(p, "$"))
		}
	}
	if i := e.table.Initiator; i != nil {
		set(pair{key: "initiator-iqn", value: i.Name})
	}
	for i := range nics {
		e.ipxeNIC(i, &nics[i], set)
	}
	for _, p := range e.common(paths).pairs("username", "password", "reverse-username", "reverse-password") {
		set(p)
	}
	var uris []string
	for _, p := range paths {
		uris = append(uris, p.Target.rootPath().String())
	}
	e.line("sanboot %s", strings.Join(uris, " "))
}

func (e *exporter) ipxeNIC(i int, n *NIC, set func(pair)) {
	name := fmt.Sprintf("net%d", i)
	if n.MAC != (MAC{}) {
		e.line("# %s is %s", name, n.MAC)
	}
	if n.VLAN != 0 {
		e.line("vcreate --tag %d %s", n.VLAN, name)
		name += fmt.Sprintf("-%d", n.VLAN)
	}
	switch n.autoconf() {
	case "dhcp":
		e.line("dhcp %s", name)
	case "dhcp6", "auto6":
		e.line("ifconf -c ipv6 %s", name)
	default:
		e.line("ifopen %s", name)
		suffix := ""
		if n.IP.Is6() {
			suffix = "6"
			set(pair{key: name + "/len6", value: strconv.Itoa(int(n.PrefixLen))})
		}
		set(pair{key: name + "/ip" + suffix, value: n.IP.String()})
		set(pair{key: name + "/netmask", value: n.netmask()})
		if n.Gateway.IsValid() {
			set(pair{key: name + "/gateway" + suffix, value: n.Gateway.String()})
		}
		if n.PrimaryDNS.IsValid() {
			set(pair{key: name + "/dns" + suffix, value: n.PrimaryDNS.String()})
		}
	}
	set(pair{key: name + "/hostname", value: n.Hostname})
}

// word returns a value that must be one word of printable ASCII without the characters in not.
func (e *exporter) word(p pair, not string) string {
	return e.check(p, func(c byte) bool { return c > ' ' && c <= '~' && strings.IndexByte(not, c) < 0 })
}

// printable returns a value that must be one line, without spaces at its ends.
func (e *exporter) printable(p pair) string {
	if strings.TrimSpace(p.value) != p.value {
		e.refuse(p)
	}
	return e.check(p, func(c byte) bool { return c >= ' ' && c != 0x7f })
}

func (e *exporter) check(p pair, good func(byte) bool) string {
	for i := range len(p.value) {
		if !good(p.value[i]) {
			e.refuse(p)
			break
		}
	}
	return p.value
}

func (e *exporter) refuse(p pair) {
	if p.secret {
		e.fail(fmt.Errorf("%s: the format has no way to hold a character of this secret", p.key))
	} else {
		e.fail(fmt.Errorf("%s: the format has no way to hold %q", p.key, p.value))
	}
}
