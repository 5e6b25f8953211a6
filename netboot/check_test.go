package netboot

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bootlun/bootlun/ibft"
	"github.com/goccy/go-yaml"
)

func TestCheck(t *testing.T) {
	machine := func(change func(*Machine)) func(*Config) {
		return func(c *Config) { *c = withMachine(*c, change) }
	}
	for _, c := range []struct {
		change func(*Config)
		want   string // each | separated part is in the error; empty: no error
	}{
		{func(*Config) {}, ""},
		{machine(nil), ""},
		{machine(chap), ""},
		{func(c *Config) { c.Boot, c.LoaderDir = Boot{}, "" }, ""},

		{func(c *Config) { c.Addr = netip.Prefix{} }, "addr|such as 10.0.0.1/24"},
		{func(c *Config) { c.Addr = netip.MustParsePrefix("fd00::1/64") }, "addr|IPv4"},
		{func(c *Config) { c.Addr = netip.MustParsePrefix("10.0.0.0/24") }, "addr|network's own"},
		{func(c *Config) { c.Addr = netip.MustParsePrefix("10.0.0.255/24") }, "addr|broadcast"},
		{func(c *Config) { c.Addr = netip.MustParsePrefix("10.0.0.1/31") }, "addr|prefix length"},

		{func(c *Config) { c.DHCP.Subnet = netip.MustParsePrefix("10.9.0.0/24") }, "dhcp|subnet|10.0.0.1"},
		{func(c *Config) { c.DHCP.Subnet = netip.MustParsePrefix("fd00::/64") }, "dhcp|subnet|IPv4"},
		{func(c *Config) { c.DHCP.PoolStart = addr("10.0.0.5") }, "dhcp|poolEnd"},
		{func(c *Config) { c.DHCP.PoolEnd = addr("10.0.0.5") }, "dhcp|poolStart"},
		{func(c *Config) { c.DHCP.PoolStart, c.DHCP.PoolEnd = addr("10.0.0.9"), addr("10.0.0.5") }, "poolEnd|before"},
		{func(c *Config) { c.DHCP.PoolStart, c.DHCP.PoolEnd = addr("10.0.0.9"), addr("10.0.1.5") }, "poolEnd|subnet"},
		{func(c *Config) {
			c.Addr = netip.MustParsePrefix("10.0.0.1/8")
			c.DHCP.PoolStart, c.DHCP.PoolEnd = addr("10.0.0.2"), addr("10.1.0.2")
		}, "smaller pool"},
		{func(c *Config) { c.DHCP.Router = addr("10.0.1.1") }, "router"},
		{func(c *Config) { c.DHCP.LeaseTime = time.Second }, "leaseTime|1m0s"},
		{func(c *Config) { c.DHCP.LeaseTime = 200 * 365 * 24 * time.Hour }, "leaseTime|32 bits"},
		{func(c *Config) { c.DHCP.Domain = "not a domain" }, "domain"},
		{func(c *Config) { c.DHCP.DNS = []netip.Addr{addr("fe80::1")} }, "dns[0]"},
		{func(c *Config) { c.DHCP = DHCP{Disabled: true, PoolStart: addr("1.2.3.4")} }, ""},

		{func(c *Config) { c.Boot.Initramfs = "" }, "boot|initramfs"},
		{func(c *Config) { c.Boot.Kernel += "x" }, "boot|kernel|no such file"},
		{func(c *Config) { c.Boot.Kernel = c.LoaderDir }, "kernel|regular"},
		{func(c *Config) { c.Boot.Cmdline = "quiet || shell" }, "cmdline"},
		{func(c *Config) { c.LoaderDir += "x" }, "loaderDir"},
		{func(c *Config) { c.LoaderDir = c.Boot.Kernel }, "loaderDir|not a folder"},

		{machine(func(m *Machine) { m.Name = "web_1" }), "machines[0] (web_1)|host name"},
		{machine(func(m *Machine) { m.Name = "web1."; m.InitiatorName = "" }), "host name"},
		{machine(func(m *Machine) { m.MAC[0] |= 1 }), "multicast"},
		{machine(func(m *Machine) { m.IP = addr("10.0.1.5") }), "ip 10.0.1.5|10.0.0.0/24"},
		{machine(func(m *Machine) { m.IP = addr("10.0.0.1") }), "ip 10.0.0.1"},
		{machine(func(m *Machine) { m.IP, m.MAC = addr("10.0.0.7"), ibft.MAC{} }), "default machine"},
		{machine(func(m *Machine) { m.RootPaths[0] = "nfs:server:/export" }), "nfs:server"},
		{machine(func(m *Machine) { m.RootPaths[0] = "iscsi:10.0.0.1::70000::iqn.2026-01.com.example:d" }), "70000"},
		{machine(func(m *Machine) { m.RootPaths[0] += " || shell" }), "rootPaths[0]|space"},
		{machine(func(m *Machine) { m.RootPaths[0] += "${net0/mac}" }), "rootPaths[0]|expand"},
		{machine(func(m *Machine) { m.InitiatorName += "\nshell" }), "initiatorName"},
		{machine(func(m *Machine) { m.Mode = "floppy" }), "mode|floppy|sanboot"},
		{machine(func(m *Machine) { m.Mode, m.RootPaths = ModeSANBoot, nil }), "rootPaths"},
		{machine(func(m *Machine) { m.Mode, m.InitiatorName = ModeKernel, "" }), "initiatorName"},
		{func(c *Config) { *c = withMachine(*c, nil); c.Boot = Boot{} }, "kernel"},
		{func(c *Config) { *c = withMachine(*c, func(m *Machine) { m.Mode = ModeSANBoot }); c.Boot = Boot{} }, ""},
		{machine(func(m *Machine) { chap(m); m.InitiatorName = "" }), "initiatorName"},
		{func(c *Config) {
			*c = withMachine(*c, func(m *Machine) { chap(m); m.InitiatorName = "" })
			c.DHCP.Secrets = true
		}, ""},
		{func(c *Config) { *c = withMachine(*c, chap); c.DHCP.Disabled = true }, "ip"},
		{machine(func(m *Machine) { m.CHAPName = "web1" }), "CHAP"},
		{machine(func(m *Machine) { m.ReverseCHAPName, m.ReverseCHAPSecret = "t", "secret" }), "reverse CHAP"},
		{machine(func(m *Machine) { chap(m); m.RootPaths = nil }), "rootPaths"},
		{machine(func(m *Machine) { chap(m); m.Mode, m.CHAPName = ModeSANBoot, "web 1" }), "CHAP name"},
		{machine(func(m *Machine) { m.CHAPName, m.CHAPSecretFile = "web1", "/no/such/file" }), "chapSecretFile"},
		{machine(func(m *Machine) { chap(m); m.CHAPSecretFile = "/no/such/file" }), "given twice"},

		{func(c *Config) { *c = withMachine(withMachine(*c, nil), func(m *Machine) { m.Name = "web2" }) }, "mac 52:54:00:12:34:56|web1|web2"},
		{func(c *Config) { *c = withMachine(withMachine(*c, nil), func(m *Machine) { m.MAC = otherMAC }) }, "name web1"},
		{func(c *Config) {
			c.Machines = []Machine{{MAC: testMAC, IP: addr("10.0.0.7")}, {MAC: otherMAC, IP: addr("10.0.0.7")}}
		}, "ip 10.0.0.7"},
		{func(c *Config) { c.Machines = []Machine{{}, {}} }, "default"},
		{func(c *Config) { c.DHCP.LeaseTime = 1; c.LoaderDir += "x"; c.Machines = []Machine{{Mode: "x"}} }, "leaseTime|loaderDir|mode"},
	} {
		config := testConfig(t)
		c.change(&config)
		_, err := New(config)
		if c.want == "" {
			if err != nil {
				t.Errorf("refused: %v", err)
			}
			continue
		}
		for _, part := range strings.Split(c.want, "|") {
			wantError(t, err, part)
		}
	}
}

