package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"github.com/bootlun/bootlun/ibft"
	"github.com/bootlun/bootlun/internal/cli"
)

// formatYAML is the one format that package ibft, which needs the standard library only, does not know.
const formatYAML ibft.Format = "yaml"

// formats returns all formats: the package's, and those of a table as a whole that this command reads too.
func formats() []ibft.FormatInfo {
	var all []ibft.FormatInfo
	for _, f := range ibft.Formats() {
		f.Import = f.Import || isSource(f.Format)
		all = append(all, f)
		if f.Format == ibft.FormatJSON {
			all = append(all, ibft.FormatInfo{Format: formatYAML, About: "the same as YAML", Export: true, Import: true})
		}
	}
	return all
}

// isSource says whether a format is one that a SOURCE may have, of which any command tells by itself what it is.
func isSource(f ibft.Format) bool {
	switch f {
	case ibft.FormatRaw, ibft.FormatHex, ibft.FormatACPIDump, ibft.FormatCPIO:
		return true
	}
	return false
}

func formatNames(has func(ibft.FormatInfo) bool) []string {
	var names []string
	for _, f := range formats() {
		if has(f) {
			names = append(names, string(f.Format))
		}
	}
	return names
}

func convertCommand() *cli.Command {
	c := cli.NewCommand("convert", "turn a table into what other programs read, and back",
		"--to FORMAT [SOURCE] [flags]", "--from FORMAT [FILE] [--to FORMAT] [flags]")
	c.Text = `SOURCE is as for "ibft show". With --from, FILE (- for standard input, as without
it) holds text in that format, and without --to the table's bytes are written. Text
of debian, dhcp and ipxe is read as one NIC's settings.

CHAP secrets are left out, of the table's bytes too, unless asked for. What a
format cannot hold is said on standard error.

qemu, xl and libvirt name the file that holds the table: SOURCE, or a new one that
--table names.

` + formatsText()
	c.Examples = []cli.Example{
		{"ibft convert --to dracut table.bin", ""},
		{"ibft convert --to xl --table /etc/xen/machine.ibft --reveal-secrets", ""},
		{"ibft convert --from dracut /proc/cmdline --reveal-secrets --out table.bin", ""},
		{"ibft convert --from dhcp lease.json --to yaml", ""},
		{"iscsistart -f | ibft convert --from open-iscsi --to json --reveal-secrets", ""},
	}
	c.Max = 1
	v := new(conversion)
	v.define(c)
	c.Run = v.convert
	return c
}

func formatsText() string {
	var b strings.Builder
	b.WriteString("The formats, and which way they go:\n")
	for _, f := range formats() {
		way := "to"
		switch {
		case f.Import && f.Export:
			way = "to, from"
		case f.Import:
			way = "from"
		}
		fmt.Fprintf(&b, "\n  %-15s %-9s %s", f.Format, way, f.About)
	}
	return b.String()
}

// conversion is what convert is told.
type conversion struct {
	from, to ibft.Format
	reveal   bool
	root     *string
	table    string
	out      string
}

func (v *conversion) define(c *cli.Command) {
	c.Choice("from", "read text in `FORMAT`", formatNames(func(f ibft.FormatInfo) bool { return f.Import }), false,
		func(s string) error { v.from = ibft.Format(s); return nil })
	c.Choice("to", "write `FORMAT`", formatNames(func(f ibft.FormatInfo) bool { return f.Export }), false,
		func(s string) error { v.to = ibft.Format(s); return nil })
	c.BoolVar(&v.reveal, "reveal-secrets", false, "put CHAP secrets in, in clear")
	v.root = rootFlag(c)
	c.StringVar(&v.table, "table", "", "write the table's bytes to `FILE`, for a format that names one")
	outFlags(c, &v.out, "-", "write to `FILE`, - for standard output")
}

func (v *conversion) convert(ctx context.Context, rest []string, std cli.IO) error {
	format, err := v.check()
	if err != nil {
		return cli.Misused(fmt.Errorf("convert: %w, see ibft convert --help", err))
	}
	table, err := v.read(ctx, rest, std)
	if err != nil {
		return err
	}
	options := ibft.ExportOptions{RevealSecrets: v.reveal}
	if format.NamesFile {
		if options.File, err = v.file(table, rest, std.Err); err != nil {
			return err
		}
	}
	exported, err := export(table, v.to, options)
	if err != nil {
		return err
	}
	printNotes(std.Err, exported)
	if format.Binary {
		return writeOut(v.out, exported.Bytes, std.Out)
	}
	return writeText(v.out, exported.Bytes, std.Out)
}

