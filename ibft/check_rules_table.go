package ibft

// tableRules are about the header, the control structure, and where structures lie.
func tableRules(r *[ruleCount]Rule) {
	set := func(id ruleID, name string, s Severity, section, summary, remedy string) {
		r[id] = Rule{ID: name, Severity: s, Section: section, Summary: summary, Remedy: remedy}
	}
	const rebuild = "read the source again, or make the table anew"

	set(tableShort, "table-short", Error, secHeader, "fewer bytes than a header and a control structure take", rebuild)
	set(headerSignature, "header-signature", Error, secHeader, "the signature is none of iBFT, IBFT and BIFT", "sign the table iBFT, unless it is no iBFT at all")
	set(headerSignatureBroadcom, "header-signature-broadcom", Note, secHeader, "the signature is BIFT, Broadcom's own", "sign the table iBFT for readers other than Linux")
	set(headerLengthShort, "header-length-short", Error, secHeader, "the length leaves no room for a control structure", "write the table's size into bytes 4 to 7")
	set(headerLengthBeyond, "header-length-beyond", Error, secHeader, "the length reaches beyond the data", "write the table's size into bytes 4 to 7, or read the whole table")
	set(headerRevision, "header-revision", Error, secHeader, "the revision is not 1", "write 1 into byte 8")
	set(headerChecksum, "header-checksum", Error, secHeader, "the bytes of the table do not add up to zero", "write the checksum that is wanted into byte 9")
	set(headerReserved, "header-reserved", Note, secHeader, "reserved bytes of the header are set", "clear bytes 36 to 47")
	set(trailingData, "trailing-data", Note, secHeader, "bytes follow the table", "cut the file where the table ends")
	set(tableUnreachable, "table-unreachable", Warning, secStrings, "the table is longer than its offsets reach", "keep the table below 65536 bytes")
	set(tableSize, "table-size", Note, secHeader, "the table is longer than the buffers of iPXE or edk2", "nothing, unless one of them has to write such a table")

	set(controlID, "control-id", Error, secControl, "no control structure follows the header", "put the control structure at byte 48, with id 1")
	set(controlVersion, "control-version", Warning, secControl, "the control structure's version is not 1", "write 1 into byte 49")
	set(controlLength, "control-length", Error, secControl, "the control structure is shorter than 18 bytes or longer than the table", "write 18, and 2 more for each expansion slot")
	set(controlLengthOdd, "control-length-odd", Warning, secControl, "the control structure ends in half a slot", "write 18, and 2 more for each expansion slot")
	set(controlIndex, "control-index", Warning, secControl, "the control structure's index is not 0", "write 0 into byte 52")
	set(controlFlags, "control-flags", Note, secControl, "the control structure has flags that nobody defines", "clear all but bit 0")
	set(controlSingleLogin, "control-single-login", Note, secControl, "flag bit 0 means boot failover to some and a single login to others", "clear it, as known writers do")
	set(slotRange, "slot-range", Error, secSlots, "a slot points outside the table", "point the slot at a structure, or clear it")
	set(slotDuplicate, "slot-duplicate", Error, secSlots, "two slots point to one structure", "clear one of the slots")
}

