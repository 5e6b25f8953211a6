package ibft

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// json writes the form that json.Unmarshal reads into a Table; what secrets there are at this point are wanted.
func (e *exporter) json() {
	b, err := e.table.RevealJSON()
	if err != nil {
		e.fail(err)
		return
	}
	var indented bytes.Buffer
	if err := json.Indent(&indented, b, "", "  "); err != nil {
		e.fail(err)
	}
	e.line("%s", indented.Bytes())
}

func (e *exporter) raw() []byte {
	b, err := e.table.Build(BuildOptions{})
	if err != nil {
		e.fail(err)
	}
	return b
}

func (e *exporter) rawBytes() { e.out.Write(e.raw()) }

// hex writes pairs of digits, 16 a line.
func (e *exporter) hex() {
	b := e.raw()
	for len(b) > 0 {
		n := min(16, len(b))
		e.line("% x", b[:n])
		b = b[n:]
	}
}

// acpidump writes what acpidump prints: a heading of signature and address, which is not known, then lines of an
// offset, 16 bytes and the same in ASCII, and an empty line.
func (e *exporter) acpidump() {
	b := e.raw()
	if e.err != nil {
		return
	}
	e.line("%s @ 0x%016X", b[:4], 0)
	for at := 0; at < len(b); at += 16 {
		row := b[at:min(at+16, len(b))]
		e.line("    %04X: %-47s  %s", at, strings.ToUpper(fmt.Sprintf("% x", row)), visible(row))
	}
	e.line("")
}

// visible returns the bytes as ASCII, with a dot for what would not show.
func visible(b []byte) string {
	s := bytes.Clone(b)
	for i, c := range s {
		if c < ' ' || c > '~' {
			s[i] = '.'
		}
	}
	return string(s)
}

func (e *exporter) cpio() {
	b := e.raw()
	if e.err != nil {
		return
	}
	archive, err := EarlyCPIO(b)
	if err != nil {
		e.fail(err)
	}
	e.out.Write(archive)
}

// fileName returns the name of the table's file, after making sure that the table can be in one.
func (e *exporter) fileName() string {
	e.raw()
	if !utf8.ValidString(e.file) || strings.ContainsFunc(e.file, unicode.IsControl) {
		e.fail(fmt.Errorf("file %q: the name holds control characters, or is not UTF-8", e.file))
	}
	return e.file
}

// qemuFile is the option's value: a comma in it is doubled (QEMU's manual, "QemuOpts").
func (e *exporter) qemuFile() string {
	return "file=" + strings.ReplaceAll(e.fileName(), ",", ",,")
}

func (e *exporter) qemu() { e.line("-acpitable %s", shellQuote(e.qemuFile())) }

// xl writes a string of xl.cfg(5), which has no way to escape its quotes.
func (e *exporter) xl() {
	name := e.fileName()
	quote := `"`
	if strings.Contains(name, quote) {
		quote = "'"
	}
	if strings.Contains(name, quote) || strings.Contains(name, `\`) {
		e.fail(fmt.Errorf("file %q: xl.cfg cannot name it", name))
	}
	if !strings.HasPrefix(name, "/") {
		e.fail(errors.New("the file's name must begin at /: xl looks for others in a place of its own"))
	}
	e.line("acpi_firmware=%s%s%s", quote, name, quote)
}

// libvirt hands the option through to QEMU: elements of the domain's own know signatures of other tables only.
func (e *exporter) libvirt() {
	escape := strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", "'", "&apos;")
	e.line("<!-- the namespace goes on the domain element itself: <domain type='kvm' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'> -->")
	e.line("<qemu:commandline xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>")
	e.line("  <qemu:arg value='-acpitable'/>")
	e.line("  <qemu:arg value='%s'/>", escape.Replace(e.qemuFile()))
	e.line("</qemu:commandline>")
}

// shellQuote returns s as one word for a shell.
func shellQuote(s string) string {
	plain := func(r rune) bool {
		return r >= '0' && r <= '9' || r|0x20 >= 'a' && r|0x20 <= 'z' || strings.ContainsRune("-._/:,=@%+[]", r)
	}
	if s != "" && !strings.ContainsFunc(s, func(r rune) bool { return !plain(r) }) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
