package ibft

// linuxRules are Linux's.
func linuxRules(r *[ruleCount]Rule) {
	both := []Consumer{ConsumerLinux, ConsumerLinuxBefore5_6}
	set := func(id ruleID, name string, s Severity, summary, remedy string) {
		r[id] = Rule{ID: name, Severity: s, Section: srcLinux, Summary: summary, Remedy: remedy, Consumers: both}
	}
	set(linuxRefuses, "linux-refuses", Error, "Linux shows nothing of the table", "mend the header or the control structure")
	set(linuxIndexClash, "linux-index-clash", Error, "two structures want one name in sysfs; Linux takes all of the table away again", "number the structures of each kind from 0")
	set(linuxSkips, "linux-skips", Error, "Linux skips a structure", "write the length that the specification has")
	set(linuxSlotRange, "linux-slot-range", Error, "Linux skips a slot that points beyond the table", "point the slot at a structure, or clear it")
	set(linuxSlotTail, "linux-slot-tail", Error, "Linux skips a slot that points into the last 48 bytes of the table", "lengthen the table, or move the structure before its heap")
	set(linuxStringBeyond, "linux-string-beyond", Warning, "Linux shows memory beyond the table in place of a string", "point to a string in the heap")
	set(linuxSecretHidden, "linux-secret-hidden", Warning, "Linux hides a CHAP secret that has no CHAP name", "give the name too")
	set(linuxScanSignature, "linux-scan-signature", Note, "Linux's search of low memory does not know the signature IBFT", "sign the table iBFT if it is to lie in low memory, and not in ACPI")
	set(linuxLUN, "linux-lun", Note, "Linux shows a LUN without leading zeros in its bytes, which its readers cannot tell apart", "use LUNs below 16, or read the table's bytes")
	set(linuxExpansion, "linux-before-5.6-expansion", Error, "Linux before 5.6 refuses a table with expansion slots", "use two NICs and two targets at most")
	r[linuxExpansion].Consumers = []Consumer{ConsumerLinuxBefore5_6}
	r[linuxExpansion].Section = "Linux before 5.6, drivers/firmware/iscsi_ibft.c"
}

// consumerRules are those of all others.
func consumerRules(r *[ruleCount]Rule) {
	var consumer Consumer
	var source string
	set := func(id ruleID, name string, s Severity, summary, remedy string) {
		r[id] = Rule{ID: name, Severity: s, Section: source, Summary: summary, Remedy: remedy, Consumers: []Consumer{consumer}}
	}

	consumer, source = ConsumerOpenISCSI, srcOpenISCSI
	set(openISCSINoInitiator, "open-iscsi-no-initiator", Error, "without an initiator open-iscsi does not look at the table", "add an initiator structure")
	set(openISCSINoBootEntry, "open-iscsi-no-boot-entry", Warning, "open-iscsi finds no boot entry: no NIC, or no target, is boot-selected", "set bit 1 of the NIC and of the target")
	set(openISCSIFlagsZero, "open-iscsi-flags-zero", Note, "open-iscsi passes over a structure without flags", "set bit 0 if it is in use")
	set(openISCSIAssociation, "open-iscsi-nic-association", Error, "open-iscsi stops reading at a target whose NIC is not there", "write the index of a NIC structure")
	set(openISCSITargetName, "open-iscsi-target-name", Error, "open-iscsi gives up on all targets at one without a name", "name it, or clear its slot")

	consumer, source = ConsumerDracut, srcDracut
	set(dracutNICFlags, "dracut-nic-flags", Warning, "dracut wants a NIC valid and boot-selected, unless rd.iscsi.mp is given", "set bits 0 and 1 of the NIC, or boot with rd.iscsi.mp=1")
	set(dracutDHCPServer, "dracut-dhcp-server", Warning, "dracut asks DHCP, not the table, for the address of a NIC with a DHCP server", "clear the DHCP server of a NIC with an address of its own")
	set(dracutStatic, "dracut-static", Error, "dracut does not configure an IPv4 NIC without a prefix length", "write the subnet's prefix length")
	set(dracutNoAddress, "dracut-no-address", Error, "dracut does not configure a NIC without an address that is not DHCP's", "write the address, or origin 3")
	source = srcVLAN
	set(dracutVLAN, "dracut-vlan", Note, "versions of dracut and of installers do not configure a NIC's VLAN", "give vlan= and ip= on the kernel command line there")

	consumer, source = ConsumerFreeBSD, srcFreeBSD
	set(freeBSDRefuses, "freebsd-refuses", Error, "isboot refuses the table", "mend the checksum or the control structure")
	set(freeBSDSignature, "freebsd-signature", Error, "isboot does not look for the signature BIFT", "sign the table iBFT")
	set(freeBSDSlots, "freebsd-slots", Error, "isboot wants initiator, NIC, target, NIC, target in slots 1 to 5", "put them in that order")
	set(freeBSDExpansion, "freebsd-expansion", Warning, "isboot does not read expansion slots", "put what it needs into slots 1 to 5")

	consumer, source = ConsumerWindows, srcWindows
	set(windowsSecretLength, "windows-secret-length", Error, "Windows takes CHAP secrets of 12 to 16 bytes only", "use a secret of 12 to 16 bytes")
	source = srcGateway
	set(windowsGateway, "windows-gateway", Warning, "Windows sends by the gateway even to a target on the NIC's subnet", "leave the gateway out, or let it forward to the target")

	consumer, source = ConsumerESXi, srcESXi
	set(esxiFailover, "esxi-failover", Note, "ESXi boots by one NIC of the table, without failover", "nothing; do not rely on the second path at boot")
	set(esxiIPv6, "esxi-ipv6", Note, "ESXi up to 5.1 does not boot by IPv6", "use IPv4 there")

	consumer, source = ConsumerXen, srcXen
	set(xenLength, "xen-length", Error, "hvmloader crashes at a table that claims to be longer than its file", "write the file's size into bytes 4 to 7")
	set(xenChecksum, "xen-checksum", Error, "hvmloader hands on a bad checksum, and Linux in the guest refuses the table", "mend the checksum")
	set(xenTrailing, "xen-trailing", Error, "Xen takes what follows the table for another table", "cut the file where the table ends")
	set(xenSize, "xen-size", Note, "libxl marks as much low memory of the guest as the file is long as ACPI's", "keep the file small")

	consumer, source = ConsumerQEMU, srcQEMU
	set(qemuSize, "qemu-size", Error, "QEMU takes 65535 bytes at most", "make the table smaller")
	set(qemuChecksum, "qemu-checksum", Note, "QEMU writes the right checksum itself", "nothing")

	consumer, source = ConsumerEarlyCPIO, srcCPIO
	set(earlyCPIOSignature, "early-cpio-signature", Error, "Linux takes only the signature IBFT from an initial RAM disk", "sign the table IBFT")
	set(earlyCPIOLength, "early-cpio-length", Error, "Linux refuses a file whose size is not the table's length", "cut the file where the table ends")
	set(earlyCPIOChecksum, "early-cpio-checksum", Error, "Linux refuses a bad checksum", "mend the checksum")
}
