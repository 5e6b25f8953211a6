package netboot

import (
	"net/netip"
	"path/filepath"
	"testing"
)

func TestScripts(t *testing.T) {
	other := filepath.Join(t.TempDir(), "vmlinuz")
	writeFile(t, other, "another kernel")
	for name, change := range map[string]func(*Config, *Machine){
		"image": func(*Config, *Machine) {},
		// The table carries the secrets, since DHCP may not.
		"image-chap":    func(_ *Config, m *Machine) { chap(m) },
		"image-secrets": func(c *Config, m *Machine) { chap(m); c.DHCP.Secrets = true },
		"kernel": func(c *Config, m *Machine) {
			m.Mode, m.Kernel, m.Cmdline = ModeKernel, other, "root=/dev/sda1  console=ttyS0,115200"
			c.HTTPPort, c.TFTPPort = 8080, 6969
		},
		"sanboot": func(_ *Config, m *Machine) {
			chap(m)
			m.Mode, m.ReverseCHAPName, m.ReverseCHAPSecret = ModeSANBoot, "target", "a b${c}"
			m.RootPaths = append(m.RootPaths, "iscsi:10.0.0.2::::iqn.2026-01.com.example:{name}")
		},
	} {
		c := withMachine(testConfig(t), nil)
		change(&c, &c.Machines[0])
		s := newServer(t, c)
		golden(t, name+".ipxe", []byte(s.script(s.machines.find(testMAC, netip.Addr{}))))
	}
	golden(t, "chain.ipxe", []byte(newServer(t, testConfig(t)).chainScript()))
}

func TestCheckToken(t *testing.T) {
	for _, ok := range []string{"a", "iscsi:10.0.0.1::::iqn.2026-01.com.example:d", "a#b", "a||b", "$x", `a\b`, "a;", "%20"} {
		if err := checkToken(ok); err != nil {
			t.Errorf("%q: %v", ok, err)
		}
	}
	for _, bad := range []string{"a b", "a\tb", "a\nb", "a\x00", "ä", "${x}", "||", "&&", ";", "#a", `a\`, "-a"} {
		if checkToken(bad) == nil {
			t.Errorf("%q: taken", bad)
		}
	}
}

func TestCheckCmdline(t *testing.T) {
	for _, ok := range []string{"", "quiet console=ttyS0,115200", `dyndbg="file x +p"`, "ip=${net0/ip}", "init=/a#b"} {
		if err := checkCmdline(ok); err != nil {
			t.Errorf("%q: %v", ok, err)
		}
	}
	for _, bad := range []string{"a || b", "a && b", "a ; b", "a #b", "a\x01", `a \`, `a\`} {
		if checkCmdline(bad) == nil {
			t.Errorf("%q: taken", bad)
		}
	}
}