func TestDefaults(t *testing.T) {
	for _, c := range []struct{ addr, first, last string }{
		{"10.0.0.1/24", "10.0.0.128", "10.0.0.254"},
		{"192.168.1.9/30", "192.168.1.10", "192.168.1.10"},
		{"10.0.0.1/8", "10.255.0.0", "10.255.255.254"},
	} {
		config := testConfig(t)
		config.Addr = netip.MustParsePrefix(c.addr)
		s := newServer(t, config)
		if d := s.cfg.DHCP; d.PoolStart != addr(c.first) || d.PoolEnd != addr(c.last) || d.LeaseTime != 24*time.Hour {
			t.Errorf("%s: %s to %s for %s, want %s to %s", c.addr, d.PoolStart, d.PoolEnd, d.LeaseTime, c.first, c.last)
		}
	}
}

func TestSecretFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secret")
	writeFile(t, path, "from a file\n")
	c := withMachine(testConfig(t), func(m *Machine) { m.CHAPName, m.CHAPSecretFile = "web1", path })
	if got := newServer(t, c).machines.find(testMAC, addr("10.0.0.5")).CHAPSecret.Reveal(); got != "from a file" {
		t.Errorf("secret %q", got)
	}
	if c.Machines[0].CHAPSecret != "" {
		t.Error("New wrote into its caller's configuration")
	}
	writeFile(t, path, "\n")
	_, err := New(c)
	wantError(t, err, "empty")
}

func TestTemplates(t *testing.T) {
	c := testConfig(t)
	c.Machines = []Machine{{
		Name: "node-{mac}", InitiatorName: "iqn.2026-01.com.example:{name}",
		RootPaths: []string{"iscsi:10.0.0.1::::iqn.2026-01.com.example:{mac}.{ip}"},
	}}
	s := newServer(t, c)
	m := s.machines.find(otherMAC, addr("10.0.0.200"))
	got := strings.Join(append(m.RootPaths, m.Name, m.InitiatorName, m.label()), " ")
	want := "iscsi:10.0.0.1::::iqn.2026-01.com.example:52-54-00-99-99-99.10.0.0.200 node-52-54-00-99-99-99 " +
		"iqn.2026-01.com.example:node-52-54-00-99-99-99 node-52-54-00-99-99-99"
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// TestYAML decodes every setting by its name in a file, strictly.
func TestYAML(t *testing.T) {
	b, err := os.ReadFile("testdata/config.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var c Config
	if err := yaml.UnmarshalWithOptions(b, &c, yaml.Strict()); err != nil {
		t.Fatal(err)
	}
	m := c.Machines[0]
	if m.MAC != testMAC || m.IP != addr("10.0.0.20") || m.CHAPSecret.Reveal() != "secret-of-web1" || m.Mode != ModeKernel ||
		c.DHCP.LeaseTime != 8*time.Hour || c.DHCP.Router != addr("10.0.0.254") || c.HTTPPort != 8080 {
		t.Errorf("decoded %+v", c)
	}
	out, err := yaml.Marshal(c)
	if err != nil || strings.Contains(string(out), "secret-of-web1") {
		t.Errorf("printed with its secret (%v):\n%s", err, out)
	}
}
