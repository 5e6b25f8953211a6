package scsi

import (
	"encoding/binary"
	"fmt"
)

// VPDPage is the code of a vital product data page (SPC-4, 7.8).
type VPDPage uint8

// VPD pages.
const (
	VPDSupportedPages       VPDPage = 0x00
	VPDSerialNumber         VPDPage = 0x80
	VPDDeviceID             VPDPage = 0x83
	VPDManagementAddresses  VPDPage = 0x85
	VPDExtendedInquiry      VPDPage = 0x86
	VPDModePagePolicy       VPDPage = 0x87
	VPDSCSIPorts            VPDPage = 0x88
	VPDATAInformation       VPDPage = 0x89
	VPDThirdPartyCopy       VPDPage = 0x8f
	VPDBlockLimits          VPDPage = 0xb0
	VPDBlockCharacteristics VPDPage = 0xb1
	VPDProvisioning         VPDPage = 0xb2
)

// String names the page.
func (p VPDPage) String() string {
	switch p {
	case VPDSupportedPages:
		return "Supported VPD Pages"
	case VPDSerialNumber:
		return "Unit Serial Number"
	case VPDDeviceID:
		return "Device Identification"
	case VPDManagementAddresses:
		return "Management Network Addresses"
	case VPDExtendedInquiry:
		return "Extended INQUIRY Data"
	case VPDModePagePolicy:
		return "Mode Page Policy"
	case VPDSCSIPorts:
		return "SCSI Ports"
	case VPDATAInformation:
		return "ATA Information"
	case VPDThirdPartyCopy:
		return "Third-Party Copy"
	case VPDBlockLimits:
		return "Block Limits"
	case VPDBlockCharacteristics:
		return "Block Device Characteristics"
	case VPDProvisioning:
		return "Logical Block Provisioning"
	}
	return fmt.Sprintf("VPD page 0x%02x", uint8(p))
}

// AppendVPD appends a VPD page with its header; device is the first byte of the
// standard INQUIRY data. What bodies hold is up to their own types; the pages of
// supported pages and of the serial number hold page codes and ASCII as they are.
func AppendVPD(dst []byte, device byte, page VPDPage, body []byte) []byte {
	dst = append(dst, device, byte(page))
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(body)))
	return append(dst, body...)
}

// ParseVPD checks a page's header and returns the body, which shares memory with
// b and is cut where b is.
func ParseVPD(b []byte, page VPDPage) (body []byte, err error) {
	if len(b) < 4 {
		return nil, fmt.Errorf("scsi: %v page: %d bytes, want at least 4", page, len(b))
	}
	if got := VPDPage(b[1]); got != page {
		return nil, fmt.Errorf("scsi: %v page: the device sent page 0x%02x", page, uint8(got))
	}
	n := int(binary.BigEndian.Uint16(b[2:]))
	return b[4:min(len(b), 4+n)], nil
}

// BlockLimits is the Block Limits page (SBC-4, 6.6.4). Lengths are in blocks;
// zero means that the device does not say.
type BlockLimits struct {
	WriteSameNonZero    bool // WSNZ: WRITE SAME must not have zero blocks
	MaxCompareAndWrite  uint8
	OptimalGranularity  uint16 // OPTIMAL TRANSFER LENGTH GRANULARITY
	MaxTransfer         uint32
	OptimalTransfer     uint32
	MaxPreFetch         uint32
	MaxUnmapBlocks      uint32
	MaxUnmapRanges      uint32 // block descriptors in one UNMAP
	UnmapGranularity    uint32
	HasUnmapAlignment   bool // UGAVALID
	UnmapAlignment      uint32
	MaxWriteSame        uint64
	MaxAtomic           uint32
	AtomicAlignment     uint32
	AtomicGranularity   uint32
	MaxAtomicWithBounds uint32
	MaxAtomicBoundary   uint32
}

const blockLimitsLength = 60

// Append appends the page's body.
func (l *BlockLimits) Append(dst []byte) []byte {
	var b [blockLimitsLength]byte
	put := binary.BigEndian.PutUint32
	b[0] = bit(l.WriteSameNonZero, 0x01)
	b[1] = l.MaxCompareAndWrite
	binary.BigEndian.PutUint16(b[2:], l.OptimalGranularity)
	put(b[4:], l.MaxTransfer)
	put(b[8:], l.OptimalTransfer)
	put(b[12:], l.MaxPreFetch)
	put(b[16:], l.MaxUnmapBlocks)
	put(b[20:], l.MaxUnmapRanges)
	put(b[24:], l.UnmapGranularity)
	if l.HasUnmapAlignment {
		put(b[28:], 1<<31|l.UnmapAlignment)
	}
	binary.BigEndian.PutUint64(b[32:], l.MaxWriteSame)
	put(b[40:], l.MaxAtomic)
	put(b[44:], l.AtomicAlignment)
	put(b[48:], l.AtomicGranularity)
	put(b[52:], l.MaxAtomicWithBounds)
	put(b[56:], l.MaxAtomicBoundary)
	return append(dst, b[:]...)
}

// ParseBlockLimits reads the page's body; what is missing at its end is zero, as
// in the shorter page of older devices.
func ParseBlockLimits(body []byte) BlockLimits {
	var b [blockLimitsLength]byte
	copy(b[:], body)
	get := binary.BigEndian.Uint32
	l := BlockLimits{
		WriteSameNonZero:    b[0]&0x01 != 0,
		MaxCompareAndWrite:  b[1],
		OptimalGranularity:  binary.BigEndian.Uint16(b[2:]),
		MaxTransfer:         get(b[4:]),
		OptimalTransfer:     get(b[8:]),
		MaxPreFetch:         get(b[12:]),
		MaxUnmapBlocks:      get(b[16:]),
		MaxUnmapRanges:      get(b[20:]),
		UnmapGranularity:    get(b[24:]),
		MaxWriteSame:        binary.BigEndian.Uint64(b[32:]),
		MaxAtomic:           get(b[40:]),
		AtomicAlignment:     get(b[44:]),
		AtomicGranularity:   get(b[48:]),
		MaxAtomicWithBounds: get(b[52:]),
		MaxAtomicBoundary:   get(b[56:]),
	}
	if v := get(b[28:]); v>>31 != 0 {
		l.HasUnmapAlignment, l.UnmapAlignment = true, v&^(1<<31)
	}
	return l
}

