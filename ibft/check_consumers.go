package ibft

import (
	"encoding/binary"
	"net/netip"
	"slices"
)

// consume judges the table as c.consumer does.
func (c *checker) consume() {
	switch c.consumer {
	case ConsumerLinux, ConsumerLinuxBefore5_6:
		c.linux()
	case ConsumerOpenISCSI:
		c.openISCSI()
	case ConsumerDracut:
		c.dracut()
	case ConsumerFreeBSD:
		c.freeBSD()
	case ConsumerWindows:
		c.windows()
	case ConsumerESXi:
		c.esxi()
	case ConsumerXen:
		c.xen()
	case ConsumerQEMU:
		c.qemu()
	case ConsumerEarlyCPIO:
		c.earlyCPIO()
	}
}

// fileLength returns the length that the header tells, and whether the data is longer, shorter (-1) or just that.
func (c *checker) fileLength() (length uint32, longer int) {
	length = binary.LittleEndian.Uint32(c.data[hdrLength:])
	switch n := uint64(len(c.data)); {
	case n < uint64(length):
		return length, -1
	case n > uint64(length):
		return length, 1
	}
	return length, 0
}

// linux follows ibft_check_device and ibft_register_kobjects.
func (c *checker) linux() {
	if Signature(c.data[:4]) == SignatureACPI {
		c.find(linuxScanSignature, headerAt(0, 4), "signature IBFT: Linux finds it by ACPI only")
	}
	if !c.linuxHeader() {
		return
	}
	length := len(c.table)
	control := c.table[headerLen:]
	for slot := 1; slot < c.slots; slot++ {
		offset := int(getU16(control, controlSlots+2*slot))
		at := controlAt(controlSlots+2*slot, 2)
		switch {
		case offset == 0:
		case offset >= length:
			c.find(linuxSlotRange, at, "Linux skips slot %d: offset %#x, the table ends at %#x", slot, offset, length)
		case offset >= length-headerLen:
			c.find(linuxSlotTail, at, "Linux skips slot %d: offset %#x, and it reads none from %#x on, the table's length less 48",
				slot, offset, length-headerLen)
		}
	}
	c.linuxStructures()
}

// linuxHeader judges what makes Linux refuse the table as a whole, and says whether it goes on to the structures.
func (c *checker) linuxHeader() bool {
	before := len(c.found)
	refuse := func(at place, format string, a ...any) {
		c.find(linuxRefuses, at, "Linux refuses the table: "+format, a...)
	}
	length, longer := c.fileLength()
	if !Signature(c.data[:4]).known() {
		refuse(headerAt(0, 4), "it looks for iBFT, IBFT and BIFT")
	}
	if longer < 0 || length < headerLen+controlLen {
		refuse(headerAt(hdrLength, 4), "length %d, and %d bytes are at hand", length, len(c.data))
	}
	if rev := c.data[hdrRevision]; rev != 1 {
		refuse(headerAt(hdrRevision, 1), "revision %d, wants 1", rev)
	}
	if sum(c.table) != 0 {
		refuse(headerAt(hdrChecksum, 1), "the checksum is wrong")
	}
	control := c.table[headerLen:]
	if id := control[0]; id != idControl {
		refuse(controlAt(0, 1), "id %d of the control structure, wants %d", id, idControl)
	}
	if i := control[structIndex]; i != 0 {
		refuse(controlAt(structIndex, 1), "index %d of the control structure, wants 0", i)
	}
	switch n := getU16(control, structLength); {
	case n < controlLen:
		refuse(controlAt(structLength, 2), "length %d of the control structure, wants %d at least", n, controlLen)
	case n > controlLen && c.consumer == ConsumerLinuxBefore5_6:
		c.find(linuxExpansion, controlAt(structLength, 2), "Linux refuses the table: length %d of the control structure, wants %d", n, controlLen)
	}
	return len(c.found) == before
}

// linuxReads says whether Linux looks at a structure at all.
func (c *checker) linuxReads(e entry) bool { return e.slot > 0 && e.offset < len(c.table)-headerLen }

// linuxStructures follows ibft_create_kobject.
func (c *checker) linuxStructures() {
	names := map[byte]string{idInitiator: "initiator", idNIC: "ethernet", idTarget: "target"}
	type name struct{ id, index byte }
	seen := make(map[name]bool)
	for _, e := range c.entries {
		want := specLength(e.id)
		if want == 0 || !c.linuxReads(e) {
			continue
		}
		if e.length != want {
			c.find(linuxSkips, e.at(structLength, 2), "Linux skips this %s: length %d, wants %d", e.kind(), e.length, want)
			continue
		}
		n := name{e.id, e.index}
		if e.id == idInitiator {
			n.index = 0 // its directory has no number
		}
		if seen[n] {
			c.find(linuxIndexClash, e.at(structIndex, 1), "%s%d is there already, and /sys/firmware/ibft goes away", names[e.id], e.index)
		}
		seen[n] = true
		if e.bytes != nil {
			c.linuxStrings(e)
		}
	}
}