// structureRules are about the structures' headers and flags, and about structures that are missing.
func structureRules(r *[ruleCount]Rule) {
	set := func(id ruleID, name string, s Severity, section, summary, remedy string) {
		r[id] = Rule{ID: name, Severity: s, Section: section, Summary: summary, Remedy: remedy}
	}

	set(structureID, "structure-id", Warning, secTypes, "a slot points to what is no known structure", "clear the slot, or write the structure's id")
	set(structureVersion, "structure-version", Warning, secStructure, "a structure's version is not 1", "write 1 into its second byte")
	set(structureLengthRange, "structure-length-range", Error, secStructure, "a structure reaches beyond the table, or has no room for its own header", "write the structure's size into its bytes 2 and 3")
	set(structureOverlap, "structure-overlap", Error, secSlots, "two structures share bytes", "move one of them")
	set(structureAlignment, "structure-alignment", Warning, secAlign, "a structure does not lie at a multiple of 8 bytes", "move it to a multiple of 8")
	set(extensionsUnread, "extensions-unread", Note, secTypes, "there is an extensions structure, which no known reader reads", "nothing")
	set(initiatorLength, "initiator-length", Error, secInitiator, "the initiator structure is not 74 bytes long", "write 74 into its bytes 2 and 3")
	set(nicLength, "nic-length", Error, secNIC, "a NIC structure is not 102 bytes long", "write 102 into its bytes 2 and 3")
	set(targetLength, "target-length", Error, secTarget, "a target structure is not 54 bytes long", "write 54 into its bytes 2 and 3")
	set(indexDuplicate, "index-duplicate", Error, secStructure, "two structures of a kind have one index", "number them from 0")
	set(initiatorMissing, "initiator-missing", Error, secInitiator, "there is no initiator structure", "add one, in slot 1")
	set(initiatorDuplicate, "initiator-duplicate", Warning, secInitiator, "there is more than one initiator structure", "keep the one in slot 1")
	set(nicMissing, "nic-missing", Warning, secNIC, "there is no NIC structure", "add one, in slot 2")
	set(targetMissing, "target-missing", Warning, secTarget, "there is no target structure", "add one, in slot 3")
	set(flagsReserved, "flags-reserved", Note, secStructure, "a structure has flags that nobody defines", "clear them")
	set(flagsNotValid, "flags-not-valid", Note, secStructure, "a structure has no flags, so that readers pass it over", "set bit 0 if it is in use, else clear its slot")
	set(bootSelectedNotValid, "boot-selected-not-valid", Warning, secStructure, "a structure is boot-selected without being valid", "set bit 0 as well")
	set(bootSelectedNone, "boot-selected-none", Warning, secTarget, "no target is both valid and boot-selected", "set bits 0 and 1 of the target to boot from")
	set(bootSelectedSeveral, "boot-selected-several", Note, secTarget, "several targets are boot-selected", "nothing if they are ways to one disk, else clear bit 1 of all but one")
	set(targetNotSelected, "target-not-boot-selected", Note, secTarget, "a target is valid, and another one is boot-selected", "set bit 1 if it is a way to the disk too: some readers use boot-selected targets alone, and edk2 selects its first attempt only")
}

