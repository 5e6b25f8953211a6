package boot

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/bootlun/bootlun/ibft"
	"github.com/vishvananda/netlink"
)

// ipAddrNoDAD is IFA_F_NODAD (linux/if_addr.h): use the address at once.
const ipAddrNoDAD = 0x02

// configureNIC brings up the interface that nic describes and gives it the
// table's addresses; on a VLAN it makes that interface first. It is safe to
// call again. It returns the name of the interface that carries the traffic.
func (m *machine) configureNIC(ctx context.Context, nic *ibft.NIC) (string, error) {
	link, err := waitLink(ctx, nic)
	if err != nil {
		return "", err
	}
	if err := bringUp(ctx, link); err != nil {
		return "", err
	}
	if nic.VLAN != 0 {
		if link, err = vlanLink(ctx, link, int(nic.VLAN)); err != nil {
			return "", err
		}
	}
	name := link.Attrs().Name
	if !nic.IP.IsValid() {
		if err := m.leaseAddress(ctx, link, nic); err != nil {
			return "", fmt.Errorf("the table gives this NIC no address: %w", err)
		}
	}
	if err := setAddress(link, nic); err != nil {
		return "", err
	}
	if err := writeResolvConf("/etc/resolv.conf", nic.PrimaryDNS, nic.SecondaryDNS); err != nil {
		return "", err
	}
	return name, nil
}

// waitLink waits until the driver has made the interface that nic names.
func waitLink(ctx context.Context, nic *ibft.NIC) (netlink.Link, error) {
	var link netlink.Link
	err := poll(ctx, func() (bool, error) {
		links, err := netlink.LinkList()
		if err != nil {
			return false, fmt.Errorf("list network interfaces: %w", err)
		}
		link = chooseLink(links, nic, pciAddressOf)
		return link != nil, nil
	})
	if err != nil {
		return nil, fmt.Errorf("no network interface has %s; is its driver in the image? %w", identity(nic), err)
	}
	return link, nil
}

// identity is what a table's NIC is known by.
func identity(nic *ibft.NIC) string {
	if nic.PCI == 0 {
		return "MAC " + nic.MAC.String()
	}
	return fmt.Sprintf("PCI address %s or MAC %s", nic.PCI, nic.MAC)
}

// chooseLink takes the interface at the table's PCI address, else the one with
// its MAC: firmware may give an iSCSI MAC that the driver does not show. A
// table that has neither means the only Ethernet interface that there is.
func chooseLink(links []netlink.Link, nic *ibft.NIC, pci func(name string) string) netlink.Link {
	var ethernet []netlink.Link
	for _, l := range links {
		if l.Type() == "device" && l.Attrs().EncapType == "ether" {
			ethernet = append(ethernet, l)
		}
	}
	var byMAC netlink.Link
	for _, l := range ethernet {
		sameMAC := bytes.Equal(l.Attrs().HardwareAddr, nic.MAC[:])
		if nic.PCI != 0 && pci(l.Attrs().Name) == "0000:"+nic.PCI.String() {
			return l
		}
		if sameMAC {
			byMAC = l
		}
	}
	if byMAC == nil && nic.PCI == 0 && nic.MAC == (ibft.MAC{}) && len(ethernet) == 1 {
		return ethernet[0]
	}
	return byMAC
}

// pciAddressOf gives the PCI address ("0000:00:03.0") of an interface's
// device; a virtio device is a child of its PCI device.
func pciAddressOf(name string) string {
	path, err := filepath.EvalSymlinks(filepath.Join("/sys/class/net", name, "device"))
	if err != nil {
		return ""
	}
	if base := filepath.Base(path); !strings.HasPrefix(base, "virtio") {
		return base
	}
	return filepath.Base(filepath.Dir(path))
}

// bringUp sets the link up and waits for its carrier.
func bringUp(ctx context.Context, link netlink.Link) error {
	name := link.Attrs().Name
	if err := netlink.LinkSetUp(link); err != nil {
		return fmt.Errorf("set %s up: %w", name, err)
	}
	err := poll(ctx, func() (bool, error) {
		carrier, err := os.ReadFile(filepath.Join("/sys/class/net", name, "carrier"))
		return err == nil && strings.TrimSpace(string(carrier)) == "1", nil
	})
	if err != nil {
		return fmt.Errorf("%s has no carrier; check its cable and switch port: %w", name, err)
	}
	return nil
}

func vlanLink(ctx context.Context, parent netlink.Link, id int) (netlink.Link, error) {
	name := fmt.Sprintf("%s.%d", parent.Attrs().Name, id)
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.ParentIndex = name, parent.Attrs().Index
	err := netlink.LinkAdd(&netlink.Vlan{LinkAttrs: attrs, VlanId: id})
	if err != nil && !errors.Is(err, syscall.EEXIST) {
		return nil, fmt.Errorf("make VLAN interface %s (needs module 8021q): %w", name, err)
	}
	link, err := netlink.LinkByName(name)
	if err != nil {
		return nil, err
	}
	return link, bringUp(ctx, link)
}

// setAddress gives link the table's address and its default route. A gateway
// that the prefix does not cover is reached on the link.
func setAddress(link netlink.Link, nic *ibft.NIC) error {
	name := link.Attrs().Name
	prefix := nic.Prefix()
	if !prefix.IsValid() {
		return fmt.Errorf("%s: prefix length %d does not fit address %s", name, nic.PrefixLen, nic.IP)
	}
	addr := &netlink.Addr{IPNet: ipNet(prefix)}
	if nic.IP.Is6() {
		addr.Flags = ipAddrNoDAD
	}
	if err := netlink.AddrReplace(link, addr); err != nil {
		return fmt.Errorf("give %s the address %s: %w", name, prefix, err)
	}
	if !nic.Gateway.IsValid() {
		return nil
	}
	route := &netlink.Route{LinkIndex: link.Attrs().Index, Gw: nic.Gateway.AsSlice()}
	if !prefix.Masked().Contains(nic.Gateway) {
		route.Flags = int(netlink.FLAG_ONLINK)
	}
	if err := netlink.RouteReplace(route); err != nil {
		return fmt.Errorf("set the default route of %s by %s: %w", name, nic.Gateway, err)
	}
	return nil
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

func writeResolvConf(path string, servers ...netip.Addr) error {
	var text strings.Builder
	for _, s := range servers {
		if s.IsValid() {
			fmt.Fprintf(&text, "nameserver %s\n", s)
		}
	}
	if text.Len() == 0 {
		return nil
	}
	return os.WriteFile(path, []byte(text.String()), 0o644)
}

// poll calls done until it reports true or an error, or ctx ends. The pauses
// grow from 2 to 100 ms: what it waits for is mostly there at once.
func poll(ctx context.Context, done func() (bool, error)) error {
	for pause := 2 * time.Millisecond; ; pause = min(2*pause, 100*time.Millisecond) {
		if ok, err := done(); ok || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(pause):
		}
	}
}
