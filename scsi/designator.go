package scsi

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"
)

// DesignatorType is the format of a designator (SPC-4, 7.8.6.1).
type DesignatorType uint8

// Designator types.
const (
	DesignatorVendor       DesignatorType = 0
	DesignatorT10          DesignatorType = 1 // T10 vendor id and what the vendor likes
	DesignatorEUI64        DesignatorType = 2
	DesignatorNAA          DesignatorType = 3
	DesignatorRelativePort DesignatorType = 4
	DesignatorPortGroup    DesignatorType = 5
	DesignatorLUGroup      DesignatorType = 6
	DesignatorMD5          DesignatorType = 7
	DesignatorSCSIName     DesignatorType = 8
)

// Association says what a designator names (SPC-4, 7.8.6.1).
type Association uint8

// Associations.
const (
	OfLogicalUnit Association = 0
	OfTargetPort  Association = 1
	OfTarget      Association = 2
)

// Code sets of designators.
const (
	CodeBinary = 1
	CodeASCII  = 2
	CodeUTF8   = 3
)

// ProtocolISCSI is the protocol identifier of iSCSI (SPC-4, 7.6.1).
const ProtocolISCSI = 5

// Designator names a logical unit, a target or one of its ports.
type Designator struct {
	Type        DesignatorType
	Association Association
	CodeSet     uint8
	// Protocol is valid, as the PIV bit says, if HasProtocol is set, which it
	// must not be for a logical unit.
	HasProtocol bool
	Protocol    uint8
	Value       []byte
}

// NAADesignator names a logical unit by an NAA identifier, of 8 or 16 bytes.
func NAADesignator(id []byte) Designator {
	return Designator{Type: DesignatorNAA, CodeSet: CodeBinary, Value: id}
}

// EUI64Designator names a logical unit by an EUI-64.
func EUI64Designator(id uint64) Designator {
	return Designator{Type: DesignatorEUI64, CodeSet: CodeBinary, Value: binary.BigEndian.AppendUint64(nil, id)}
}

// T10Designator names a logical unit by a T10 vendor identification of up to eight
// characters and an identifier that is unique for the vendor.
func T10Designator(vendor, id string) Designator {
	value := make([]byte, 8, 8+len(id))
	putString(value, vendor)
	return Designator{Type: DesignatorT10, CodeSet: CodeASCII, Value: append(value, id...)}
}

// SCSINameDesignator names a target, a port or a logical unit by a SCSI name
// string: an iSCSI name, for a port with ",t,0x" and the portal group tag behind
// it. The value is padded with NULs to a multiple of four bytes.
func SCSINameDesignator(a Association, name string) Designator {
	value := append([]byte(name), 0)
	for len(value)%4 != 0 {
		value = append(value, 0)
	}
	return Designator{Type: DesignatorSCSIName, Association: a, CodeSet: CodeUTF8, Value: value}.forISCSI()
}

// RelativePortDesignator gives the number of the target port, from 1 on.
func RelativePortDesignator(port uint16) Designator {
	return portDesignator(DesignatorRelativePort, port)
}

// PortGroupDesignator gives the target port group of the port.
func PortGroupDesignator(group uint16) Designator {
	return portDesignator(DesignatorPortGroup, group)
}

func portDesignator(t DesignatorType, n uint16) Designator {
	value := binary.BigEndian.AppendUint32(nil, uint32(n))
	return Designator{Type: t, Association: OfTargetPort, CodeSet: CodeBinary, Value: value}.forISCSI()
}

// forISCSI sets the protocol where one may be set.
func (d Designator) forISCSI() Designator {
	if d.Association != OfLogicalUnit {
		d.HasProtocol, d.Protocol = true, ProtocolISCSI
	}
	return d
}

// String returns the designator in the form that people know: naa.6001405...,
// eui..., t10..., or the SCSI name itself.
func (d Designator) String() string {
	switch d.Type {
	case DesignatorNAA:
		return "naa." + hex.EncodeToString(d.Value)
	case DesignatorEUI64:
		return "eui." + hex.EncodeToString(d.Value)
	case DesignatorT10:
		return "t10." + printable(d.Value)
	case DesignatorSCSIName:
		return printable(d.Value)
	case DesignatorRelativePort, DesignatorPortGroup:
		if len(d.Value) == 4 {
			what := map[DesignatorType]string{DesignatorRelativePort: "port", DesignatorPortGroup: "port group"}
			return fmt.Sprintf("%s %d", what[d.Type], binary.BigEndian.Uint16(d.Value[2:]))
		}
	}
	return fmt.Sprintf("designator type %d: %x", d.Type, d.Value)
}

// printable returns text that a device sent, without padding and fit for a
// terminal.
func printable(b []byte) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '.'
		}
		return r
	}, strings.ToValidUTF8(getString(b), "."))
}

// AppendDesignators appends the body of the Device Identification page (SPC-4,
// 7.8.6). Values longer than 255 bytes are cut.
func AppendDesignators(dst []byte, list []Designator) []byte {
	for _, d := range list {
		value := d.Value[:min(len(d.Value), 255)]
		dst = append(dst, d.CodeSet&0xf, byte(d.Association)&3<<4|byte(d.Type)&0xf, 0, byte(len(value)))
		if d.HasProtocol {
			dst[len(dst)-4] |= d.Protocol << 4
			dst[len(dst)-3] |= 0x80
		}
		dst = append(dst, value...)
	}
	return dst
}

// ParseDesignators reads the body of the Device Identification page. Values share
// memory with it. A last designator that is cut off is left out.
func ParseDesignators(body []byte) []Designator {
	var list []Designator
	for len(body) >= 4 {
		end := 4 + int(body[3])
		if end > len(body) {
			break
		}
		d := Designator{
			Type:        DesignatorType(body[1] & 0xf),
			Association: Association(body[1] >> 4 & 3),
			CodeSet:     body[0] & 0xf,
			HasProtocol: body[1]&0x80 != 0,
			Value:       body[4:end:end],
		}
		if d.HasProtocol {
			d.Protocol = body[0] >> 4
		}
		list = append(list, d)
		body = body[end:]
	}
	return list
}
