package netboot

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/bootlun/bootlun/ibft"
)

// checked returns the configuration with its defaults filled in and its secrets read, or everything that is wrong
// with it, each error naming the field.
func (c Config) checked() (Config, error) {
	if err := checkAddr(c.Addr); err != nil {
		return c, fmt.Errorf("netboot: addr %q: %w", c.Addr, err)
	}
	if c.HTTPPort == 0 {
		c.HTTPPort = DefaultHTTPPort
	}
	if c.TFTPPort == 0 {
		c.TFTPPort = DefaultTFTPPort
	}
	var errs []error
	fail := func(field string, err error) {
		if err != nil {
			errs = append(errs, fmt.Errorf("netboot: %s: %w", field, err))
		}
	}
	c.DHCP = c.DHCP.withDefaults(c.Addr)
	fail("dhcp", c.DHCP.check(c.Addr.Addr()))
	fail("loaderDir", checkDir(c.LoaderDir))
	fail("boot", c.Boot.check())
	c.Machines = append([]Machine(nil), c.Machines...)
	for i := range c.Machines {
		m := &c.Machines[i]
		field := fmt.Sprintf("machines[%d] (%s)", i, m.title())
		fail(field, m.readSecrets())
		*m = m.withDefaults(c.Boot)
		fail(field, m.check(c.DHCP, c.Addr.Addr()))
	}
	fail("machines", checkUnique(c.Machines))
	return c, errors.Join(errs...)
}

func checkAddr(p netip.Prefix) error {
	switch {
	case !p.IsValid():
		return errors.New("give the server's own address on the boot LAN with its prefix length, such as 10.0.0.1/24")
	case !p.Addr().Is4():
		return errors.New("not IPv4: PXE and iPXE machines are served over IPv4")
	case p.Bits() < 8 || p.Bits() > 30:
		return errors.New("prefix length not between 8 and 30")
	case !usable(p.Masked(), p.Addr()):
		return errors.New("is the network's own or its broadcast address: use one of a host")
	}
	return nil
}

// usable reports whether a host of the subnet can have the address.
func usable(subnet netip.Prefix, a netip.Addr) bool {
	return subnet.Contains(a) && a != subnet.Masked().Addr() && a != lastAddr(subnet)
}

// lastAddr is an IPv4 subnet's broadcast address.
func lastAddr(p netip.Prefix) netip.Addr { return addrAt(p.Masked().Addr(), 1<<(32-p.Bits())-1) }

func (d DHCP) withDefaults(addr netip.Prefix) DHCP {
	if !d.leases() {
		d.Subnet, d.PoolStart, d.PoolEnd = addr, netip.Addr{}, netip.Addr{}
	}
	if !d.Subnet.IsValid() {
		d.Subnet = addr
	}
	d.Subnet = d.Subnet.Masked()
	if !d.PoolStart.IsValid() && !d.PoolEnd.IsValid() && d.Subnet.Addr().Is4() && d.Subnet.Bits() <= 30 {
		last := lastAddr(d.Subnet)
		half := min(1<<(31-d.Subnet.Bits()), maxPool)
		d.PoolStart, d.PoolEnd = addrAt(last, -half+1), addrAt(last, -1)
	}
	if d.LeaseTime == 0 {
		d.LeaseTime = DefaultLeaseTime
	}
	return d
}

