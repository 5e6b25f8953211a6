package ibft

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
)

// fieldSpec is a field of a structure: where it is, and how its bytes read.
type fieldSpec struct {
	at, length int
	name       string
	value      func([]byte) string
}

func headerFields() []fieldSpec {
	return []fieldSpec{
		{0, 4, "signature", asText},
		{hdrLength, 4, "length", asDecimal},
		{hdrRevision, 1, "revision", asDecimal},
		{hdrChecksum, 1, "checksum", asHex},
		{hdrOEMID, 6, "OEM ID", asText},
		{hdrOEMTableID, 8, "OEM table ID", asText},
		{hdrReserved, headerLen - hdrReserved, "reserved", asHex},
	}
}

// structFields returns the fields that all structures begin with.
func structFields(flags func(byte) string) []fieldSpec {
	return []fieldSpec{
		{0, 1, "id", func(b []byte) string { return fmt.Sprintf("%d (%s)", b[0], structureName(b[0])) }},
		{structVersion, 1, "version", asDecimal},
		{structLength, 2, "length", asDecimal},
		{structIndex, 1, "index", asDecimal},
		{structFlags, 1, "flags", func(b []byte) string { return flags(b[0]) }},
	}
}

func slotFields(slots int) []fieldSpec {
	names := []string{"extensions", "initiator", "NIC 0", "target 0", "NIC 1", "target 1"}
	var fields []fieldSpec
	for i := range slots {
		name := fmt.Sprintf("slot %d", i)
		if i < len(names) {
			name += " (" + names[i] + ")"
		}
		fields = append(fields, fieldSpec{controlSlots + 2*i, 2, name, asOffset})
	}
	return fields
}

// fieldsOf returns all fields of a structure.
func fieldsOf(id byte) []fieldSpec {
	switch id {
	case idInitiator:
		return append(initiatorFields(), heapFields(id)...)
	case idNIC:
		return append(nicFields(), heapFields(id)...)
	case idTarget:
		return append(targetFields(), heapFields(id)...)
	}
	return structFields(flagNumber)
}

func initiatorFields() []fieldSpec {
	return append(structFields(func(b byte) string { return InitiatorFlags(b).String() }), []fieldSpec{
		{initiatorISNS, 16, "iSNS server", asAddress},
		{initiatorSLP, 16, "SLP server", asAddress},
		{initiatorPrimaryRADIUS, 16, "primary RADIUS server", asAddress},
		{initiatorSecondaryRADIUS, 16, "secondary RADIUS server", asAddress},
	}...)
}

func nicFields() []fieldSpec {
	return append(structFields(func(b byte) string { return NICFlags(b).String() }), []fieldSpec{
		{nicIP, 16, "IP address", asAddress},
		{nicPrefixLen, 1, "prefix length", asDecimal},
		{nicOrigin, 1, "origin", func(b []byte) string { return Origin(b[0]).String() }},
		{nicGateway, 16, "gateway", asAddress},
		{nicPrimaryDNS, 16, "primary DNS server", asAddress},
		{nicSecondaryDNS, 16, "secondary DNS server", asAddress},
		{nicDHCP, 16, "DHCP server", asAddress},
		{nicVLAN, 2, "VLAN", asDecimal},
		{nicMAC, 6, "MAC", func(b []byte) string { return MAC(b).String() }},
		{nicPCI, 2, "PCI", func(b []byte) string { return PCIAddr(getU16(b, 0)).String() }},
	}...)
}

func targetFields() []fieldSpec {
	return append(structFields(func(b byte) string { return TargetFlags(b).String() }), []fieldSpec{
		{targetIP, 16, "IP address", asAddress},
		{targetPort, 2, "port", asDecimal},
		{targetLUN, 8, "LUN", func(b []byte) string { return LUN(b).String() }},
		{targetCHAP, 1, "CHAP type", func(b []byte) string { return CHAPType(b[0]).String() }},
		{targetNIC, 1, "NIC", asDecimal},
	}...)
}

// heapFields returns the lengths and offsets of a structure's strings.
func heapFields(id byte) []fieldSpec {
	var fields []fieldSpec
	for _, s := range stringFields(id) {
		fields = append(fields, fieldSpec{s.at, 2, s.name + " length", asDecimal}, fieldSpec{s.at + 2, 2, s.name + " offset", asOffset})
	}
	return fields
}

func flagNumber(b byte) string { return fmt.Sprintf("%#02x", b) }

// asText returns a string as far as its first NUL, quoted where it would not print.
func asText(b []byte) string {
	s, _, _ := strings.Cut(string(b), "\x00")
	quoted := strconv.QuoteToASCII(s)
	if quoted == `"`+s+`"` {
		return s
	}
	return quoted
}

// asDecimal returns a little-endian number.
func asDecimal(b []byte) string {
	var wide [8]byte
	copy(wide[:], b)
	return strconv.FormatUint(binary.LittleEndian.Uint64(wide[:]), 10)
}

// asHex returns the bytes, nothing for zeros.
func asHex(b []byte) string {
	if zero(b) {
		return ""
	}
	return fmt.Sprintf("%x", b)
}

// asOffset returns an offset, nothing for none.
func asOffset(b []byte) string {
	if v := getU16(b, 0); v != 0 {
		return fmt.Sprintf("%#x", v)
	}
	return ""
}

// asAddress returns an address, nothing for an absent one.
func asAddress(b []byte) string {
	if a := getAddr(b); a.IsValid() {
		return a.String()
	}
	return ""
}
