package scenario_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/bootlun/bootlun/initramfs/rootfs"
)

// networksRoot is a Debian with all its network managers.
func networksRoot(t *testing.T) string {
	t.Helper()
	return debianImage(t, "root-networks.img", rootfs.DebianConfig{
		Hostname: "networks", Label: "networks", Autologin: true,
		Packages: []string{"fio", "ifupdown", "netplan.io", "network-manager"},
	})
}

// networkManager is one that an installed system may have, and what it does to the interfaces that are its own.
type networkManager struct {
	name    string
	without string   // systemd's units of the others
	harm    []string // what restarts it
	says    string   // what asks it about the interface $dev
	want    string   // is in its answer
}

var networkManagers = []networkManager{
	{
		name: "networkd and netplan", without: "NetworkManager.service networking.service",
		harm: []string{"true", "systemctl restart systemd-networkd", "netplan apply", "networkctl reload && networkctl reconfigure $dev"},
		says: "networkctl status $dev", want: "05-bootlun-",
	},
	{
		name: "ifupdown", without: "NetworkManager.service systemd-networkd.service systemd-networkd.socket",
		harm: []string{"systemctl restart networking", "systemctl start ifup@$dev; systemctl stop ifup@$dev"},
		says: "systemctl is-active networking; systemctl is-enabled ifup@$dev; systemctl show -p Environment networking", want: "EXCLUDE_INTERFACES=e",
	},
	{
		name: "NetworkManager", without: "networking.service systemd-networkd.service systemd-networkd.socket",
		harm: []string{"systemctl restart NetworkManager", "nmcli general reload"},
		says: "nmcli -t device status", want: ":ethernet:unmanaged:",
	},
}

// What an installation has for its interfaces: each manager is told to ask for an address of its own, or has a wrong one.
const networkSettings = `mkdir -p /etc/systemd/network /etc/netplan && ` +
	`printf '[Match]\nType=ether\n[Network]\nDHCP=yes\n' >/etc/systemd/network/20-wired.network && ` +
	`printf 'network: {version: 2, ethernets: {all: {match: {name: "e*"}, dhcp4: true}}}\n' >/etc/netplan/50-all.yaml && chmod 600 /etc/netplan/50-all.yaml && ` +
	`printf 'auto lo\niface lo inet loopback\nauto %s\nallow-hotplug %s\niface %s inet static\n  address 10.76.0.99/24\n' $dev $dev $dev >/etc/network/interfaces; sync`

// The network managers leave alone the interface that the root is behind, whatever they are told to do with interfaces, and the
// keeper renews its lease.
func TestSurvivalNetworks(t *testing.T) {
	needThorough(t)
	s := startServed(t, networksRoot(t), 1)
	settle := startSurvivor(t, s.machine(mask("NetworkManager.service networking.service systemd-networkd.service systemd-networkd.socket")))
	settle.nameDevice()
	settle.run(networkSettings)
	settle.ends("reboot")
	for _, m := range networkManagers {
		t.Run(m.name, func(t *testing.T) {
			served := *s
			served.t = t
			g := startSurvivor(t, served.machine(mask(m.without)))
			g.nameDevice()
			g.load()
			g.leavesAlone(m)
			served.renews(g, 1)
			g.passes()
			g.unharmed()
			g.ends("reboot")
		})
	}
}

// mask has systemd leave out units.
func mask(units string) string {
	var words []string
	for _, u := range strings.Fields(units) {
		words = append(words, "systemd.mask="+u)
	}
	return strings.Join(words, " ")
}

// nameDevice has the shell know the interface by $dev.
func (g *survivor) nameDevice() {
	g.t.Helper()
	g.run(fmt.Sprintf("dev=$(ip -o -4 addr show to %s | cut -d' ' -f2)", survivalAddr))
}

// leavesAlone restarts the manager, and looks whether the session has noticed.
func (g *survivor) leavesAlone(m networkManager) {
	g.t.Helper()
	g.run("systemctl is-system-running --wait")
	for _, harm := range m.harm {
		g.t.Logf("%s: %q", harm, g.run(harm))
		g.passes()
		if out := strings.Join(g.run(m.says), "\n"); !strings.Contains(out, m.want) {
			g.t.Errorf("after %q %s says\n%s\nand not %q", harm, m.name, out, m.want)
		}
		g.keepsAddress()
	}
	if n := strings.Join(g.run("grep -c '\"recoveries\": 0' /run/bootlun/keeper.json"), ""); n != "1" {
		g.t.Errorf("the connection was lost:\n%s", strings.Join(g.run("cat /run/bootlun/keeper.log"), "\n"))
	}
}
