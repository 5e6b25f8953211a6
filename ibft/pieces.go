package ibft

import (
	"cmp"
	"fmt"
	"slices"
)

// pieces returns every structure with its slot, in the order of slots, and how many slots there are.
//
// NIC and target n go to the n-th pair of slots. A structure carried through goes to the slot it had if that is
// free, else behind all others.
func (t *Table) pieces() (pieces []piece, slots int, err error) {
	taken := make(map[int]bool)
	slots = fixedSlots
	add := func(p piece) {
		taken[p.slot] = true
		slots = max(slots, p.slot+1)
		pieces = append(pieces, p)
	}
	if t.Initiator != nil {
		add(t.Initiator.piece())
	}
	for i := range t.NICs {
		add(t.NICs[i].piece(i))
	}
	for i := range t.Targets {
		add(t.Targets[i].piece(i))
	}
	for i, o := range t.Other {
		p, err := o.piece(i)
		if err != nil {
			return nil, 0, err
		}
		if taken[p.slot] {
			p.slot = slots
		}
		add(p)
	}
	if slots > maxSlots {
		return nil, 0, fmt.Errorf("control: %d structures, at most %d are possible", slots, maxSlots)
	}
	slices.SortFunc(pieces, func(a, b piece) int { return cmp.Compare(a.slot, b.slot) })
	return pieces, slots, nil
}

func (n *Initiator) piece() piece {
	return piece{
		name: "initiator", slot: slotInitiator,
		id: idInitiator, index: n.Index, flags: byte(n.Flags), length: initiatorLen,
		fill: n.fill,
	}
}

func (n *Initiator) fill(_ []byte, w *fieldWriter) {
	w.addr("iSNS server", initiatorISNS, n.ISNS)
	w.addr("SLP server", initiatorSLP, n.SLP)
	w.addr("primary RADIUS server", initiatorPrimaryRADIUS, n.PrimaryRADIUS)
	w.addr("secondary RADIUS server", initiatorSecondaryRADIUS, n.SecondaryRADIUS)
	w.string("name", initiatorName, n.Name)
}

func (n *NIC) piece(i int) piece {
	return piece{
		name: fmt.Sprintf("NIC %d", i), slot: slotFirstNIC + 2*i,
		id: idNIC, index: n.Index, flags: byte(n.Flags), length: nicLen,
		fill: n.fill,
	}
}

func (n *NIC) fill(s []byte, w *fieldWriter) {
	w.ipv4 = n.IP.Is4()
	w.addr("IP address", nicIP, n.IP)
	s[nicPrefixLen], s[nicOrigin] = n.PrefixLen, byte(n.Origin)
	w.addr("gateway", nicGateway, n.Gateway)
	w.addr("primary DNS server", nicPrimaryDNS, n.PrimaryDNS)
	w.addr("secondary DNS server", nicSecondaryDNS, n.SecondaryDNS)
	w.addr("DHCP server", nicDHCP, n.DHCP)
	putU16(s, nicVLAN, n.VLAN)
	copy(s[nicMAC:], n.MAC[:])
	putU16(s, nicPCI, uint16(n.PCI))
	w.string("hostname", nicHostname, n.Hostname)
}

func (t *Target) piece(i int) piece {
	return piece{
		name: fmt.Sprintf("target %d", i), slot: slotFirstNIC + 1 + 2*i,
		id: idTarget, index: t.Index, flags: byte(t.Flags), length: targetLen,
		fill: t.fill,
	}
}

func (t *Target) fill(s []byte, w *fieldWriter) {
	w.addr("IP address", targetIP, t.IP)
	putU16(s, targetPort, t.Port)
	copy(s[targetLUN:], t.LUN[:])
	s[targetCHAP], s[targetNIC] = byte(t.CHAP), t.NIC
	w.string("name", targetName, t.Name)
	w.string("CHAP name", targetCHAPName, t.CHAPName)
	w.string("CHAP secret", targetCHAPSecret, string(t.CHAPSecret))
	w.string("reverse CHAP name", targetReverseCHAPName, t.ReverseCHAPName)
	w.string("reverse CHAP secret", targetReverseCHAPSecret, string(t.ReverseCHAPSecret))
}

func (o Structure) piece(i int) (piece, error) {
	name := fmt.Sprintf("carried structure %d", i)
	if len(o.Bytes) < structHdrLen || len(o.Bytes) > 0xffff || int(getU16(o.Bytes, structLength)) != len(o.Bytes) {
		return piece{}, fmt.Errorf("%s: its header does not say its length, %d bytes", name, len(o.Bytes))
	}
	if o.Slot < 0 || o.Slot >= maxSlots {
		return piece{}, fmt.Errorf("%s: slot %d, want 0 to %d", name, o.Slot, maxSlots-1)
	}
	return piece{
		name: name, slot: o.Slot, length: len(o.Bytes),
		fill: func(s []byte, _ *fieldWriter) { copy(s, o.Bytes) },
	}, nil
}
