package netboot

import (
	"cmp"
	"net/netip"
	"strings"

	"github.com/bootlun/bootlun/ibft"
)

// machines finds what the configuration says of a MAC address.
type machines struct {
	byMAC    map[ibft.MAC]Machine
	fallback Machine // of machines not listed
}

func newMachines(list []Machine) machines {
	ms := machines{byMAC: make(map[ibft.MAC]Machine)}
	for _, m := range list {
		if m.isDefault() {
			ms.fallback = m
		} else {
			ms.byMAC[m.MAC] = m
		}
	}
	return ms
}

// find returns the machine with a MAC address, its templates filled in. ip is the machine's address.
func (ms machines) find(mac ibft.MAC, ip netip.Addr) Machine {
	m, ok := ms.byMAC[mac]
	if !ok {
		m = ms.fallback
	}
	return m.fill(mac, ip)
}

func (m Machine) isDefault() bool { return m.MAC == ibft.MAC{} }

// fill returns the machine with its templates filled in and its MAC set.
func (m Machine) fill(mac ibft.MAC, ip netip.Addr) Machine {
	m.MAC = mac
	m.Name = strings.ReplaceAll(m.Name, "{mac}", hyphened(mac))
	name := cmp.Or(m.Name, hyphened(mac))
	values := strings.NewReplacer("{mac}", hyphened(mac), "{ip}", ip.String(), "{name}", name)
	m.InitiatorName = values.Replace(m.InitiatorName)
	paths := make([]string, len(m.RootPaths))
	for i, p := range m.RootPaths {
		paths[i] = values.Replace(p)
	}
	m.RootPaths = paths
	return m
}

// usesIP reports whether a template of the machine needs its address.
func (m Machine) usesIP() bool {
	return strings.Contains(strings.Join(append(m.RootPaths, m.InitiatorName), " "), "{ip}")
}

// label is what the machine is called in logs and events.
func (m Machine) label() string {
	if m.Name != "" {
		return m.Name
	}
	return m.MAC.String()
}

func (m Machine) hasSecrets() bool { return m.CHAPSecret != "" || m.ReverseCHAPSecret != "" }

// withDefaults returns the machine with the mode and the boot files that apply to it.
func (m Machine) withDefaults(b Boot) Machine {
	m.Mode = cmp.Or(m.Mode, ModeImage)
	m.Kernel = cmp.Or(m.Kernel, b.Kernel)
	m.Initramfs = cmp.Or(m.Initramfs, b.Initramfs)
	m.Cmdline = cmp.Or(m.Cmdline, b.Cmdline)
	return m
}

// boots reports whether the machine has something to boot at all: a machine that is not listed may have nothing.
func (m Machine) boots() bool { return m.Mode == ModeSANBoot || m.Kernel != "" }

// getsTable reports whether the kernel is handed the machine's table: the distribution's always, ours where the table
// holds secrets that DHCP must not carry, or what another DHCP server does not know.
func (m Machine) getsTable(d DHCP) bool {
	switch {
	case m.Mode != ModeImage:
		return m.Mode == ModeKernel
	case !d.leases():
		return len(m.RootPaths) > 0
	}
	return m.hasSecrets() && !d.Secrets
}

// hyphened is a MAC address as it stands in paths and templates.
func hyphened(mac ibft.MAC) string { return strings.ReplaceAll(mac.String(), ":", "-") }