// fieldRules are about what the structures' fields say.
func fieldRules(r *[ruleCount]Rule) {
	set := func(id ruleID, name string, s Severity, section, summary, remedy string) {
		r[id] = Rule{ID: name, Severity: s, Section: section, Summary: summary, Remedy: remedy}
	}

	set(stringRange, "string-range", Error, secStrings, "a string lies outside the table", "point to a string in the heap, or write 0 for length and offset")
	set(stringOverlap, "string-overlap", Error, secStrings, "a string lies in the header or in a structure", "keep the heap clear of the structures; the table may be too small")
	set(stringTooLong, "string-too-long", Warning, "RFC 7143, 6.1", "a string is longer than the 255 bytes of an iSCSI text value", "shorten it")
	set(stringNULMissing, "string-nul-missing", Error, secStrings, "no NUL follows a string", "put a NUL behind it")
	set(stringNULInside, "string-nul-inside", Warning, secStrings, "a string's length counts a NUL, which ends it", "leave the NUL out of the length")
	set(stringOffsetUnused, "string-offset-unused", Note, secStrings, "an absent string has an offset", "write 0 for the offset too")
	set(stringUnprintable, "string-unprintable", Warning, secStrings, "a name holds control characters", "make the offset and the length right, or the name")

	set(addressMappedNone, "address-mapped-none", Note, secAddress, "an absent address is written ::ffff:0.0.0.0", "write 16 zero bytes; readers take both")
	set(addressUnmapped, "address-unmapped", Warning, secAddress, "an IPv4 address lacks the ::ffff: before it, so that it reads as IPv6", "write IPv4 as ::ffff:a.b.c.d")
	set(addressNotUnicast, "address-not-unicast", Warning, secAddress, "an address is not one of a single host on the network", "write the host's address; some writers make such an address of an IPv6 one")

	set(initiatorNameMissing, "initiator-name-missing", Error, secInitiator, "the initiator has no name", "give it an iSCSI name")
	set(initiatorNameForm, "initiator-name-form", Warning, secNames, "the initiator's name is no iSCSI name", "use a name such as iqn.2026-01.com.example:machine")
	set(radiusServerMissing, "radius-server-missing", Warning, secInitiator, "a target wants RADIUS, and the initiator names no server", "write the server's address, or clear the target's flags")

	set(nicAddressMissing, "nic-address-missing", Warning, secNIC, "a NIC has neither an address nor the origin DHCP", "write its address, or origin 3")
	set(nicPrefixZero, "nic-prefix-zero", Warning, secNIC, "a NIC has an address and a prefix length of 0", "write the subnet's prefix length")
	set(nicPrefixRange, "nic-prefix-range", Error, secNIC, "a NIC's prefix is longer than its address", "write at most 32 for IPv4, 128 for IPv6")
	set(nicOriginUnknown, "nic-origin", Note, secOrigins, "a NIC's origin is a number without a meaning", "write 1 for manual or 3 for DHCP")
	set(nicOriginUnchanged, "nic-origin-unchanged", Note, secOrigins, "a NIC's origin is \"unchanged\", which is 15 to some and 16 to others", "write where the address came from")
	set(nicGatewayOffLink, "nic-gateway-off-link", Warning, secNIC, "a NIC's gateway is not on its subnet", "check the gateway and the prefix length")
	set(nicVLANRange, "nic-vlan-range", Error, secNIC, "a NIC's VLAN identifier is greater than 4094", "write 1 to 4094, or 0 for none")
	set(nicMACForm, "nic-mac-form", Warning, secNIC, "a NIC's MAC is zero or a group's", "write the NIC's own address")
	set(nicGlobalFlag, "nic-global-flag", Note, secNIC, "the flag \"global\" does not agree with a NIC's address", "set bit 2 for any but a link-local address")
	set(nicHostnameForm, "nic-hostname-form", Warning, secNIC, "a host name has other characters than letters, digits, hyphen and dot", "use a host name")

	set(targetAddressMissing, "target-address-missing", Error, secTarget, "a target has no address", "write the portal's address")
	set(targetPortZero, "target-port-zero", Error, secTarget, "a target has port 0", "write the portal's port, 3260 as a rule")
	set(targetLUNByteOrder, "target-lun-byte-order", Warning, secTarget, "a LUN looks as if its bytes were turned round", "write LUN n as 00 n 00 00 00 00 00 00")
	set(targetCHAPType, "target-chap-type", Error, secTarget, "a CHAP type is none of 0, 1 and 2", "write 0 for none, 1 for CHAP, 2 for mutual CHAP")
	set(targetCHAPIncomplete, "target-chap-incomplete", Error, secTarget, "CHAP is asked for without a name or a secret", "give both, or write CHAP type 0")
	set(targetReverseCHAPIncomplete, "target-reverse-chap-incomplete", Error, secTarget, "mutual CHAP is asked for without a reverse name or secret", "give both, or write CHAP type 1")
	set(targetCHAPUnused, "target-chap-unused", Warning, secTarget, "there are CHAP names or secrets that the CHAP type does not ask for", "write the CHAP type that uses them, or clear them")
	set(targetCHAPSameSecret, "target-chap-same-secret", Warning, secCHAP, "both directions of CHAP have one secret, which peers have to refuse", "give the target a secret of its own")
	set(targetCHAPSecretShort, "target-chap-secret-short", Warning, secCHAP, "a CHAP secret is shorter than 96 bits", "use 12 random bytes at least")
	set(targetNICAssociation, "target-nic-association", Error, secTarget, "a target names a NIC that is not there", "write the index of a NIC structure")
	set(targetNICNotValid, "target-nic-not-valid", Warning, secTarget, "a target names a NIC that is not valid", "set bit 0 of the NIC's flags")
	set(targetFamily, "target-family", Warning, secTarget, "a target's address is IPv4 and its NIC's IPv6, or the other way round", "check the target's address; some writers make an IPv4 one of an IPv6 one")
	set(targetNameMissing, "target-name-missing", Error, secTarget, "a target has no name", "give it the target's iSCSI name")
	set(targetNameForm, "target-name-form", Warning, secNames, "a target's name is no iSCSI name", "use the name that the target has")
}
