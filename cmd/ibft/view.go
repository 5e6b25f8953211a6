package main

import (
	"bytes"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/bootlun/bootlun/ibft"
	"github.com/bootlun/bootlun/internal/cli"
)

// view prints the first of the tables for people, and where the others are.
func view(std cli.IO, found []ibft.Found, reveal bool) error {
	v := viewer{std: std, reveal: reveal}
	t := found[0].Table
	v.head("Table", found[0].Source)
	v.row("signature", string(t.Signature))
	v.row("made by", strings.TrimSpace(t.OEMID+" "+t.OEMTableID))
	if t.Control != 0 {
		v.row("flags", t.Control.String())
	}
	for _, other := range found[1:] {
		v.row("also at", other.Source)
	}
	if t.Initiator != nil {
		v.initiator(t.Initiator)
	}
	for i := range t.NICs {
		v.nic(&t.NICs[i])
	}
	for i := range t.Targets {
		v.target(&t.Targets[i])
	}
	for _, o := range t.Other {
		v.head("Structure", fmt.Sprintf("in slot %d, not understood", o.Slot))
		v.row("bytes", fmt.Sprintf("%x", []byte(o.Bytes)))
	}
	v.paths(t.Paths())
	_, err := std.Out.Write(v.out.Bytes())
	return err
}

type viewer struct {
	std    cli.IO
	out    bytes.Buffer
	reveal bool
}

func (v *viewer) head(kind, what string) {
	if v.out.Len() > 0 {
		v.out.WriteByte('\n')
	}
	fmt.Fprintf(&v.out, "%s %s\n", v.std.Paint(cli.Bold, kind), cli.Printable(what))
}

// row prints one field, nothing for an absent one.
func (v *viewer) row(name, value string) {
	if value != "" {
		fmt.Fprintf(&v.out, "  %-17s %s\n", name, cli.Printable(value))
	}
}

func (v *viewer) addr(name string, addr netip.Addr) {
	if addr.IsValid() {
		v.row(name, addr.String())
	}
}

func (v *viewer) secret(name string, s ibft.Secret) {
	if v.reveal {
		v.row(name, s.Reveal())
	} else {
		v.row(name, s.String())
	}
}

func (v *viewer) initiator(n *ibft.Initiator) {
	v.head("Initiator", n.Flags.String())
	v.row("name", n.Name)
	v.addr("iSNS server", n.ISNS)
	v.addr("SLP server", n.SLP)
	v.addr("RADIUS server", n.PrimaryRADIUS)
	v.addr("RADIUS server 2", n.SecondaryRADIUS)
}

func (v *viewer) nic(n *ibft.NIC) {
	v.head(fmt.Sprintf("NIC %d", n.Index), n.Flags.String())
	v.row("MAC", n.MAC.String())
	v.row("PCI", n.PCI.String())
	if n.IP.IsValid() {
		v.row("address", fmt.Sprintf("%s/%d (%s)", n.IP, n.PrefixLen, n.Origin))
	}
	v.addr("gateway", n.Gateway)
	v.addr("DNS server", n.PrimaryDNS)
	v.addr("DNS server 2", n.SecondaryDNS)
	v.addr("DHCP server", n.DHCP)
	if n.VLAN != 0 {
		v.row("VLAN", strconv.Itoa(int(n.VLAN)))
	}
	v.row("host name", n.Hostname)
}

func (v *viewer) target(n *ibft.Target) {
	v.head(fmt.Sprintf("Target %d", n.Index), n.Flags.String())
	v.row("name", n.Name)
	if n.IP.IsValid() {
		v.row("portal", n.Portal().String())
	}
	v.row("LUN", n.LUN.String())
	v.row("by NIC", strconv.Itoa(int(n.NIC)))
	v.row("authentication", n.CHAP.String())
	v.row("CHAP name", n.CHAPName)
	v.secret("CHAP secret", n.CHAPSecret)
	v.row("reverse name", n.ReverseCHAPName)
	v.secret("reverse secret", n.ReverseCHAPSecret)
}

func (v *viewer) paths(paths []ibft.Path) {
	v.head("Paths", fmt.Sprintf("%d usable, the preferred one first", len(paths)))
	for _, p := range paths {
		root := ibft.RootPath{Server: p.Target.IP.String(), Port: p.Target.Port, LUN: p.Target.LUN, Target: p.Target.Name}
		v.row(fmt.Sprintf("NIC %d > target %d", p.NIC.Index, p.Target.Index), root.String())
	}
}
