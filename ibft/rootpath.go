package ibft

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

// DefaultPort is the TCP port of an iSCSI portal (RFC 7143, 13.1).
const DefaultPort = 3260

// RootPath is an iSCSI root path, DHCP option 17 (RFC 4173, section 5):
//
//	iscsi:<server>:<protocol>:<port>:<LUN>:<target>
type RootPath struct {
	// Server is a host name or an IP address, an IPv6 one without its brackets. Empty means that the target is to
	// be looked up by a discovery service.
	Server string
	// Protocol is the IP protocol number, empty or "6" for TCP. Nobody looks at it.
	Protocol string
	// Port is never 0 in a parsed path: the default is filled in.
	Port   uint16
	LUN    LUN
	Target string
}

// ParseRootPath reads a root path. Percent-encoding is decoded after the fields are told apart, so that an
// encoded colon stays in its field; the target's name keeps its colons in any case.
func ParseRootPath(s string) (RootPath, error) {
	p, err := parseRootPath(s)
	if err != nil {
		return RootPath{}, fmt.Errorf("root path %q: %w", s, err)
	}
	return p, nil
}

func parseRootPath(s string) (RootPath, error) {
	const scheme = "iscsi:"
	if len(s) < len(scheme) || !strings.EqualFold(s[:len(scheme)], scheme) {
		return RootPath{}, errors.New(`does not begin with "iscsi:"`)
	}
	fields, err := splitRootPath(s[len(scheme):])
	if err != nil {
		return RootPath{}, err
	}
	p := RootPath{Protocol: fields[1], Target: fields[4]}
	if p.Server, err = parseServer(fields[0]); err != nil {
		return RootPath{}, err
	}
	if p.Port, err = parsePort(fields[2]); err != nil {
		return RootPath{}, err
	}
	if p.LUN, err = ParseLUN(fields[3]); err != nil {
		return RootPath{}, err
	}
	if strings.HasPrefix(p.Target, ":") {
		return RootPath{}, fmt.Errorf("target name %q begins with a colon: is a colon too many, or an IPv6 address without its brackets?", p.Target)
	}
	if p.Target == "" {
		return RootPath{}, errors.New("no target name: it is the sixth field, as in iscsi:192.0.2.1::::iqn.2026-01.com.example:disk")
	}
	return p, nil
}

// splitRootPath returns server, protocol, port, LUN and target, each decoded. Colons in brackets do not separate.
func splitRootPath(s string) (fields [5]string, err error) {
	rest := s
	for i := range fields {
		field := rest
		if i < len(fields)-1 {
			end := separator(rest)
			if end < 0 {
				return fields, fmt.Errorf("%d fields after iscsi:, want 5: server, protocol, port, LUN, target", i+1)
			}
			field, rest = rest[:end], rest[end+1:]
		}
		if fields[i], err = url.PathUnescape(field); err != nil {
			return fields, err
		}
	}
	return fields, nil
}

// separator returns the position of the first colon outside brackets, or -1.
func separator(s string) int {
	inside := false
	for i := range len(s) {
		switch {
		case s[i] == '[':
			inside = true
		case s[i] == ']':
			inside = false
		case s[i] == ':' && !inside:
			return i
		}
	}
	return -1
}

func parseServer(s string) (string, error) {
	if inner, ok := strings.CutPrefix(s, "["); ok {
		inner, ok = strings.CutSuffix(inner, "]")
		if addr, err := netip.ParseAddr(inner); !ok || err != nil || !addr.Is6() {
			return "", fmt.Errorf("server %q: brackets hold an IPv6 address only", s)
		}
		return inner, nil
	}
	if strings.ContainsAny(s, "[]:") {
		return "", fmt.Errorf("server %q: not a host name, nor an IP address (an IPv6 one goes in brackets)", s)
	}
	return s, nil
}

func parsePort(s string) (uint16, error) {
	if s == "" {
		return DefaultPort, nil
	}
	port, err := strconv.ParseUint(s, 10, 16)
	if err != nil {
		return 0, fmt.Errorf("port %q: not a number up to 65535", s)
	}
	if port == 0 {
		return DefaultPort, nil
	}
	return uint16(port), nil
}

// String returns the path in the form that ParseRootPath reads, with defaults left empty:
// "iscsi:192.0.2.1::::iqn.2026-01.com.example:disk".
func (p RootPath) String() string {
	server := escape(p.Server, "")
	if strings.Contains(p.Server, ":") {
		server = "[" + escape(p.Server, ":") + "]"
	}
	var port, lun string
	if p.Port != 0 && p.Port != DefaultPort {
		port = strconv.Itoa(int(p.Port))
	}
	if p.LUN != (LUN{}) {
		lun = p.LUN.String()
	}
	return strings.Join([]string{"iscsi", server, escape(p.Protocol, ""), port, lun, escape(p.Target, ":")}, ":")
}

// MarshalText returns String's form.
func (p RootPath) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText reads what ParseRootPath reads.
func (p *RootPath) UnmarshalText(text []byte) error {
	v, err := ParseRootPath(string(text))
	if err == nil {
		*p = v
	}
	return err
}

// escape percent-encodes every byte but RFC 3986's unreserved ones and those in keep.
func escape(s, keep string) string {
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		letter := 'a' <= c|0x20 && c|0x20 <= 'z'
		if letter || '0' <= c && c <= '9' || strings.IndexByte("-._~"+keep, c) >= 0 {
			b.WriteByte(c)
		} else {
			b.Write([]byte{'%', hex[c>>4], hex[c&15]})
		}
	}
	return b.String()
}
