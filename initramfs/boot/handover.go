package boot

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"github.com/bootlun/bootlun/ibft"
)

// handedNIC is an interface that the root's sessions go through, as the installed system's network managers are told of it: it
// must stay up as it is, from the first service to the last.
type handedNIC struct {
	Name string // now; the installed system may rename it
	*ibft.NIC
}

// tellNetwork leaves files in /run, which moves along to the installed system. Whichever network manager that has finds its own
// there; none is harmed by those of the others.
func (m *machine) tellNetwork() error {
	var errs []error
	var names []string
	written := make(map[uint8]bool)
	for _, p := range m.table.Paths() {
		name, configured := m.netDevs[p.NIC.Index]
		if !configured || written[p.NIC.Index] {
			continue
		}
		written[p.NIC.Index] = true
		names = append(names, name)
		errs = append(errs, leave((handedNIC{name, p.NIC}).files()))
	}
	return errors.Join(append(errs, leave(ifupdown(names)))...)
}

// leave writes files, by their paths below /run.
func leave(files map[string]string) error {
	var errs []error
	for path, text := range files {
		path = filepath.Join("/run", path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			errs = append(errs, err)
			continue
		}
		mode := os.FileMode(0o644)
		if strings.HasPrefix(path, "/run/netplan/") {
			mode = 0o600 // it complains otherwise
		}
		errs = append(errs, os.WriteFile(path, []byte(text), mode))
	}
	return errors.Join(errs...)
}

// ifupdown has Debian's ifupdown leave interfaces alone: when all are brought up or down, at start, restart and shutdown, and when
// one comes that may be plugged in (an empty unit file is a masked unit, systemd.unit(5)).
func ifupdown(names []string) map[string]string {
	files := map[string]string{
		"systemd/system/networking.service.d/50-bootlun.conf": fmt.Sprintf(
			"# The root disk is behind these interfaces.\n[Service]\nEnvironment=\"EXCLUDE_INTERFACES=%s\"\n", strings.Join(names, " ")),
	}
	for _, n := range names {
		files["systemd/system/ifup@"+strings.ReplaceAll(n, "-", `\x2d`)+".service"] = ""
	}
	return files
}

// files are the files' contents by their paths below /run.
func (n handedNIC) files() map[string]string {
	return map[string]string{
		// Before netplan's 10-netplan-*, and whatever an installation has for all Ethernet cards.
		"systemd/network/05-bootlun-" + n.Name + ".network": n.networkd(),
		"systemd/network/05-bootlun-" + n.card() + ".link":  n.udev(),
		"NetworkManager/conf.d/bootlun-" + n.Name + ".conf": n.networkManager(),
		"netplan/05-bootlun-" + n.Name + ".yaml":            n.netplan(),
		// For Debian's open-iscsi, which notes for ifupdown that it is up; and the addresses as initramfs-tools leaves them.
		"initramfs/open-iscsi.interface": n.Name + "\n",
		"net-" + n.Name + ".conf":        n.ipconfig(),
	}
}

// networkd has systemd-networkd take the address as its own and never let it go (systemd.network(5), KeepConfiguration=).
func (n handedNIC) networkd() string {
	var b strings.Builder
	fmt.Fprintf(&b, "# The root disk is behind this interface.\n[Match]\nMACAddress=%v\nName=%s\n", n.MAC, n.matchName())
	fmt.Fprintf(&b, "\n[Network]\nKeepConfiguration=yes\nAddress=%v\n", n.Prefix())
	for _, dns := range n.servers() {
		fmt.Fprintf(&b, "DNS=%v\n", dns)
	}
	if n.Gateway.IsValid() {
		fmt.Fprintf(&b, "\n[Route]\nGateway=%v\nGatewayOnLink=yes\n", n.Gateway)
	}
	return b.String()
}

// card is the name of the interface that the NIC's driver has made.
func (n handedNIC) card() string {
	name, _, _ := strings.Cut(n.Name, ".")
	return name
}

// udev has udev leave the interface its name (systemd.link(5)). Up as it is many kernels refuse another one, and after that attempt
// networkd waits for the interface for ever.
func (n handedNIC) udev() string {
	return fmt.Sprintf("# The root disk is behind this interface.\n[Match]\nOriginalName=%[1]s\nMACAddress=%[2]v\n\n"+
		"[Link]\nName=%[1]s\nAlternativeNamesPolicy=database onboard slot path\n", n.card(), n.MAC)
}

// matchName keeps a VLAN interface apart from its parent, which has the same Ethernet address.
func (n handedNIC) matchName() string {
	if n.VLAN != 0 {
		return n.Name
	}
	return "!*.*"
}

// networkManager has NetworkManager leave the device alone (NetworkManager.conf(5)).
func (n handedNIC) networkManager() string {
	return fmt.Sprintf("# The root disk is behind this interface.\n[device-bootlun-%s]\nmatch-device=interface-name:%s,mac:%v\nmanaged=0\n", n.Name, n.Name, n.MAC)
}

// netplan has netplan tell its back end the same (netplan-yaml, critical).
func (n handedNIC) netplan() string {
	if n.VLAN != 0 {
		return "# The root disk is behind a VLAN interface that is no business of netplan's.\nnetwork:\n  version: 2\n"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "# The root disk is behind this interface.\nnetwork:\n  version: 2\n  ethernets:\n    bootlun-%s:\n", n.Name)
	fmt.Fprintf(&b, "      match: {macaddress: %q}\n      critical: true\n      addresses: [%q]\n", n.MAC, n.Prefix())
	if n.Gateway.IsValid() {
		fmt.Fprintf(&b, "      routes: [{to: default, via: %q, on-link: true}]\n", n.Gateway)
	}
	var quoted []string
	for _, dns := range n.servers() {
		quoted = append(quoted, fmt.Sprintf("%q", dns))
	}
	if len(quoted) > 0 {
		fmt.Fprintf(&b, "      nameservers: {addresses: [%s]}\n", strings.Join(quoted, ", "))
	}
	return b.String()
}

// ipconfig is what klibc's ipconfig leaves of an interface that it has configured.
func (n handedNIC) ipconfig() string {
	var b strings.Builder
	set := func(key, value string) { fmt.Fprintf(&b, "%s='%s'\n", key, value) }
	set("DEVICE", n.Name)
	set("PROTO", "none")
	if !n.IP.Is4() {
		set("IPV6ADDR", n.Prefix().String())
		return b.String()
	}
	set("IPV4ADDR", n.IP.String())
	set("IPV4NETMASK", netmask(n.Prefix()))
	if n.Gateway.IsValid() {
		set("IPV4GATEWAY", n.Gateway.String())
	}
	for i, dns := range n.servers() {
		set(fmt.Sprint("IPV4DNS", i), dns.String())
	}
	return b.String()
}

func netmask(p netip.Prefix) string {
	m := ^uint32(0) << (32 - p.Bits())
	return netip.AddrFrom4([4]byte{byte(m >> 24), byte(m >> 16), byte(m >> 8), byte(m)}).String()
}

// servers are the name servers that there are.
func (n handedNIC) servers() []netip.Addr {
	var all []netip.Addr
	for _, a := range []netip.Addr{n.PrimaryDNS, n.SecondaryDNS} {
		if a.IsValid() {
			all = append(all, a)
		}
	}
	return all
}
