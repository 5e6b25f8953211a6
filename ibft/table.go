package ibft

import (
	"fmt"
	"net/netip"
	"strings"
)

// Table is one iSCSI Boot Firmware Table. The zero value is an empty table that builds.
type Table struct {
	// Signature is how the table signs itself; empty means SignatureIBFT.
	Signature Signature `json:"signature,omitzero"`
	// OEMID (at most 6 bytes) and OEMTableID (at most 8) name who made the table. Trailing NULs are left out.
	OEMID      string `json:"oem_id,omitzero"`
	OEMTableID string `json:"oem_table_id,omitzero"`
	// Reserved is the header's tail, at most 24 bytes: as an ACPI reader sees it, OEM revision, creator ID and
	// creator revision, then 12 bytes of nothing. Trailing NULs are left out.
	Reserved Bytes `json:"reserved,omitzero"`
	// Control are the flags of the control structure.
	Control ControlFlags `json:"control,omitzero"`

	Initiator *Initiator `json:"initiator,omitzero"`
	NICs      []NIC      `json:"nics,omitzero"`
	Targets   []Target   `json:"targets,omitzero"`
	// Other are the structures carried through unread: extensions, unknown ids, lengths other than the
	// specification's (which Linux skips too), and initiators after the first.
	Other []Structure `json:"other,omitzero"`

	// raw is what Parse read, exactly as long as the header says. It holds secrets: behind a pointer no verb of
	// package fmt prints it.
	raw *string
}

// String returns what the table amounts to, in a line: who, and the usable paths to the disk, as root paths. It holds
// no secrets.
func (t *Table) String() string {
	who := "nobody"
	if t.Initiator != nil && t.Initiator.Name != "" {
		who = t.Initiator.Name
	}
	var paths []string
	for _, p := range t.Paths() {
		paths = append(paths, p.String())
	}
	if len(paths) == 0 {
		return who + " to nowhere"
	}
	return who + " to " + strings.Join(paths, ", ")
}

// Initiator is who the machine is to its targets (iBFT, 1.4.5). A zero address is an absent one.
type Initiator struct {
	Index           uint8          `json:"index"`
	Flags           InitiatorFlags `json:"flags"`
	ISNS            netip.Addr     `json:"isns,omitzero"`
	SLP             netip.Addr     `json:"slp,omitzero"`
	PrimaryRADIUS   netip.Addr     `json:"primary_radius,omitzero"`
	SecondaryRADIUS netip.Addr     `json:"secondary_radius,omitzero"`
	Name            string         `json:"name,omitzero"`
}

// String returns the initiator's name and flags.
func (n Initiator) String() string { return fmt.Sprintf("%s (%s)", n.Name, n.Flags) }

// NIC is one network interface and its configuration (iBFT, 1.4.6). A zero address is an absent one.
type NIC struct {
	Index        uint8      `json:"index"`
	Flags        NICFlags   `json:"flags"`
	IP           netip.Addr `json:"ip,omitzero"`
	PrefixLen    uint8      `json:"prefix_len,omitzero"`
	Origin       Origin     `json:"origin,omitzero"`
	Gateway      netip.Addr `json:"gateway,omitzero"`
	PrimaryDNS   netip.Addr `json:"primary_dns,omitzero"`
	SecondaryDNS netip.Addr `json:"secondary_dns,omitzero"`
	DHCP         netip.Addr `json:"dhcp,omitzero"`
	// VLAN is the tag's VLAN identifier; 0 means untagged.
	VLAN     uint16  `json:"vlan,omitzero"`
	MAC      MAC     `json:"mac,omitzero"`
	PCI      PCIAddr `json:"pci,omitzero"`
	Hostname string  `json:"hostname,omitzero"`
}

// String returns the NIC's Ethernet and IP address, and its flags.
func (n NIC) String() string {
	summary := n.MAC.String()
	if n.IP.IsValid() {
		summary += fmt.Sprintf(" %s/%d", n.IP, n.PrefixLen)
	}
	return fmt.Sprintf("%s (%s)", summary, n.Flags)
}

// Prefix returns the NIC's address with its prefix length, invalid when either is absent or out of range.
func (n *NIC) Prefix() netip.Prefix {
	if !n.IP.IsValid() {
		return netip.Prefix{}
	}
	return netip.PrefixFrom(n.IP, int(n.PrefixLen))
}

// Target is one LUN of one target at one portal, and how to log in there (iBFT, 1.4.7).
type Target struct {
	Index uint8       `json:"index"`
	Flags TargetFlags `json:"flags"`
	IP    netip.Addr  `json:"ip,omitzero"`
	Port  uint16      `json:"port,omitzero"`
	LUN   LUN         `json:"lun"`
	CHAP  CHAPType    `json:"chap,omitzero"`
	// NIC is the Index of the NIC that reaches this target.
	NIC               uint8  `json:"nic"`
	Name              string `json:"name,omitzero"`
	CHAPName          string `json:"chap_name,omitzero"`
	CHAPSecret        Secret `json:"chap_secret,omitzero"`
	ReverseCHAPName   string `json:"reverse_chap_name,omitzero"`
	ReverseCHAPSecret Secret `json:"reverse_chap_secret,omitzero"`
}

// Portal returns the target's address and port.
func (t *Target) Portal() netip.AddrPort { return netip.AddrPortFrom(t.IP, t.Port) }

// String returns the target's name, LUN, portal and flags. It holds no secrets, and so nothing that prints a target
// does.
func (t Target) String() string {
	return fmt.Sprintf("%s LUN %s at %s (%s)", t.Name, t.LUN, t.Portal(), t.Flags)
}

// Structure is a structure carried through unread.
type Structure struct {
	// Slot is its place in the control structure: 0 extensions, 1 initiator, 2 NIC 0, 3 target 0, 4 NIC 1,
	// 5 target 1, and from 6 on the expansion slots.
	Slot int `json:"slot"`
	// Bytes is the whole structure, from its id on.
	Bytes Bytes `json:"bytes"`
}