func (c *checker) linuxStrings(e entry) {
	for _, s := range stringFields(e.id) {
		length, offset := int(getU16(e.bytes, s.at)), int(getU16(e.bytes, s.at+2))
		if length > 0 && offset+length > len(c.table) {
			c.find(linuxStringBeyond, e.at(s.at, 4), "Linux shows %d bytes at %#x as the %s, the table ends at %#x", length, offset, s.name, len(c.table))
		}
	}
	if e.id != idTarget {
		return
	}
	if lun := LUN(e.bytes[targetLUN:]); slices.ContainsFunc(lun[:], func(b byte) bool { return b > 0xf }) {
		c.find(linuxLUN, e.at(targetLUN, 8), "Linux shows LUN %s as %q", lun, linuxText(lun))
	}
	for _, at := range []int{targetCHAPName, targetReverseCHAPName} {
		if getU16(e.bytes, at) == 0 && getU16(e.bytes, at+4) != 0 {
			c.find(linuxSecretHidden, e.at(at, 8), "Linux shows no secret, as the name that belongs to it has length 0")
		}
	}
}

// stringField is a field that points to the heap.
type stringField struct {
	name   string
	at     int
	secret bool
}

func stringFields(id byte) []stringField {
	switch id {
	case idInitiator:
		return []stringField{{"name", initiatorName, false}}
	case idNIC:
		return []stringField{{"hostname", nicHostname, false}}
	case idTarget:
		return []stringField{
			{"name", targetName, false},
			{"CHAP name", targetCHAPName, false},
			{"CHAP secret", targetCHAPSecret, true},
			{"reverse CHAP name", targetReverseCHAPName, false},
			{"reverse CHAP secret", targetReverseCHAPSecret, true},
		}
	}
	return nil
}

// openISCSI follows get_targets and get_boot_info, which see what Linux shows.
func (c *checker) openISCSI() {
	initiators := 0
	selected := make(map[byte]bool)
	nics := c.nicsByIndex()
	for _, e := range c.entries {
		if e.bytes == nil {
			continue
		}
		if e.id == idInitiator {
			initiators++
		}
		if e.flags == 0 {
			c.find(openISCSIFlagsZero, e.at(structFlags, 1), "open-iscsi passes over this %s: its flags are 0", e.kind())
			continue
		}
		if e.flags&BootSelected != 0 {
			selected[e.id] = true
		}
		if e.id != idTarget {
			continue
		}
		if _, ok := nics[e.bytes[targetNIC]]; !ok {
			c.find(openISCSIAssociation, e.at(targetNIC, 1), "open-iscsi stops here: there is no NIC %d", e.bytes[targetNIC])
		}
		if getU16(e.bytes, targetName) == 0 {
			c.find(openISCSITargetName, e.at(targetName, 4), "open-iscsi gives up here: the target has no name")
		}
	}
	slots := controlAt(controlSlots, 2*fixedSlots)
	if initiators == 0 {
		c.find(openISCSINoInitiator, slots, "open-iscsi takes the table for absent: there is no initiator")
	}
	for _, id := range []byte{idNIC, idTarget} {
		if !selected[id] {
			c.find(openISCSINoBootEntry, slots, "open-iscsi finds no boot entry: no %s is boot-selected", structureName(id))
		}
	}
}

// dracut follows ibft_to_cmdline.
func (c *checker) dracut() {
	for _, e := range c.entries {
		if e.id != idNIC || e.bytes == nil {
			continue
		}
		if e.flags&(Valid|BootSelected) != Valid|BootSelected {
			c.find(dracutNICFlags, e.at(structFlags, 1), "dracut skips this NIC without rd.iscsi.mp: flags %#02x, wants bits 0 and 1", e.flags)
			continue
		}
		if vlan := getU16(e.bytes, nicVLAN); vlan != 0 {
			c.find(dracutVLAN, e.at(nicVLAN, 2), "VLAN %d, which some versions leave out", vlan)
		}
		ip, dhcp := c.nicAddr(e, nicIP), c.nicAddr(e, nicDHCP)
		origin := Origin(e.bytes[nicOrigin])
		switch {
		case origin == OriginDHCP:
		case dhcp.IsValid():
			c.find(dracutDHCPServer, e.at(nicDHCP, 16), "dracut asks DHCP for this NIC's address: it has the DHCP server %s, though its origin is %s", dhcp, origin)
		case !ip.IsValid():
			c.find(dracutNoAddress, e.at(nicIP, 16), "dracut does not configure this NIC: it has no address, and its origin is %s", origin)
		case ip.Is4() && e.bytes[nicPrefixLen] == 0:
			c.find(dracutStatic, e.at(nicPrefixLen, 1), "dracut does not configure this NIC: address %s, prefix length 0", ip)
		}
	}
}

func (c *checker) nicAddr(e entry, at int) netip.Addr { return getAddr(e.bytes[at:][:16]) }

