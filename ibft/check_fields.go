package ibft

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

// heapString is a string field as far as it may be looked at.
type heapString struct {
	length int    // as the field says
	text   string // up to the first NUL; empty when the string is absent or lies outside the table
	broken bool   // it has a finding already
}

// str judges the string whose length and offset lie at the given place of e. Not more than the longest string there
// may be is looked at, so that any number of strings over the same bytes takes linear time.
func (c *checker) str(e entry, field string, at int) heapString {
	length, offset := int(getU16(e.bytes, at)), int(getU16(e.bytes, at+2))
	s := heapString{length: length, broken: true}
	here := e.at(at, 4)
	if length == 0 {
		if offset != 0 {
			c.find(stringOffsetUnused, here, "%s: length 0, offset %#x", field, offset)
		}
		return heapString{}
	}
	if offset+length > len(c.table) {
		c.find(stringRange, here, "%s: %d bytes at %#x, the table ends at %#x", field, length, offset, len(c.table))
		return s
	}
	b := c.table[offset : offset+min(length, maxString)]
	text, _, cut := bytes.Cut(b, []byte{0})
	s.text = string(text)
	switch end := offset + length; {
	case c.covered(span{offset, end}):
		c.find(stringOverlap, here, "%s: %d bytes at %#x, where the header or a structure is", field, length, offset)
	case length > maxString:
		c.find(stringTooLong, here, "%s: %d bytes, at most %d are possible", field, length, maxString)
	case cut:
		c.find(stringNULInside, here, "%s: its length is %d, its first NUL is byte %d", field, length, len(text))
	case end == len(c.table) || c.table[end] != 0:
		c.find(stringNULMissing, here, "%s: no NUL at %#x, behind its %d bytes", field, end, length)
		s.broken = false
	default:
		s.broken = false
	}
	return s
}

// name is str for what is no secret: it has to print.
func (c *checker) name(e entry, field string, at int) heapString {
	s := c.str(e, field, at)
	if i := strings.IndexFunc(s.text, func(r rune) bool { return r < ' ' || r == 0x7f }); i >= 0 && !s.broken {
		c.find(stringUnprintable, e.at(at, 4), "%s: byte %d is %#02x", field, i, s.text[i])
		s.broken = true
	}
	return s
}

// addr judges the address at the given place of e, and returns it; invalid for an absent one.
func (c *checker) addr(e entry, field string, at int) netip.Addr {
	b := e.bytes[at:][:16]
	addr := getAddr(b)
	here := e.at(at, 16)
	switch {
	case !addr.IsValid():
		if !zero(b) {
			c.find(addressMappedNone, here, "%s: ::ffff:0.0.0.0", field)
		}
	case zero(b[:12]) && b[12] != 0:
		c.find(addressUnmapped, here, "%s: %s, perhaps %d.%d.%d.%d", field, addr, b[12], b[13], b[14], b[15])
	case notUnicast(addr):
		c.find(addressNotUnicast, here, "%s: %s", field, addr)
	}
	return addr
}

// notUnicast says whether no host on a network has the address: groups, loopback, and what IPv4 reserves
// (RFC 1122, 3.2.1.3).
func notUnicast(a netip.Addr) bool {
	if a.Is4() {
		first := a.As4()[0]
		return first == 0 || first == 127 || first >= 224
	}
	return a.IsMulticast() || a.IsLoopback()
}

func (c *checker) initiator(e entry) {
	c.addr(e, "iSNS server", initiatorISNS)
	c.addr(e, "SLP server", initiatorSLP)
	c.addr(e, "primary RADIUS server", initiatorPrimaryRADIUS)
	c.addr(e, "secondary RADIUS server", initiatorSecondaryRADIUS)
	name := c.name(e, "name", initiatorName)
	if name.length == 0 {
		c.find(initiatorNameMissing, e.at(initiatorName, 4), "its name has length 0")
		return
	}
	c.iscsiName(e, initiatorNameForm, initiatorName, name)
}

