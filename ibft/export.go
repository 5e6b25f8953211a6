package ibft

import (
	"errors"
	"fmt"
	"strings"
)

// Format is a form in which other programs take or give what a table says.
type Format string

// The formats.
const (
	FormatRaw      Format = "raw"
	FormatJSON     Format = "json"
	FormatHex      Format = "hex"
	FormatACPIDump Format = "acpidump"
	FormatCPIO     Format = "cpio"

	FormatQEMU    Format = "qemu"
	FormatXL      Format = "xl"
	FormatLibvirt Format = "libvirt"

	FormatDracut    Format = "dracut"
	FormatDebian    Format = "debian"
	FormatOpenISCSI Format = "open-iscsi"
	FormatIPXE      Format = "ipxe"
	FormatDHCP      Format = "dhcp"

	FormatNetworkd       Format = "networkd"
	FormatNetworkManager Format = "networkmanager"
	FormatNetplan        Format = "netplan"
)

// FormatInfo says what a format is and which ways it goes.
type FormatInfo struct {
	Format Format
	About  string
	// Export says that Table.Export writes it, Import that Import reads it.
	Export, Import bool
	// Binary says that what Export writes is no text.
	Binary bool
	// NamesFile says that the format names a file that holds the table's bytes.
	NamesFile bool
}

type formatter struct {
	FormatInfo
	export func(*exporter)
	parse  func(string) ([]Settings, error)
	bare   bool // has no place for secrets
}

func formatters() []formatter {
	one := func(parse func(string) (Settings, error)) func(string) ([]Settings, error) {
		return func(text string) ([]Settings, error) {
			s, err := parse(text)
			return []Settings{s}, err
		}
	}
	entry := func(f Format, about string, export func(*exporter), parse func(string) ([]Settings, error)) formatter {
		info := FormatInfo{Format: f, About: about, Export: export != nil, Import: parse != nil}
		return formatter{FormatInfo: info, export: export, parse: parse}
	}
	binary := func(f formatter) formatter {
		f.Binary = true
		return f
	}
	naming := func(f formatter) formatter {
		f.NamesFile, f.bare = true, true
		return f
	}
	bare := func(f formatter) formatter {
		f.bare = true
		return f
	}
	list := []formatter{
		binary(entry(FormatRaw, "the table's bytes", (*exporter).rawBytes, nil)),
		entry(FormatJSON, "the form that ibft build reads", (*exporter).json, nil),
		entry(FormatHex, "the table's bytes in hexadecimal, 16 a line", (*exporter).hex, nil),
		entry(FormatACPIDump, "as acpidump prints a table, for acpixtract and iasl", (*exporter).acpidump, nil),
		binary(entry(FormatCPIO, "an early initial RAM disk, which hands the table to Linux", (*exporter).cpio, nil)),
		naming(entry(FormatQEMU, "QEMU's -acpitable option", (*exporter).qemu, nil)),
		naming(entry(FormatXL, "the acpi_firmware line of a Xen HVM guest's xl.cfg", (*exporter).xl, nil)),
		naming(entry(FormatLibvirt, "what to put into libvirt's domain XML", (*exporter).libvirt, nil)),
		entry(FormatDracut, "dracut's kernel command line: ip=, rd.iscsi.*, netroot=", (*exporter).dracut, parseDracut),
		entry(FormatDebian, "Debian's /etc/iscsi/iscsi.initramfs", (*exporter).debian, one(parseDebian)),
		entry(FormatOpenISCSI, "the record that iscsistart -f prints", (*exporter).openISCSI, parseOpenISCSI),
		entry(FormatIPXE, "an iPXE script: settings and sanboot", (*exporter).ipxe, one(parseIPXE)),
		entry(FormatDHCP, "a DHCP or DHCPv6 lease: JSON, option = value, or a client's file", nil, one(parseDHCP)),
		bare(entry(FormatNetworkd, "systemd-networkd's .network and .netdev files", (*exporter).networkd, nil)),
		bare(entry(FormatNetworkManager, "NetworkManager's keyfiles", (*exporter).networkManager, nil)),
		bare(entry(FormatNetplan, "netplan's YAML", (*exporter).netplan, nil)),
	}
	list[1].Import = true // JSON, into a table rather than settings
	return list
}