// ExtendedInquiry is the Extended INQUIRY Data page (SPC-4, 7.8.7), as far as a
// unit without protection information needs it.
type ExtendedInquiry struct {
	HeadOfQueue, Ordered, Simple bool // task attributes that are supported
	NonVolatileCache             bool // NV_SUP
	VolatileCache                bool // V_SUP
	ClearsNexus                  bool // LUICLR: unit attentions are reported for all I_T nexuses
}

const extendedInquiryLength = 60

// Append appends the page's body.
func (e *ExtendedInquiry) Append(dst []byte) []byte {
	var b [extendedInquiryLength]byte
	b[1] = bit(e.HeadOfQueue, 0x04) | bit(e.Ordered, 0x02) | bit(e.Simple, 0x01)
	b[2] = bit(e.NonVolatileCache, 0x02) | bit(e.VolatileCache, 0x01)
	b[3] = bit(e.ClearsNexus, 0x01)
	return append(dst, b[:]...)
}

// ParseExtendedInquiry reads the page's body; what is missing is zero.
func ParseExtendedInquiry(body []byte) ExtendedInquiry {
	var b [extendedInquiryLength]byte
	copy(b[:], body)
	return ExtendedInquiry{
		HeadOfQueue: b[1]&0x04 != 0, Ordered: b[1]&0x02 != 0, Simple: b[1]&0x01 != 0,
		NonVolatileCache: b[2]&0x02 != 0, VolatileCache: b[2]&0x01 != 0, ClearsNexus: b[3]&0x01 != 0,
	}
}

// NonRotating is the rotation rate of a solid state device.
const NonRotating = 1

// BlockCharacteristics is the Block Device Characteristics page (SBC-4, 6.6.2).
type BlockCharacteristics struct {
	RotationRate uint16 // per minute; 0 unknown, NonRotating
	ProductType  uint8
	// EraseReads says what reads after a SANITIZE that erases blocks bring
	// (WABEREQ): 0 not said, 1 data, 2 and 3 errors. CryptoEraseReads (WACEREQ)
	// is the same for one that erases the key.
	EraseReads, CryptoEraseReads uint8
	FormFactor                   uint8
	FUAB                         bool // SYNCHRONIZE CACHE reaches through all caches
	VBULS                        bool // VERIFY works on blocks that are not mapped
}

const blockCharacteristicsLength = 60

// Append appends the page's body.
func (c *BlockCharacteristics) Append(dst []byte) []byte {
	var b [blockCharacteristicsLength]byte
	binary.BigEndian.PutUint16(b[0:], c.RotationRate)
	b[2] = c.ProductType
	b[3] = c.EraseReads&3<<6 | c.CryptoEraseReads&3<<4 | c.FormFactor&0x0f
	b[4] = bit(c.FUAB, 0x02) | bit(c.VBULS, 0x01)
	return append(dst, b[:]...)
}

// ParseBlockCharacteristics reads the page's body; what is missing is zero.
func ParseBlockCharacteristics(body []byte) BlockCharacteristics {
	var b [blockCharacteristicsLength]byte
	copy(b[:], body)
	return BlockCharacteristics{
		RotationRate: binary.BigEndian.Uint16(b[0:]),
		ProductType:  b[2],
		FormFactor:   b[3] & 0x0f,
		FUAB:         b[4]&0x02 != 0,
		VBULS:        b[4]&0x01 != 0,

		EraseReads: b[3] >> 6, CryptoEraseReads: b[3] >> 4 & 3,
	}
}

// Provisioning types (SBC-4, 6.6.6).
const (
	ProvisioningNone     = 0 // fully provisioned, or not said
	ProvisioningResource = 1
	ProvisioningThin     = 2
)

// Provisioning is the Logical Block Provisioning page (SBC-4, 6.6.6).
type Provisioning struct {
	ThresholdExponent uint8
	Unmap             bool  // LBPU: UNMAP works
	WriteSame16       bool  // LBPWS: WRITE SAME(16) can unmap
	WriteSame10       bool  // LBPWS10
	ReadZeros         uint8 // LBPRZ: 1 unmapped blocks read as zeros
	Anchor            bool  // ANC_SUP
	Type              uint8 // ProvisioningThin...
}

// Append appends the page's body.
func (p *Provisioning) Append(dst []byte) []byte {
	return append(dst, p.ThresholdExponent,
		bit(p.Unmap, 0x80)|bit(p.WriteSame16, 0x40)|bit(p.WriteSame10, 0x20)|p.ReadZeros&7<<2|bit(p.Anchor, 0x02),
		p.Type&7, 0)
}

// ParseProvisioning reads the page's body; what is missing is zero.
func ParseProvisioning(body []byte) Provisioning {
	var b [4]byte
	copy(b[:], body)
	return Provisioning{
		ThresholdExponent: b[0],
		Unmap:             b[1]&0x80 != 0,
		WriteSame16:       b[1]&0x40 != 0,
		WriteSame10:       b[1]&0x20 != 0,
		ReadZeros:         b[1] >> 2 & 7,
		Anchor:            b[1]&0x02 != 0,
		Type:              b[2] & 7,
	}
}
