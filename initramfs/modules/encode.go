package modules

import (
	"fmt"
	"strings"
)

// IndexFile is the name under which an index lies beside the modules it
// describes, in /lib/modules/VERSION.
const IndexFile = "bootlun.index"

// heading begins the first line of an index file; the kernel's version follows.
const heading = "bootlun-modules-1 "

// Encode returns the index as text: a heading with the kernel's version, then
// a line "module NAME PATH" or "builtin NAME" for each module, each followed
// by its own lines "KEY VALUE". Equal indexes have equal texts.
func (x *Index) Encode() []byte {
	var b strings.Builder
	b.WriteString(heading + x.Version + "\n")
	for _, m := range x.modules {
		if m.Builtin() {
			fmt.Fprintf(&b, "builtin %s\n", m.Name)
		} else {
			fmt.Fprintf(&b, "module %s %s\n", m.Name, m.Path)
		}
		for _, l := range m.lists() {
			for _, value := range *l.values {
				if !strings.Contains(value, "\n") { // no name has one
					fmt.Fprintf(&b, "%s %s\n", l.key, value)
				}
			}
		}
	}
	return []byte(b.String())
}

// Decode reads what Encode wrote.
func Decode(data []byte) (*Index, error) {
	head, rest, _ := strings.Cut(string(data), "\n")
	version, ok := strings.CutPrefix(head, heading)
	if !ok {
		return nil, fmt.Errorf("index of kernel modules: line 1 is %.40q, not %q and a version", head, heading)
	}
	x := &Index{Version: version}
	var m *Module
	for number, line := 2, ""; rest != ""; number++ {
		line, rest, _ = strings.Cut(rest, "\n")
		next, err := m.decodeLine(line)
		if err == nil && next != m && m != nil {
			err = x.Add(m)
		}
		if err != nil {
			return nil, fmt.Errorf("index of kernel modules: line %d: %w", number, err)
		}
		m = next
	}
	if m == nil {
		return x, nil
	}
	return x, x.Add(m)
}

// decodeLine takes one line: it belongs to m, or begins the next module, which
// is then returned. m is nil before the first module.
func (m *Module) decodeLine(line string) (*Module, error) {
	key, value, ok := strings.Cut(line, " ")
	if !ok || value == "" {
		return nil, fmt.Errorf("%.40q has no value", line)
	}
	switch key {
	case "builtin":
		return &Module{Name: value}, nil
	case "module":
		name, file, ok := strings.Cut(value, " ")
		if !ok || file == "" {
			return nil, fmt.Errorf("module %.40q has no file", name)
		}
		return &Module{Name: name, Path: file}, nil
	}
	if m == nil {
		return nil, fmt.Errorf("%.40q comes before the first module", line)
	}
	for _, l := range m.lists() {
		if l.key == key {
			*l.values = append(*l.values, value)
			return m, nil
		}
	}
	return nil, fmt.Errorf("unknown key %.40q", key)
}

// list is one list of a module and its key in an index file.
type list struct {
	key    string
	values *[]string
}

func (m *Module) lists() [5]list {
	return [...]list{
		{"alias", &m.Aliases},
		{"depends", &m.Depends},
		{"pre", &m.SoftPre},
		{"post", &m.SoftPost},
		{"firmware", &m.Firmware},
	}
}
