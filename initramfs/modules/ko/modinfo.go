package ko

import (
	"bytes"
	"debug/elf"
	"fmt"
	"io"
	"path"
	"strings"

	"github.com/bootlun/bootlun/initramfs/modules"
)

// maxModinfo bounds the .modinfo section of a module, in bytes. The largest
// of Debian 12 has 120 KB.
const maxModinfo = 4 << 20

// readModinfo returns the contents of the .modinfo section of an ELF file:
// "key=value" strings, each ended by a zero byte.
func readModinfo(r io.ReaderAt) ([]byte, error) {
	f, err := elf.NewFile(r)
	if err != nil {
		return nil, err
	}
	s := f.Section(".modinfo")
	if s == nil {
		return nil, fmt.Errorf("no .modinfo section: not a kernel module")
	}
	if s.Type == elf.SHT_NOBITS || s.Size > maxModinfo {
		return nil, fmt.Errorf("unbelievable .modinfo section: %v of %d bytes", s.Type, s.Size)
	}
	return s.Data()
}

// parseModinfo makes a module of the strings of a .modinfo section.
func parseModinfo(data []byte, file string) *modules.Module {
	m := &modules.Module{Name: nameOf(file), Path: file}
	for entry := range bytes.SplitSeq(data, []byte{0}) {
		if key, value, ok := strings.Cut(string(entry), "="); ok {
			setField(m, key, value)
		}
	}
	return m
}

// setField files one line of .modinfo. Keys that say nothing about loading,
// such as "author", are left out.
func setField(m *modules.Module, key, value string) {
	switch key {
	case "name":
		m.Name = value
	case "alias":
		m.Aliases = append(m.Aliases, value)
	case "depends":
		for dep := range strings.SplitSeq(value, ",") {
			if dep != "" {
				m.Depends = append(m.Depends, dep)
			}
		}
	case "softdep":
		addSoftdep(m, value)
	case "firmware":
		m.Firmware = append(m.Firmware, value)
	}
}

// addSoftdep takes "pre: a b post: c" apart.
func addSoftdep(m *modules.Module, value string) {
	list := &m.SoftPre
	for word := range strings.FieldsSeq(value) {
		switch word {
		case "pre:":
			list = &m.SoftPre
		case "post:":
			list = &m.SoftPost
		default:
			*list = append(*list, word)
		}
	}
}

// nameOf derives a module's name from its file's, as the kernel's build does.
func nameOf(file string) string {
	base, _, _ := strings.Cut(path.Base(file), ".ko")
	return strings.ReplaceAll(base, "-", "_")
}