func (c *checker) iscsiName(e entry, rule ruleID, at int, s heapString) {
	if s.broken {
		return
	}
	if err := iscsiName(s.text); err != nil {
		c.find(rule, e.at(at, 4), "name %q: %v", s.text, err)
	}
}

// iscsiName says what keeps s from having the form of an iSCSI name (RFC 7143, 4.2.7; RFC 3980 for naa).
func iscsiName(s string) error {
	if len(s) > 223 {
		return fmt.Errorf("%d bytes, at most 223 are possible", len(s))
	}
	kind, rest, _ := strings.Cut(s, ".")
	switch strings.ToLower(kind) {
	case "iqn":
		date, domain, _ := strings.Cut(rest, ".")
		if len(date) != 7 || date[4] != '-' || strings.Trim(date[:4]+date[5:], "0123456789") != "" {
			return errors.New(`want the year and month of a domain name after "iqn.", such as 2026-01`)
		}
		if domain == "" || domain[0] == ':' {
			return errors.New("want a domain name, turned round, after the month")
		}
	case "eui", "naa":
		digits := strings.Trim(strings.ToLower(rest), "0123456789abcdef") == ""
		if n := len(rest); !digits || n != 16 && (n != 32 || kind == "eui") {
			return errors.New("want 16 hexadecimal digits, or 32 in a naa name, after the first dot")
		}
	default:
		return errors.New("neither iqn, eui nor naa comes before its first dot")
	}
	if strings.ContainsAny(s, " \t_/\\\"'") {
		return errors.New("of ASCII it may have letters, digits, hyphen, dot and colon")
	}
	return nil
}

func (c *checker) nic(e entry) {
	b := e.bytes
	ip := c.addr(e, "IP address", nicIP)
	gateway := c.addr(e, "gateway", nicGateway)
	c.addr(e, "primary DNS server", nicPrimaryDNS)
	c.addr(e, "secondary DNS server", nicSecondaryDNS)
	c.addr(e, "DHCP server", nicDHCP)
	c.nicAddress(e, ip, gateway)
	switch o := Origin(b[nicOrigin]); {
	case o == OriginUnchanged || o == OriginUnchangedEDK2:
		c.find(nicOriginUnchanged, e.at(nicOrigin, 1), "origin %d", o)
	case o > OriginRouterAdvertisement:
		c.find(nicOriginUnknown, e.at(nicOrigin, 1), "origin %d", o)
	}
	if vlan := getU16(b, nicVLAN); vlan > 4094 {
		c.find(nicVLANRange, e.at(nicVLAN, 2), "VLAN %d", vlan)
	}
	if mac := MAC(b[nicMAC:]); mac == (MAC{}) || mac[0]&1 != 0 {
		c.find(nicMACForm, e.at(nicMAC, 6), "MAC %s", mac)
	}
	host := c.name(e, "hostname", nicHostname)
	if !host.broken && strings.IndexFunc(host.text, notInHostname) >= 0 {
		c.find(nicHostnameForm, e.at(nicHostname, 4), "host name %q", host.text)
	}
}

func notInHostname(r rune) bool {
	return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '-' || r == '.')
}

// nicAddress judges a NIC's address by its prefix, its gateway and its flags.
func (c *checker) nicAddress(e entry, ip, gateway netip.Addr) {
	bits, here := int(e.bytes[nicPrefixLen]), e.at(nicPrefixLen, 1)
	if !ip.IsValid() {
		if Origin(e.bytes[nicOrigin]) != OriginDHCP {
			c.find(nicAddressMissing, e.at(nicIP, 16), "no address, and its origin is %s", Origin(e.bytes[nicOrigin]))
		}
		return
	}
	if global := e.flags&byte(Global) != 0; global == ip.IsLinkLocalUnicast() {
		c.find(nicGlobalFlag, e.at(structFlags, 1), "flags %#02x, and the address is %s", e.flags, ip)
	}
	switch {
	case bits > ip.BitLen():
		c.find(nicPrefixRange, here, "prefix length %d, an address such as %s has %d bits", bits, ip, ip.BitLen())
	case bits == 0:
		c.find(nicPrefixZero, here, "prefix length 0, and the address is %s", ip)
	case gateway.IsValid() && !gateway.IsLinkLocalUnicast() && !netip.PrefixFrom(ip, bits).Contains(gateway):
		c.find(nicGatewayOffLink, e.at(nicGateway, 16), "gateway %s is not in %s", gateway, netip.PrefixFrom(ip, bits).Masked())
	}
}

