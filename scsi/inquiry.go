package scsi

import (
	"encoding/binary"
	"fmt"
	"strings"
)

// DeviceType is the kind of a device (SPC-4, 6.6.2).
type DeviceType uint8

// Device types.
const (
	TypeDisk       DeviceType = 0x00
	TypeTape       DeviceType = 0x01
	TypeCDROM      DeviceType = 0x05
	TypeController DeviceType = 0x0c
	TypeWellKnown  DeviceType = 0x1e
	TypeUnknown    DeviceType = 0x1f
)

// Peripheral qualifiers (SPC-4, 6.6.2).
const (
	QualifierConnected    = 0 // the unit is there, as far as can be told
	QualifierNotConnected = 1 // supported, but nothing is there now
	QualifierNone         = 3 // no unit can be there: with TypeUnknown
)

// VersionSPC4 is the version of the standard that InquiryData claims for SPC-4.
const VersionSPC4 = 6

// InquiryData is the standard INQUIRY data (SPC-4, 6.6.2).
type InquiryData struct {
	Qualifier  uint8
	Type       DeviceType
	Removable  bool
	Version    uint8 // VersionSPC4
	NormACA    bool
	HiSup      bool
	TPGS       uint8 // asymmetric access: 1 implicit, 2 explicit, 3 both
	ThirdParty bool  // 3PC: copy commands
	Protect    bool
	MultiPort  bool
	CmdQue     bool
	Vendor     string // at most 8 characters
	Product    string // at most 16
	Revision   string // at most 4
	// Descriptors claim conformance to standards, at most eight.
	Descriptors []uint16
}

// Lengths of standard INQUIRY data: what every device has, and with the version
// descriptors.
const (
	shortInquiry = 36
	longInquiry  = 96
)

// Append appends the data: 96 bytes if there are version descriptors, else 36.
// Strings are cut or padded with blanks to their fields.
func (d *InquiryData) Append(dst []byte) []byte {
	var b [longInquiry]byte
	n := shortInquiry
	if len(d.Descriptors) > 0 {
		n = longInquiry
	}
	b[0] = d.Qualifier<<5 | byte(d.Type)&0x1f
	b[1] = bit(d.Removable, 0x80)
	b[2] = d.Version
	b[3] = 0x02 | bit(d.NormACA, 0x20) | bit(d.HiSup, 0x10) // response data format 2
	b[4] = byte(n - 5)
	b[5] = d.TPGS&3<<4 | bit(d.ThirdParty, 0x08) | bit(d.Protect, 0x01)
	b[6] = bit(d.MultiPort, 0x10)
	b[7] = bit(d.CmdQue, 0x02)
	putString(b[8:16], d.Vendor)
	putString(b[16:32], d.Product)
	putString(b[32:36], d.Revision)
	for i, v := range d.Descriptors[:min(8, len(d.Descriptors))] {
		binary.BigEndian.PutUint16(b[58+2*i:], v)
	}
	return append(dst, b[:n]...)
}

// ParseInquiryData reads standard INQUIRY data. Fields after the end of what was
// received are zero.
func ParseInquiryData(received []byte) (InquiryData, error) {
	if len(received) < 5 {
		return InquiryData{}, fmt.Errorf("scsi: INQUIRY data: %d bytes, want at least 5", len(received))
	}
	var b [longInquiry]byte
	copy(b[:], received[:min(len(received), 5+int(received[4]))])
	d := InquiryData{
		Qualifier:  b[0] >> 5,
		Type:       DeviceType(b[0] & 0x1f),
		Removable:  b[1]&0x80 != 0,
		Version:    b[2],
		NormACA:    b[3]&0x20 != 0,
		HiSup:      b[3]&0x10 != 0,
		TPGS:       b[5] >> 4 & 3,
		ThirdParty: b[5]&0x08 != 0,
		Protect:    b[5]&0x01 != 0,
		MultiPort:  b[6]&0x10 != 0,
		CmdQue:     b[7]&0x02 != 0,
		Vendor:     getString(b[8:16]),
		Product:    getString(b[16:32]),
		Revision:   getString(b[32:36]),
	}
	for i := 58; i < 74; i += 2 {
		if v := binary.BigEndian.Uint16(b[i:]); v != 0 {
			d.Descriptors = append(d.Descriptors, v)
		}
	}
	return d, nil
}

// putString fills a field with s, left-aligned and padded with blanks.
func putString(field []byte, s string) {
	for i := copy(field, s); i < len(field); i++ {
		field[i] = ' '
	}
}

// getString returns a field's text without its padding.
func getString(field []byte) string { return strings.Trim(string(field), " \x00") }
