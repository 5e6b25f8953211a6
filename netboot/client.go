package netboot

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"strings"

	"github.com/bootlun/bootlun/ibft"
	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/iana"
)

// VendorClass is what our own init says in option 60.
const VendorClass = "bootlun"

// Options beyond RFC 2132 (ipxe.org/howto/dhcpd lists them).
const (
	optionIPXE          = dhcpv4.GenericOptionCode(175) // iPXE's encapsulated options
	optionInitiatorName = dhcpv4.GenericOptionCode(203)

	ipxeNoPXEDHCP       = dhcpv4.GenericOptionCode(176) // do not wait for a proxy DHCP server
	ipxeUsername        = dhcpv4.GenericOptionCode(190)
	ipxePassword        = dhcpv4.GenericOptionCode(191)
	ipxeReverseUsername = dhcpv4.GenericOptionCode(192)
	ipxeReversePassword = dhcpv4.GenericOptionCode(193)
)

// clientKind is who asks on a machine's behalf; each is told something else.
type clientKind int

const (
	kindSystem   clientKind = iota // an operating system, or anything else
	kindPXE                        // a PXE ROM or UEFI that is not iPXE
	kindHTTPBoot                   // UEFI HTTP boot
	kindIPXE
	kindInit // our own init
)

func (k clientKind) String() string {
	return [...]string{"system", "PXE", "UEFI HTTP", "iPXE", "bootlun init"}[k]
}

// kindOf tells who sent a request.
func kindOf(m *dhcpv4.DHCPv4) clientKind {
	class := m.ClassIdentifier()
	switch {
	case isIPXE(m):
		return kindIPXE
	case class == VendorClass:
		return kindInit
	case strings.HasPrefix(class, "HTTPClient"):
		return kindHTTPBoot
	case strings.HasPrefix(class, "PXEClient"):
		return kindPXE
	}
	return kindSystem
}

// isIPXE looks for iPXE's user class, bare or as RFC 3004 has it, and for its encapsulated options. A request of ours
// never holds them: it only asks for them.
func isIPXE(m *dhcpv4.DHCPv4) bool {
	class := m.Options.Get(dhcpv4.OptionUserClassInformation)
	return bytes.Equal(class, []byte("iPXE")) || bytes.Equal(class, []byte("\x04iPXE")) || m.Options.Has(optionIPXE)
}

// clientKey names a client in the pool: its Ethernet address, else its client identifier, else nothing.
func clientKey(m *dhcpv4.DHCPv4) (string, bool) {
	if len(m.ClientHWAddr) == 6 && !bytes.Equal(m.ClientHWAddr, make([]byte, 6)) {
		return m.ClientHWAddr.String(), true
	}
	if id := m.Options.Get(dhcpv4.OptionClientIdentifier); len(id) > 1 {
		return "id-" + hex.EncodeToString(id), true
	}
	return "", false
}

// macOf is a request's Ethernet address; zero where it has none.
func macOf(m *dhcpv4.DHCPv4) (mac ibft.MAC) {
	if len(m.ClientHWAddr) == len(mac) {
		copy(mac[:], m.ClientHWAddr)
	}
	return mac
}

// archOf is the client's processor and firmware (RFC 4578, 2.1), BIOS where it does not say.
func archOf(m *dhcpv4.DHCPv4) iana.Arch {
	if archs := m.ClientArch(); len(archs) > 0 {
		return archs[0]
	}
	return iana.INTEL_X86PC
}

// loaderNames are the iPXE binaries for a client, the best first: those that use the firmware's own network driver,
// which works where the firmware's did, then those with iPXE's drivers.
func loaderNames(arch iana.Arch) []string {
	switch arch {
	case iana.INTEL_X86PC:
		return []string{"undionly.kpxe", "ipxe.pxe"}
	case iana.EFI_X86_64, iana.EFI_BC, iana.EFI_X86_64_HTTP, iana.EFI_BC_HTTP:
		return []string{"snponly.efi", "ipxe.efi", "snponly-x86_64.efi", "ipxe-x86_64.efi"}
	case iana.EFI_IA32, iana.EFI_X86_HTTP:
		return []string{"snponly-i386.efi", "ipxe-i386.efi"}
	case iana.EFI_ARM64, iana.EFI_ARM64_HTTP:
		return []string{"snponly-arm64.efi", "ipxe-arm64.efi"}
	}
	return nil
}

// loaderFor returns the name of the binary in LoaderDir for a client.
func (s *Server) loaderFor(arch iana.Arch) (string, error) {
	names := loaderNames(arch)
	if len(names) == 0 {
		return "", fmt.Errorf("there is no iPXE binary for client architecture %d (%s)", arch, arch)
	}
	if s.loaders == nil {
		return "", fmt.Errorf("no loaderDir is configured: its firmware is not iPXE and needs %s", names[0])
	}
	for _, name := range names {
		if info, err := s.loaders.Stat(name); err == nil && info.Mode().IsRegular() {
			return name, nil
		}
	}
	return "", fmt.Errorf("loaderDir %s has none of %s: put one there", s.cfg.LoaderDir, strings.Join(names, ", "))
}

// netIP is an address as package dhcpv4 has it; nil for none.
func netIP(a netip.Addr) net.IP { return a.AsSlice() }

// fromIP is an address as package netip has it; invalid for none and for 0.0.0.0.
func fromIP(ip net.IP) netip.Addr {
	a, ok := netip.AddrFromSlice(ip.To4())
	if !ok || a.IsUnspecified() {
		return netip.Addr{}
	}
	return a
}