// export is Table.Export, and knows YAML too.
func export(table *ibft.Table, to ibft.Format, o ibft.ExportOptions) (*ibft.Exported, error) {
	if to != formatYAML {
		return table.Export(to, o)
	}
	exported, err := table.Export(ibft.FormatJSON, o)
	if err != nil {
		return nil, err
	}
	bare, err := parseJSON(exported.Bytes) // without secrets, unless they are wanted
	if err != nil {
		return nil, err
	}
	exported.Bytes, err = tableYAML(bare, true)
	return exported, err
}

// check fills in what was left unsaid, and returns what is known of the format to write.
func (v *conversion) check() (ibft.FormatInfo, error) {
	if v.from == "" && v.to == "" {
		return ibft.FormatInfo{}, errors.New("wants --to or --from")
	}
	if v.to == "" {
		v.to = ibft.FormatRaw
	}
	var to, from ibft.FormatInfo
	for _, f := range formats() {
		if f.Format == v.to && f.Export {
			to = f
		}
		if f.Format == v.from {
			from = f
		}
	}
	switch {
	case to.Format == "":
		return to, fmt.Errorf("format %q cannot be written", v.to)
	case v.from != "" && !from.Import:
		return to, fmt.Errorf("format %q cannot be read", v.from)
	case v.table != "" && !to.NamesFile:
		return to, fmt.Errorf("format %q names no file, --table is not for it", v.to)
	case v.from != "" && to.NamesFile && v.table == "":
		return to, fmt.Errorf("format %q names a file: --table FILE is wanted", v.to)
	}
	return to, nil
}

func (v *conversion) read(ctx context.Context, rest []string, std cli.IO) (*ibft.Table, error) {
	name := "-"
	if len(rest) > 0 {
		name = rest[0]
	}
	switch {
	case v.from == formatYAML, v.from == ibft.FormatJSON:
		return readText(name, std.In)
	case isSource(v.from):
		rest = []string{name}
	case v.from != "":
		return importFile(ctx, v.from, name, std.In)
	}
	found, err := tables(ctx, rest, *v.root, std)
	if err != nil {
		return nil, err
	}
	return found[0].Table, nil
}

// file returns the full name of the file that holds the table's bytes: a new one, or the source.
func (v *conversion) file(table *ibft.Table, rest []string, warn io.Writer) (string, error) {
	if v.table != "" {
		raw, err := table.Export(ibft.FormatRaw, ibft.ExportOptions{RevealSecrets: v.reveal})
		if err != nil {
			return "", err
		}
		printNotes(warn, raw)
		if err := os.WriteFile(v.table, raw.Bytes, 0o600); err != nil {
			return "", err
		}
		return filepath.Abs(v.table)
	}
	if len(rest) == 0 || rest[0] == "-" || strings.HasPrefix(rest[0], "qmp:") {
		return "", cli.Misused(fmt.Errorf("convert: format %q names a file: --table FILE is wanted, see ibft convert --help", v.to))
	}
	want, err := table.Build(ibft.BuildOptions{})
	if err != nil {
		return "", err
	}
	if held, err := os.ReadFile(rest[0]); err != nil || !bytes.Equal(held, want) {
		return "", errors.Join(err, fmt.Errorf("%s does not hold just the table's bytes: name another file with --table", rest[0]))
	}
	return filepath.Abs(rest[0])
}

func printNotes(w io.Writer, e *ibft.Exported) {
	for _, n := range e.Notes {
		fmt.Fprintf(w, "ibft: note: %s\n", n)
	}
}

// importFile makes the table that a file in another program's format says.
func importFile(ctx context.Context, format ibft.Format, name string, stdin io.Reader) (*ibft.Table, error) {
	text, err := readFile(name, stdin)
	if err != nil {
		return nil, err
	}
	table, err := ibft.Import(ctx, format, text, lookup)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return table, nil
}

// lookup is an ibft.Resolver.
func lookup(ctx context.Context, host string) ([]netip.Addr, error) {
	return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
}