func (c *checker) target(e entry) {
	b := e.bytes
	if !c.addr(e, "IP address", targetIP).IsValid() {
		c.find(targetAddressMissing, e.at(targetIP, 16), "its address is zero")
	}
	if getU16(b, targetPort) == 0 {
		c.find(targetPortZero, e.at(targetPort, 2), "its port is 0")
	}
	// With the peripheral method the first byte is a bus (SAM-5, 4.7.7.2), which no initiator but a RAID's has.
	if lun := LUN(b[targetLUN:]); lun[0] != 0 && lun[0] < 0x40 && zero(lun[1:]) {
		c.find(targetLUNByteOrder, e.at(targetLUN, 8), "LUN bytes %x read as LUN %s, LUN %d is 00%02x000000000000", lun[:], lun, lun[0], lun[0])
	}
	name := c.name(e, "name", targetName)
	if name.length == 0 {
		c.find(targetNameMissing, e.at(targetName, 4), "its name has length 0")
	} else {
		c.iscsiName(e, targetNameForm, targetName, name)
	}
	c.chap(e)
}

// chap judges what a target says of authentication. No finding tells a secret, nor how long one is that is usable.
func (c *checker) chap(e entry) {
	name := c.name(e, "CHAP name", targetCHAPName)
	secret := c.str(e, "CHAP secret", targetCHAPSecret)
	reverseName := c.name(e, "reverse CHAP name", targetReverseCHAPName)
	reverse := c.str(e, "reverse CHAP secret", targetReverseCHAPSecret)

	kind, here := CHAPType(e.bytes[targetCHAP]), e.at(targetCHAP, 1)
	oneWay, mutual := name.length+secret.length > 0, reverseName.length+reverse.length > 0
	radius := e.flags&byte(RADIUSReverseCHAP) != 0 // the server has the target's secret
	switch {
	case kind > CHAPMutual:
		c.find(targetCHAPType, here, "CHAP type %d", kind)
	case kind == CHAPNone && (oneWay || mutual), kind == CHAPOneWay && mutual:
		c.find(targetCHAPUnused, here, "CHAP type %s, and there are names or secrets beyond that", kind)
	}
	if kind != CHAPNone && (name.length == 0 || secret.length == 0) {
		c.find(targetCHAPIncomplete, e.at(targetCHAPName, 8), "CHAP type %s, name of %d bytes, %s", kind, name.length, presence(secret))
	}
	if kind == CHAPMutual && (reverseName.length == 0 || reverse.length == 0) && !radius {
		c.find(targetReverseCHAPIncomplete, e.at(targetReverseCHAPName, 8), "CHAP type %s, reverse name of %d bytes, %s",
			kind, reverseName.length, presence(reverse))
	}
	if kind == CHAPMutual && secret.text != "" && secret.text == reverse.text {
		c.find(targetCHAPSameSecret, e.at(targetReverseCHAPSecret, 4), "the reverse secret is the secret")
	}
	c.shortSecret(e, "CHAP secret", targetCHAPSecret, secret)
	c.shortSecret(e, "reverse CHAP secret", targetReverseCHAPSecret, reverse)
}

func presence(secret heapString) string {
	if secret.length == 0 {
		return "no secret"
	}
	return "a secret"
}

func (c *checker) shortSecret(e entry, field string, at int, s heapString) {
	if n := len(s.text); !s.broken && 0 < n && n < 12 {
		c.find(targetCHAPSecretShort, e.at(at, 4), "%s: %d bytes, want 12 at least", field, n)
	}
}
