package ibft

import (
	"encoding/hex"
	"fmt"
	"net"
	"strconv"
	"strings"
)

// Signature is the first four bytes of a table.
type Signature string

// The spellings in use.
const (
	SignatureIBFT     Signature = "iBFT" // the specification's
	SignatureACPI     Signature = "IBFT" // the only one Linux takes from an early initial RAM disk
	SignatureBroadcom Signature = "BIFT" // Broadcom's
)

func (s Signature) known() bool {
	return s == SignatureIBFT || s == SignatureACPI || s == SignatureBroadcom
}

// Origin says where a NIC's address came from (iBFT, 1.4.6; the values of NL_PREFIX_ORIGIN).
type Origin uint8

// The origins.
const (
	OriginOther               Origin = 0
	OriginManual              Origin = 1
	OriginWellKnown           Origin = 2
	OriginDHCP                Origin = 3
	OriginRouterAdvertisement Origin = 4
	OriginUnchanged           Origin = 15 // as iPXE numbers it
	OriginUnchangedEDK2       Origin = 16 // as edk2 and open-iscsi number it
)

func originNames() map[uint8]string {
	return map[uint8]string{
		0: "other", 1: "manual", 2: "well-known", 3: "dhcp", 4: "router-advertisement", 15: "unchanged", 16: "unchanged-16",
	}
}

// String returns the origin's name, or its number where it has none.
func (o Origin) String() string { return enumString(originNames(), uint8(o)) }

// MarshalText returns String's form.
func (o Origin) MarshalText() ([]byte, error) { return []byte(o.String()), nil }

// UnmarshalText reads a name or a number.
func (o *Origin) UnmarshalText(text []byte) error {
	v, err := parseEnum("origin", originNames(), string(text))
	if err == nil {
		*o = Origin(v)
	}
	return err
}

// CHAPType says how to authenticate at a target (iBFT, 1.4.7).
type CHAPType uint8

// The ways.
const (
	CHAPNone   CHAPType = 0
	CHAPOneWay CHAPType = 1
	CHAPMutual CHAPType = 2
)

func chapNames() map[uint8]string { return map[uint8]string{0: "none", 1: "chap", 2: "mutual"} }

// String returns the type's name, or its number where it has none.
func (c CHAPType) String() string { return enumString(chapNames(), uint8(c)) }

// MarshalText returns String's form.
func (c CHAPType) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText reads a name or a number.
func (c *CHAPType) UnmarshalText(text []byte) error {
	v, err := parseEnum("CHAP type", chapNames(), string(text))
	if err == nil {
		*c = CHAPType(v)
	}
	return err
}

func enumString(names map[uint8]string, v uint8) string {
	if name, ok := names[v]; ok {
		return name
	}
	return strconv.Itoa(int(v))
}

func parseEnum(kind string, names map[uint8]string, s string) (uint8, error) {
	for v, name := range names {
		if name == s {
			return v, nil
		}
	}
	v, err := strconv.ParseUint(s, 10, 8)
	if err != nil {
		return 0, fmt.Errorf("%s %q: neither a known name nor a number up to 255", kind, s)
	}
	return uint8(v), nil
}

// MAC is an Ethernet address.
type MAC [6]byte

// ParseMAC reads an address in any form that net.ParseMAC takes.
func ParseMAC(s string) (MAC, error) {
	hw, err := net.ParseMAC(s)
	if err != nil {
		return MAC{}, err
	}
	if len(hw) != 6 {
		return MAC{}, fmt.Errorf("MAC %q: %d bytes, want 6", s, len(hw))
	}
	return MAC(hw), nil
}

// HardwareAddr returns the address as package net has it, in a slice of its own.
func (m MAC) HardwareAddr() net.HardwareAddr { return m[:] }

// String returns the address as six hexadecimal pairs joined by colons.
func (m MAC) String() string { return net.HardwareAddr(m[:]).String() }

// MarshalText returns String's form.
func (m MAC) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// UnmarshalText reads what ParseMAC reads.
func (m *MAC) UnmarshalText(text []byte) error {
	v, err := ParseMAC(string(text))
	if err == nil {
		*m = v
	}
	return err
}

// PCIAddr is a function on PCI segment 0: bus<<8 | device<<3 | function.
type PCIAddr uint16

// ParsePCIAddr reads "bus:device.function" in hexadecimal, with or without the segment, which must be zero.
func ParsePCIAddr(s string) (PCIAddr, error) {
	bad := fmt.Errorf("PCI address %q: want bus:device.function in hexadecimal, such as 00:03.0", s)
	bus, rest, ok := strings.Cut(strings.TrimPrefix(s, "0000:"), ":")
	dev, fn, ok2 := strings.Cut(rest, ".")
	if !ok || !ok2 {
		return 0, bad
	}
	b, err1 := strconv.ParseUint(bus, 16, 8)
	d, err2 := strconv.ParseUint(dev, 16, 5)
	f, err3 := strconv.ParseUint(fn, 16, 3)
	if err1 != nil || err2 != nil || err3 != nil {
		return 0, bad
	}
	return PCIAddr(b<<8 | d<<3 | f), nil
}

// String returns "bus:device.function" in hexadecimal, as lspci prints it.
func (p PCIAddr) String() string {
	return fmt.Sprintf("%02x:%02x.%x", uint16(p>>8), uint16(p>>3&0x1f), uint16(p&7))
}

// MarshalText returns String's form.
func (p PCIAddr) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText reads what ParsePCIAddr reads.
func (p *PCIAddr) UnmarshalText(text []byte) error {
	v, err := ParsePCIAddr(string(text))
	if err == nil {
		*p = v
	}
	return err
}

// Bytes are bytes whose text form is hexadecimal.
type Bytes []byte

// MarshalText returns the bytes in hexadecimal.
func (b Bytes) MarshalText() ([]byte, error) { return []byte(hex.EncodeToString(b)), nil }

// UnmarshalText reads hexadecimal.
func (b *Bytes) UnmarshalText(text []byte) error {
	v, err := hex.DecodeString(string(text))
	if err == nil {
		*b = v
	}
	return err
}