// Formats returns all formats.
func Formats() []FormatInfo {
	var infos []FormatInfo
	for _, f := range formatters() {
		infos = append(infos, f.FormatInfo)
	}
	return infos
}

func findFormat(f Format, has func(FormatInfo) bool) (formatter, error) {
	var names []string
	for _, e := range formatters() {
		if !has(e.FormatInfo) {
			continue
		}
		if e.Format == f {
			return e, nil
		}
		names = append(names, string(e.Format))
	}
	return formatter{}, fmt.Errorf("ibft: format %q: not one of %s", string(f), strings.Join(names, " "))
}

// ExportOptions say how Export writes. The zero value means: no secrets, and no file.
type ExportOptions struct {
	// RevealSecrets puts secrets into formats that carry them. Without it they are left out of every format, the
	// table's own bytes included, and a note says so. A format that names a file says nothing of what is in it.
	RevealSecrets bool
	// File is the file that holds the table's bytes, for the formats that name one.
	File string
}

// Exported is a table in some format.
type Exported struct {
	Bytes []byte
	// Notes say what the format cannot hold or what was left out. Formats that have comments hold them as well.
	Notes []string
}

// Export writes the table, or what it says, in a format. What the format cannot hold and the machine can do without
// becomes a note; what would make the result wrong is an error.
//
// The formats that configure a network or log in use the NICs that have a flag set, called "ibft" and their index as
// dracut calls them, and the paths of [Table.Paths].
func (t *Table) Export(f Format, o ExportOptions) (*Exported, error) {
	format, err := findFormat(f, func(i FormatInfo) bool { return i.Export })
	if err != nil {
		return nil, err
	}
	e := &exporter{table: t, file: o.File}
	if !o.RevealSecrets && !format.bare {
		e.table = e.withoutSecrets()
	}
	if format.NamesFile && o.File == "" {
		return nil, fmt.Errorf("ibft: format %s names a file that holds the table, and none is given", f)
	}
	format.export(e)
	if e.err != nil {
		return nil, fmt.Errorf("ibft: format %s: %w", f, e.err)
	}
	return &Exported{[]byte(e.out.String()), e.notes}, nil
}

// exporter writes one format. The first thing that cannot be written leaves its error in err.
type exporter struct {
	table *Table
	file  string
	out   strings.Builder
	notes []string
	err   error
}

func (e *exporter) note(format string, a ...any) {
	e.notes = append(e.notes, fmt.Sprintf(format, a...))
}

func (e *exporter) fail(err error) {
	if e.err == nil {
		e.err = err
	}
}

func (e *exporter) line(format string, a ...any) {
	fmt.Fprintf(&e.out, format, a...)
	e.out.WriteByte('\n')
}

// comments writes the notes so far as comments.
func (e *exporter) comments() {
	for _, n := range e.notes {
		e.line("# %s", n)
	}
}

// withoutSecrets returns the table itself when it has no secrets, else a copy without them, and notes what is missing.
func (e *exporter) withoutSecrets() *Table {
	bare := *e.table
	bare.Targets = append([]Target(nil), e.table.Targets...)
	had := false
	for i := range bare.Targets {
		t := &bare.Targets[i]
		had = had || t.CHAPSecret != "" || t.ReverseCHAPSecret != ""
		t.CHAPSecret, t.ReverseCHAPSecret = "", ""
	}
	if !had {
		return e.table
	}
	e.note("CHAP secrets are left out, since they were not asked for")
	return &bare
}

// nics returns the NICs in use. There must be one.
func (e *exporter) nics() []NIC {
	var nics []NIC
	for _, n := range e.table.NICs {
		if n.Flags != 0 {
			nics = append(nics, n)
		}
	}
	if len(nics) == 0 {
		e.fail(errors.New("the table has no NIC in use"))
	}
	return nics
}

// paths returns the usable paths. There must be one.
func (e *exporter) paths() []Path {
	paths := e.table.Paths()
	if len(paths) == 0 {
		e.fail(errors.New("the table has no usable path: a target with address and name, and its NIC"))
	}
	return paths
}

// wantMAC fails on a NIC that the format cannot tell from others.
func (e *exporter) wantMAC(n *NIC) {
	if n.MAC == (MAC{}) {
		e.fail(fmt.Errorf("NIC %d has no Ethernet address, by which the format knows it: give it one", n.Index))
	}
}
