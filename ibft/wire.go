package ibft

import (
	"encoding/binary"
	"net/netip"
)

// Sizes and structure ids (iBFT, 1.4.2 to 1.4.7). All integers are little-endian.
const (
	headerLen    = 48
	structHdrLen = 6 // id u8, version u8, length u16, index u8, flags u8

	controlLen   = 18 // without expansion slots
	initiatorLen = 74
	nicLen       = 102
	targetLen    = 54

	idControl   = 1
	idInitiator = 2
	idNIC       = 3
	idTarget    = 4

	idExtensions = 5
)

// Offsets in the table's header, which is an ACPI table's (ACPI 6.5, 5.2.6).
const (
	hdrLength     = 4
	hdrRevision   = 8
	hdrChecksum   = 9
	hdrOEMID      = 10
	hdrOEMTableID = 16
	hdrReserved   = 24
	hdrACPIEnd    = 36 // of what an ACPI reader finds in the reserved bytes
)

// Offsets in a structure.
const (
	structVersion = 1
	structLength  = 2
	structIndex   = 4
	structFlags   = 5

	controlSlots = 6 // u16 each: extensions, initiator, NIC 0, target 0, NIC 1, target 1, expansions

	initiatorISNS            = 6
	initiatorSLP             = 22
	initiatorPrimaryRADIUS   = 38
	initiatorSecondaryRADIUS = 54
	initiatorName            = 70

	nicIP           = 6
	nicPrefixLen    = 22
	nicOrigin       = 23
	nicGateway      = 24
	nicPrimaryDNS   = 40
	nicSecondaryDNS = 56
	nicDHCP         = 72
	nicVLAN         = 88
	nicMAC          = 90
	nicPCI          = 96
	nicHostname     = 98

	targetIP                = 6
	targetPort              = 22
	targetLUN               = 24
	targetCHAP              = 32
	targetNIC               = 33
	targetName              = 34
	targetCHAPName          = 38
	targetCHAPSecret        = 42
	targetReverseCHAPName   = 46
	targetReverseCHAPSecret = 50
)

// Slots of the control structure.
const (
	slotExtensions = 0
	slotInitiator  = 1
	slotFirstNIC   = 2
	fixedSlots     = 6
)

// sum returns the value that makes b, its checksum byte included, add up to zero once added to that byte.
func sum(b []byte) byte {
	var s byte
	for _, c := range b {
		s += c
	}
	return -s
}

// putChecksum makes the bytes of a table add up to zero.
func putChecksum(table []byte) { table[hdrChecksum] += sum(table) }

// getAddr reads a 16-byte address: IPv4 as ::ffff:a.b.c.d. Both forms of all zero are an absent one.
func getAddr(b []byte) netip.Addr {
	addr := netip.AddrFrom16([16]byte(b)).Unmap()
	if addr.IsUnspecified() {
		return netip.Addr{}
	}
	return addr
}

func getU16(b []byte, at int) uint16 { return binary.LittleEndian.Uint16(b[at:]) }

func putU16(b []byte, at int, v uint16) { binary.LittleEndian.PutUint16(b[at:], v) }