func (d DHCP) check(server netip.Addr) error {
	switch {
	case d.Disabled && d.Proxy:
		return errors.New("disabled and proxy: the first has no DHCP at all, choose one")
	case !d.leases():
		return nil
	case !d.Subnet.Addr().Is4() || d.Subnet.Bits() > 30:
		return fmt.Errorf("subnet %s: want an IPv4 network with a prefix length of at most 30", d.Subnet)
	case !usable(d.Subnet, server):
		return fmt.Errorf("subnet %s: the server's own address %s is not one of its hosts", d.Subnet, server)
	case !usable(d.Subnet, d.PoolStart):
		return fmt.Errorf("poolStart %s: not an address of a host in subnet %s", d.PoolStart, d.Subnet)
	case !usable(d.Subnet, d.PoolEnd):
		return fmt.Errorf("poolEnd %s: not an address of a host in subnet %s", d.PoolEnd, d.Subnet)
	case d.PoolEnd.Less(d.PoolStart):
		return fmt.Errorf("poolEnd %s: is before poolStart %s", d.PoolEnd, d.PoolStart)
	case distance(d.PoolStart, d.PoolEnd) >= maxPool:
		return fmt.Errorf("poolStart %s to poolEnd %s: more than %d addresses, choose a smaller pool",
			d.PoolStart, d.PoolEnd, maxPool)
	case d.Router.IsValid() && !usable(d.Subnet, d.Router):
		return fmt.Errorf("router %s: not an address of a host in subnet %s", d.Router, d.Subnet)
	case d.LeaseTime < minLeaseTime:
		return fmt.Errorf("leaseTime %s: want at least %s", d.LeaseTime, minLeaseTime)
	case d.LeaseTime/time.Second >= 1<<32-1:
		return fmt.Errorf("leaseTime %s: does not fit into the protocol's 32 bits of seconds", d.LeaseTime)
	case d.Domain != "":
		if err := checkHostname(d.Domain); err != nil {
			return fmt.Errorf("domain %q: %w", d.Domain, err)
		}
	}
	for i, a := range d.DNS {
		if !a.Is4() {
			return fmt.Errorf("dns[%d] %q: want an IPv4 address", i, a)
		}
	}
	return nil
}

func (b Boot) check() error {
	if (b.Kernel == "") != (b.Initramfs == "") {
		return errors.New("kernel and initramfs go together: give both (bootlun image build makes them) or neither")
	}
	return errors.Join(checkFile("kernel", b.Kernel), checkFile("initramfs", b.Initramfs), checkCmdline(b.Cmdline))
}

func (m Machine) title() string {
	switch {
	case m.Name != "":
		return m.Name
	case m.isDefault():
		return "the default machine"
	}
	return m.MAC.String()
}

// readSecrets takes the secrets that are given by files.
func (m *Machine) readSecrets() error {
	for _, s := range []struct {
		field, file string
		secret      *ibft.Secret
	}{
		{"chapSecretFile", m.CHAPSecretFile, &m.CHAPSecret},
		{"reverseChapSecretFile", m.ReverseCHAPSecretFile, &m.ReverseCHAPSecret},
	} {
		if s.file == "" {
			continue
		}
		if *s.secret != "" {
			return fmt.Errorf("%s: the secret is given twice, leave the file or the value out", s.field)
		}
		b, err := os.ReadFile(s.file)
		if err != nil {
			return fmt.Errorf("%s: %w", s.field, err)
		}
		*s.secret = ibft.Secret(strings.TrimRight(string(b), " \t\r\n"))
		if *s.secret == "" {
			return fmt.Errorf("%s: %s is empty", s.field, s.file)
		}
	}
	return nil
}

func (m Machine) check(d DHCP, server netip.Addr) error {
	if m.IP.IsValid() {
		switch {
		case m.isDefault():
			return fmt.Errorf("ip %s: the default machine is many machines, they cannot share an address", m.IP)
		case !usable(d.Subnet, m.IP) || m.IP == server:
			return fmt.Errorf("ip %s: not an address that a machine can have in subnet %s", m.IP, d.Subnet)
		}
	}
	if m.MAC[0]&1 != 0 {
		return fmt.Errorf("mac %s: is a multicast address, no NIC has it", m.MAC)
	}
	if err := m.checkMode(); err != nil {
		return err
	}
	if m.getsTable(d) && m.InitiatorName == "" {
		return errors.New("needs an initiatorName, such as iqn.2026-01.com.example:{name}: its kernel is handed a table")
	}
	if m.hasSecrets() && !d.leases() && !m.IP.IsValid() {
		return errors.New("needs its ip: where another server gives addresses out, its secrets go to a configured address only")
	}
	filled := m.fill(sampleMAC(m.MAC), d.Subnet.Addr().Next())
	if filled.Name != "" {
		if err := checkHostname(filled.Name); err != nil {
			return fmt.Errorf("name %q: %w", m.Name, err)
		}
	}
	if err := m.checkHandoff(); err != nil {
		return err
	}
	if err := checkCmdline(m.cmdline()); err != nil {
		return err
	}
	return filled.checkTable()
}

func sampleMAC(mac ibft.MAC) ibft.MAC {
	if mac == (ibft.MAC{}) {
		return ibft.MAC{0x52, 0x54, 0, 0xff, 0xff, 0xff}
	}
	return mac
}

