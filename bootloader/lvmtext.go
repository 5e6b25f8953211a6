package bootloader

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// lvmSection is a section of LVM's metadata: names with a string, an int64, a []any of those, or a section each.
type lvmSection map[string]any

func (s lvmSection) text(name string) string        { v, _ := s[name].(string); return v }
func (s lvmSection) number(name string) int64       { v, _ := s[name].(int64); return v }
func (s lvmSection) list(name string) []any         { v, _ := s[name].([]any); return v }
func (s lvmSection) section(name string) lvmSection { v, _ := s[name].(lvmSection); return v }

// maxLVMDepth is how deep sections may lie in one another. LVM's go down to a segment: four.
const maxLVMDepth = 8

// parseLVM reads metadata: lines "name = value" and "name {", up to "}" (lvm.conf(5) has the same syntax).
func parseLVM(text string) (lvmSection, error) {
	p := lvmParser{rest: text}
	s, err := p.section(0)
	if err != nil {
		return nil, fmt.Errorf("%w before %.20q", err, p.rest)
	}
	return s, nil
}

type lvmParser struct{ rest string }

var errLVMSyntax = errors.New("a syntax error")

// token cuts off the next name, number, quoted string (with its first quote) or mark; "" is the end.
func (p *lvmParser) token() string {
	for {
		p.rest = strings.TrimLeft(p.rest, " \t\r\n\x00")
		if !strings.HasPrefix(p.rest, "#") {
			break
		}
		_, p.rest, _ = strings.Cut(p.rest, "\n")
	}
	if p.rest == "" {
		return ""
	}
	end := 1
	switch c := p.rest[0]; {
	case c == '"':
		for end < len(p.rest) && p.rest[end] != '"' {
			if p.rest[end] == '\\' {
				end++
			}
			end++
		}
		if end >= len(p.rest) {
			p.rest = ""
			return ""
		}
		text := strings.NewReplacer(`\"`, `"`, `\\`, `\`).Replace(p.rest[:end])
		p.rest = p.rest[end+1:]
		return text
	case strings.IndexByte("{}[]=,", c) < 0:
		if end = strings.IndexAny(p.rest, " \t\r\n{}[]=,#\"\x00"); end < 0 {
			end = len(p.rest)
		}
	}
	token := p.rest[:end]
	p.rest = p.rest[end:]
	return token
}

func (p *lvmParser) section(depth int) (lvmSection, error) {
	s := make(lvmSection)
	for {
		name := p.token()
		switch {
		case name == "" && depth == 0, name == "}" && depth > 0:
			return s, nil
		case name == "", strings.IndexByte("{}[]=,\"", name[0]) >= 0, depth == maxLVMDepth:
			return nil, errLVMSyntax
		}
		var err error
		switch p.token() {
		case "{":
			s[name], err = p.section(depth + 1)
		case "=":
			s[name], err = p.value()
		default:
			err = errLVMSyntax
		}
		if err != nil {
			return nil, err
		}
	}
}

func (p *lvmParser) value() (any, error) {
	token := p.token()
	if token != "[" {
		return scalar(token)
	}
	list := []any{}
	for {
		switch token = p.token(); token {
		case "]":
			return list, nil
		case ",":
			continue
		}
		v, err := scalar(token)
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
}

// scalar is a string or a number; of numbers with a fraction, which say nothing of where a volume lies, the whole part.
func scalar(token string) (any, error) {
	if text, ok := strings.CutPrefix(token, `"`); ok {
		return text, nil
	}
	whole, _, _ := strings.Cut(token, ".")
	n, err := strconv.ParseInt(whole, 10, 64)
	if err != nil {
		return nil, errLVMSyntax
	}
	return n, nil
}
