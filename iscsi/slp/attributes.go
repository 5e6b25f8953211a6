package slp

import (
	"fmt"
	"strings"
)

// Attribute is a tag and its values (RFC 2608, 5).
type Attribute struct {
	Tag    string
	Values []string
}

// Attributes are those of a service.
type Attributes []Attribute

// reserved are the characters that stand escaped in tags and values (RFC 2608, 5).
const reserved = "(),\\!<=>~;*+"

// String is the list as it is on the wire: (tag=value,value),(tag=value).
func (list Attributes) String() string {
	var b strings.Builder
	for i, a := range list {
		if i > 0 {
			b.WriteByte(',')
		}
		if len(a.Values) == 0 { // a keyword
			b.WriteString(escape(a.Tag))
			continue
		}
		b.WriteString("(" + escape(a.Tag) + "=")
		for j, v := range a.Values {
			if j > 0 {
				b.WriteByte(',')
			}
			b.WriteString(escape(v))
		}
		b.WriteByte(')')
	}
	return b.String()
}

func escape(s string) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		if c < ' ' || c == 0x7f || strings.IndexByte(reserved, c) >= 0 {
			fmt.Fprintf(&b, "\\%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// unescape undoes escape; what is no escape stays as it is.
func unescape(s string) string {
	if !strings.Contains(s, "\\") {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+2 < len(s) {
			var c byte
			if n, err := fmt.Sscanf(s[i+1:i+3], "%02x", &c); n == 1 && err == nil {
				b.WriteByte(c)
				i += 2
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// ParseAttributes reads a list of attributes. A tag without parentheses is a
// keyword, which has no value.
func ParseAttributes(s string) (list Attributes, err error) {
	for s = strings.TrimSpace(s); s != ""; {
		if s[0] != '(' {
			var keyword string
			keyword, s, _ = strings.Cut(s, ",")
			if keyword = strings.TrimSpace(unescape(keyword)); keyword != "" { // nor is one that is nothing but an escaped blank
				list = append(list, Attribute{Tag: keyword})
			}
			continue
		}
		inside, rest, closed := strings.Cut(s[1:], ")")
		tag, values, valued := strings.Cut(inside, "=")
		if !closed || !valued {
			return nil, fmt.Errorf("%w: attributes at %.40q are not (tag=value)", ErrBadMessage, s)
		}
		a := Attribute{Tag: unescape(strings.TrimSpace(tag))}
		for v := range strings.SplitSeq(values, ",") {
			a.Values = append(a.Values, unescape(strings.TrimSpace(v)))
		}
		list = append(list, a)
		s = strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(rest), ","))
	}
	return list, nil
}

// values returns those of a tag, whose case does not count.
func (list Attributes) values(tag string) ([]string, bool) {
	for _, a := range list {
		if strings.EqualFold(a.Tag, tag) {
			return a.Values, true
		}
	}
	return nil, false
}