// freeBSD follows isboot's ibft_parse_structure.
func (c *checker) freeBSD() {
	if Signature(c.data[:4]) == SignatureBroadcom {
		c.find(freeBSDSignature, headerAt(0, 4), "isboot does not find the table: it looks for iBFT and IBFT")
	}
	if sum(c.table) != 0 {
		c.find(freeBSDRefuses, headerAt(hdrChecksum, 1), "isboot refuses the table: the checksum is wrong")
	}
	if id := c.table[headerLen]; id != idControl {
		c.find(freeBSDRefuses, controlAt(0, 1), "isboot refuses the table: id %d of the control structure, wants %d", id, idControl)
	}
	want := [fixedSlots]byte{slotInitiator: idInitiator, 2: idNIC, 3: idTarget, 4: idNIC, 5: idTarget}
	unread := 0
	for _, e := range c.entries {
		switch {
		case e.slot >= fixedSlots:
			unread++
		case e.slot > 0 && e.id != want[e.slot]:
			c.find(freeBSDSlots, controlAt(controlSlots+2*e.slot, 2), "isboot refuses the table: slot %d points to a %s, wants a %s",
				e.slot, structureName(e.id), structureName(want[e.slot]))
		}
	}
	if unread > 0 {
		c.find(freeBSDExpansion, controlAt(controlLen, 2*(c.slots-fixedSlots)), "isboot does not read %d structures in expansion slots", unread)
	}
}

func (c *checker) windows() {
	nics := c.nicsByIndex()
	for _, t := range c.of(idTarget) {
		for _, s := range stringFields(idTarget) {
			if n := int(getU16(t.bytes, s.at)); s.secret && n != 0 && (n < 12 || n > 16) {
				c.find(windowsSecretLength, t.at(s.at, 4), "Windows refuses the %s: %d bytes, wants 12 to 16", s.name, n)
			}
		}
		nic, ok := nics[t.bytes[targetNIC]]
		if !ok {
			continue
		}
		ip, gateway, to := c.nicAddr(nic, nicIP), c.nicAddr(nic, nicGateway), getAddr(t.bytes[targetIP:][:16])
		subnet := netip.PrefixFrom(ip, int(nic.bytes[nicPrefixLen]))
		if gateway.IsValid() && gateway != to && subnet.IsValid() && subnet.Contains(to) {
			c.find(windowsGateway, nic.at(nicGateway, 16), "Windows sends to target %d by %s, though %s is on the subnet", t.index, gateway, to)
		}
	}
}

func (c *checker) esxi() {
	selected := 0
	for _, e := range c.of(idNIC) {
		if e.flags&BootSelected != 0 {
			selected++
		}
		if ip := c.nicAddr(e, nicIP); ip.Is6() {
			c.find(esxiIPv6, e.at(nicIP, 16), "ESXi up to 5.1 does not boot by %s", ip)
		}
	}
	if selected > 1 {
		c.find(esxiFailover, controlAt(controlSlots, 2*fixedSlots), "ESXi boots by one of the %d boot-selected NICs, without failover", selected)
	}
}

func (c *checker) xen() {
	length, longer := c.fileLength()
	at := headerAt(hdrLength, 4)
	switch {
	case longer < 0:
		c.find(xenLength, at, "hvmloader crashes: length %d, the file has %d bytes", length, len(c.data))
	case longer > 0:
		n := len(c.data) - int(length)
		c.find(xenTrailing, tableAt(int(length), n), "Xen takes the last %d bytes for another table", n)
	}
	if sum(c.table) != 0 {
		c.find(xenChecksum, headerAt(hdrChecksum, 1), "hvmloader does not mend the checksum, and the guest refuses the table")
	}
	if n := len(c.data); n > pageSize {
		c.find(xenSize, tableAt(0, n), "libxl marks the guest's low memory up to %#x as ACPI's", n)
	}
}

// pageSize is from where on xenSize speaks up: a file within one page costs the guest no more than its first.
const pageSize = 4096

func (c *checker) qemu() {
	if n := len(c.data); n > maxTable {
		c.find(qemuSize, tableAt(maxTable, n-maxTable), "QEMU refuses %d bytes, takes %d at most", n, maxTable)
	}
	if sum(c.table) != 0 {
		c.find(qemuChecksum, headerAt(hdrChecksum, 1), "QEMU mends the checksum")
	}
}

func (c *checker) earlyCPIO() {
	if s := Signature(c.data[:4]); s != SignatureACPI {
		c.find(earlyCPIOSignature, headerAt(0, 4), "Linux refuses the signature %q here, wants IBFT", string(s))
	}
	if length, longer := c.fileLength(); longer != 0 {
		c.find(earlyCPIOLength, headerAt(hdrLength, 4), "Linux refuses the file: length %d, the file has %d bytes", length, len(c.data))
	}
	if sum(c.table) != 0 {
		c.find(earlyCPIOChecksum, headerAt(hdrChecksum, 1), "Linux refuses the table: the checksum is wrong")
	}
}
