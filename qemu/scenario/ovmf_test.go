package scenario_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"unicode/utf16"
)

// Firmware for UEFI machines, as Debian's package ovmf has it.
const (
	ovmfCode = "/usr/share/OVMF/OVMF_CODE_4M.fd"
	ovmfVars = "/usr/share/OVMF/OVMF_VARS_4M.fd"
)

// efiVariable is one for a firmware's flash memory.
type efiVariable struct {
	vendor [16]byte // a GUID as it lies in memory
	name   string
	data   []byte
}

// The vendors of the variables of edk2's iSCSI driver:
// 4b47d616-a8d6-4552-9d44-ccad2e0f4cf9 and 59324945-ec44-4c0d-b1cd-9db139df070c.
var (
	iscsiConfigVendor    = [16]byte{0x16, 0xd6, 0x47, 0x4b, 0xd6, 0xa8, 0x52, 0x45, 0x9d, 0x44, 0xcc, 0xad, 0x2e, 0x0f, 0x4c, 0xf9}
	iscsiInitiatorVendor = [16]byte{0x45, 0x49, 0x32, 0x59, 0x44, 0xec, 0x0d, 0x4c, 0xb1, 0xcd, 0x9d, 0xb1, 0x39, 0xdf, 0x07, 0x0c}
)

// Where an empty OVMF_VARS has room for its first variable: behind the header
// of the firmware volume and that of the variable store.
const firstVariable = 0x48 + 0x1c

// writeVariables makes a flash memory with variables, in edk2's format
// (MdeModulePkg, Guid/VariableFormat.h, that of authenticated variables).
func writeVariables(t *testing.T, variables []efiVariable) string {
	t.Helper()
	flash, err := os.ReadFile(ovmfVars)
	if err != nil {
		t.Fatal(err)
	}
	var store bytes.Buffer
	for _, v := range variables {
		name := utf16.Encode([]rune(v.name + "\x00"))
		for _, field := range []any{
			uint16(0x55aa), uint8(0x3f), uint8(0), // begins here; added whole
			uint32(1 | 2),                    // not volatile, for the firmware alone
			uint64(0), [16]byte{}, uint32(0), // not authenticated
			uint32(2 * len(name)), uint32(len(v.data)), v.vendor, name, v.data,
		} {
			if err := binary.Write(&store, binary.LittleEndian, field); err != nil {
				t.Fatal(err)
			}
		}
		for store.Len()%4 != 0 {
			store.WriteByte(0xff)
		}
	}
	if empty := bytes.Repeat([]byte{0xff}, store.Len()); !bytes.Equal(flash[firstVariable:][:len(empty)], empty) {
		t.Fatalf("%s has variables already, or another format", ovmfVars)
	}
	copy(flash[firstVariable:], store.Bytes())
	return writeFile(t, "vars.fd", flash)
}

// attempt is how edk2's iSCSI driver is to log in once.
type attempt struct {
	mac      string
	dhcp     bool // has the machine's and the target's addresses come by DHCP
	ip       netip.Prefix
	gateway  netip.Addr
	target   string
	portal   netip.AddrPort
	lun      uint8
	chapName string // with the secret: CHAP
	secret   string
	// reverseName and reverseSecret: mutual CHAP.
	reverseName, reverseSecret string
}

// attemptVariables are those in which edk2 stable202211 keeps the driver's
// settings.
func attemptVariables(t *testing.T, initiator string, attempts []attempt) []efiVariable {
	t.Helper()
	variables := []efiVariable{
		{iscsiInitiatorVendor, "I_NAME", []byte(initiator + "\x00")},
		// So many exist: the driver makes no empty ones in their place.
		{iscsiConfigVendor, "InitialAttemptOrder", []byte{1, 2, 3, 4, 5, 6, 7, 8}},
	}
	var order []byte
	for i, a := range attempts {
		number := uint8(i + 1)
		order = append(order, number)
		var b bytes.Buffer
		if err := binary.Write(&b, binary.LittleEndian, a.nvdata(number)); err != nil {
			t.Fatal(err)
		}
		variables = append(variables, efiVariable{iscsiInitiatorVendor, fmt.Sprint("Attempt ", number), b.Bytes()})
	}
	return append(variables, efiVariable{iscsiConfigVendor, "AttemptOrder", order})
}

// attemptNVData is edk2's ISCSI_ATTEMPT_CONFIG_NVDATA (NetworkPkg, IScsiDxe,
// IScsiConfig.h), without what is not set here.
type attemptNVData struct {
	_      [17]byte
	Number uint8
	_      [8]byte
	Name   [12]byte
	MAC    [96]byte
	_      [48]byte // name servers and DHCP server

	Port           uint16
	Enabled        uint8
	_              uint8 // IPv4
	IP             [16]byte
	Mask           [4]byte
	Gateway        [16]byte
	InfoFromDHCP   uint8
	TargetFromDHCP uint8
	Target         [224]byte
	TargetIP       [16]byte
	_              uint8
	LUN            [8]byte
	TimeoutMillis  uint16
	Retries        uint8
	ISID           [6]byte
	_              [19]byte  // a redirection
	_              [256]byte // the target as a URL

	AuthType      uint8
	CHAPType      uint8
	CHAPName      [127]byte
	CHAPSecret    [17]byte
	ReverseName   [127]byte
	ReverseSecret [17]byte
	_             uint8
	Active        uint8
}

func (a attempt) nvdata(number uint8) attemptNVData {
	n := attemptNVData{
		Number: number, Port: a.portal.Port(), Enabled: 1, LUN: [8]byte{1: a.lun}, TimeoutMillis: 5000, Retries: 3,
		ISID: [6]byte{0x80, 0, 0, 0, 0, number}, Active: 1,
	}
	copy(n.Name[:], fmt.Sprint("Attempt ", number))
	copy(n.MAC[:], strings.ToUpper(a.mac))
	copy(n.Target[:], a.target)
	copy(n.TargetIP[:], a.portal.Addr().AsSlice())
	if a.dhcp {
		n.InfoFromDHCP, n.TargetFromDHCP = 1, 1
	} else {
		copy(n.IP[:], a.ip.Addr().AsSlice())
		copy(n.Mask[:], net.CIDRMask(a.ip.Bits(), 32))
		copy(n.Gateway[:], a.gateway.AsSlice())
	}
	if a.chapName != "" {
		n.AuthType = 1
		copy(n.CHAPName[:], a.chapName)
		copy(n.CHAPSecret[:], a.secret)
	}
	if a.reverseName != "" {
		n.CHAPType = 1
		copy(n.ReverseName[:], a.reverseName)
		copy(n.ReverseSecret[:], a.reverseSecret)
	}
	return n
}