func (m Machine) checkMode() error {
	switch m.Mode {
	case ModeImage, ModeKernel:
		if m.Kernel == "" || m.Initramfs == "" {
			return fmt.Errorf("mode %s: needs a kernel and an initramfs, the machine's own or boot's", m.Mode)
		}
		if err := errors.Join(checkFile("kernel", m.Kernel), checkFile("initramfs", m.Initramfs)); err != nil {
			return err
		}
	case ModeSANBoot:
	default:
		return fmt.Errorf("mode %q: want %s, %s or %s", m.Mode, ModeImage, ModeKernel, ModeSANBoot)
	}
	if m.Mode != ModeImage && len(m.RootPaths) == 0 {
		return fmt.Errorf("mode %s: needs rootPaths, such as iscsi:10.0.0.1::::iqn.2026-01.com.example:disk", m.Mode)
	}
	return nil
}

// checkTable makes the machine's table as it would be made for the machine itself.
func (m Machine) checkTable() error {
	if m.InitiatorName != "" {
		if err := checkToken(m.InitiatorName); err != nil {
			return fmt.Errorf("initiatorName %q: %w", m.InitiatorName, err)
		}
	} else {
		m.InitiatorName = "iqn.2026-01.com.example:" + hyphened(m.MAC)
	}
	for i, p := range m.RootPaths {
		if err := checkToken(p); err != nil {
			return fmt.Errorf("rootPaths[%d] %q: %w", i, p, err)
		}
	}
	if m.Mode == ModeSANBoot {
		for _, name := range []string{m.CHAPName, m.ReverseCHAPName} {
			if name != "" && checkToken(name) != nil {
				return fmt.Errorf("CHAP name %q: %w", name, checkToken(name))
			}
		}
	}
	if len(m.RootPaths) == 0 {
		if m.CHAPName != "" || m.ReverseCHAPName != "" || m.hasSecrets() {
			return errors.New("chapName: CHAP without rootPaths has no target to log in to; give rootPaths or leave CHAP out")
		}
		return nil
	}
	table, err := m.settings(ibft.NIC{MAC: m.MAC}).Table(context.Background(), anyAddr)
	if err != nil {
		return err
	}
	_, err = table.Build(ibft.BuildOptions{})
	return err
}

// anyAddr stands in for a resolver where only the form of a root path counts.
func anyAddr(context.Context, string) ([]netip.Addr, error) {
	return []netip.Addr{netip.AddrFrom4([4]byte{192, 0, 2, 1})}, nil
}

func checkUnique(list []Machine) error {
	seen := make(map[string]string)
	for _, m := range list {
		keys := []string{"mac " + m.MAC.String()}
		if m.isDefault() {
			keys = []string{"default (a machine without mac)"}
		}
		if m.IP.IsValid() {
			keys = append(keys, "ip "+m.IP.String())
		}
		if m.Name != "" {
			keys = append(keys, "name "+m.Name)
		}
		for _, k := range keys {
			if other, dup := seen[k]; dup {
				return fmt.Errorf("%s: is given to %s and to %s", k, other, m.title())
			}
			seen[k] = m.title()
		}
	}
	return nil
}

// checkHostname wants a name that DHCP clients take: RFC 1123, 2.1.
func checkHostname(name string) error {
	if len(name) > 253 {
		return errors.New("longer than 253 characters")
	}
	for label := range strings.SplitSeq(name, ".") {
		ok := label != "" && len(label) <= 63 && label[0] != '-' && label[len(label)-1] != '-'
		for _, r := range label {
			ok = ok && (r == '-' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z')
		}
		if !ok {
			return errors.New("not a host name: letters, digits and hyphens, in parts of at most 63 joined by dots")
		}
	}
	return nil
}

func checkFile(field, path string) error {
	if path == "" {
		return nil
	}
	info, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("%s: %w", field, err)
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s: %s is not a regular file", field, path)
	}
	return nil
}

func checkDir(path string) error {
	if path == "" {
		return nil
	}
	info, err := os.Stat(path)
	if err == nil && !info.IsDir() {
		err = fmt.Errorf("%s is not a folder", path)
	}
	return err
}

// defaultResolver asks the operating system.
func defaultResolver(ctx context.Context, host string) ([]netip.Addr, error) {
	return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
}
