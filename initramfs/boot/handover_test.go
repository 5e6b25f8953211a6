package boot

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/bootlun/bootlun/ibft"
)

func TestHandover(t *testing.T) {
	plain := ibft.NIC{
		MAC: ibft.MAC{0x52, 0x54, 0, 1, 2, 3}, IP: netip.MustParseAddr("10.0.0.5"), PrefixLen: 22,
		Gateway: netip.MustParseAddr("10.0.0.1"), PrimaryDNS: netip.MustParseAddr("10.0.0.2"),
	}
	tagged, six := plain, plain
	tagged.VLAN = 7
	six.IP, six.PrefixLen, six.Gateway = netip.MustParseAddr("fd00::5"), 64, netip.Addr{}
	tests := []struct {
		name, iface string
		nic         ibft.NIC
		want        map[string]string // in the file of that path, line breaks as |
	}{
		{"IPv4", "eth0", plain, map[string]string{
			"systemd/network/05-bootlun-eth0.network": "MACAddress=52:54:00:01:02:03|Name=!*.*||[Network]|KeepConfiguration=yes|Address=10.0.0.5/22|DNS=10.0.0.2||[Route]|Gateway=10.0.0.1|",
			"systemd/network/05-bootlun-eth0.link":    "OriginalName=eth0|MACAddress=52:54:00:01:02:03||[Link]|Name=eth0|",
			"NetworkManager/conf.d/bootlun-eth0.conf": "match-device=interface-name:eth0,mac:52:54:00:01:02:03|managed=0|",
			"netplan/05-bootlun-eth0.yaml":            `critical: true|      addresses: ["10.0.0.5/22"]|      routes: [{to: default, via: "10.0.0.1", on-link: true}]|      nameservers: {addresses: ["10.0.0.2"]}|`,
			"initramfs/open-iscsi.interface":          "eth0|",
			"net-eth0.conf":                           "DEVICE='eth0'|PROTO='none'|IPV4ADDR='10.0.0.5'|IPV4NETMASK='255.255.252.0'|IPV4GATEWAY='10.0.0.1'|IPV4DNS0='10.0.0.2'|",
		}},
		{"VLAN", "eth0.7", tagged, map[string]string{
			"systemd/network/05-bootlun-eth0.7.network": "Name=eth0.7|",
			"systemd/network/05-bootlun-eth0.link":      "[Link]|Name=eth0|",
			"netplan/05-bootlun-eth0.7.yaml":            "version: 2|",
		}},
		{"IPv6", "eth0", six, map[string]string{
			"systemd/network/05-bootlun-eth0.network": "Address=fd00::5/64|",
			"net-eth0.conf": "IPV6ADDR='fd00::5/64'|",
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			files := handedNIC{tt.iface, &tt.nic}.files()
			for path, want := range tt.want {
				if got := strings.ReplaceAll(files[path], "\n", "|"); !strings.Contains(got, want) {
					t.Errorf("%s:\n%s\nwant in it\n%s", path, got, want)
				}
			}
		})
	}
}

func TestHandoverToIfupdown(t *testing.T) {
	files := ifupdown([]string{"eth0", "eth-1.7"})
	if got := files["systemd/system/networking.service.d/50-bootlun.conf"]; !strings.HasSuffix(got, "[Service]\nEnvironment=\"EXCLUDE_INTERFACES=eth0 eth-1.7\"\n") {
		t.Errorf("networking.service has\n%s", got)
	}
	for _, unit := range []string{"ifup@eth0.service", `ifup@eth\x2d1.7.service`} {
		if text, there := files["systemd/system/"+unit]; !there || text != "" {
			t.Errorf("%s is not masked: %t, %q", unit, there, text)
		}
	}
}
