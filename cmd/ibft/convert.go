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
)

// convertUsage ends with the formats, see convertHelp.
const convertUsage = `Turn a table into what other programs read, or what they say into a table.

Usage:
  ibft convert --to FORMAT [SOURCE] [flags]
  ibft convert --from FORMAT [FILE] [--to FORMAT] [flags]

SOURCE is a file that holds a table, or - for standard input; without it the table
is this machine's. With --from, FILE (- for standard input, as without it) holds
text in that format, and without --to the table's bytes are written. Text is read
as one NIC's settings, but for json.

CHAP secrets are left out, of the table's bytes too, unless asked for. What a
format cannot hold is said on standard error.

qemu, xl and libvirt name the file that holds the table: SOURCE, or a new one that
--table names.

Examples:
  ibft convert --to dracut table.bin
  ibft convert --to xl --table /etc/xen/machine.ibft --reveal-secrets
  ibft convert --from dracut /proc/cmdline --reveal-secrets --out table.bin
  ibft convert --from dracut cmdline.txt --to netplan
  iscsistart -f | ibft convert --from open-iscsi --to json --reveal-secrets

Formats:
`

func convertHelp() string {
	var b strings.Builder
	b.WriteString(convertUsage)
	for _, f := range ibft.Formats() {
		way := "to"
		switch {
		case f.Import && f.Export:
			way = "to, from"
		case f.Import:
			way = "from"
		}
		fmt.Fprintf(&b, "  %-15s %-9s %s\n", f.Format, way, f.About)
	}
	return b.String()
}

// conversion is what convert is told.
type conversion struct {
	from, to ibft.Format
	reveal   bool
	root     string
	table    string
	out      string
}

func (v *conversion) define(c command) {
	c.StringVar((*string)(&v.from), "from", "", "read text in `FORMAT`")
	c.StringVar((*string)(&v.to), "to", "", "write `FORMAT`")
	c.BoolVar(&v.reveal, "reveal-secrets", false, "put CHAP secrets in, in clear")
	c.StringVar(&v.root, "root", "/", "look for this machine's tables under `DIR`/sys and DIR/dev")
	c.StringVar(&v.table, "table", "", "write the table's bytes to `FILE`, for a format that names one")
	c.StringVar(&v.out, "out", "-", "write to `FILE`, - for standard output")
	c.StringVar(&v.out, "o", "-", "short for --out `FILE`")
}

func convert(ctx context.Context, args []string, std stdio) error {
	var v conversion
	c := newCommand("convert", convertHelp())
	v.define(c)
	rest, err := c.parse(args, 1, std)
	if err != nil {
		return err
	}
	format, err := v.check()
	if err != nil {
		return usageError{fmt.Errorf("convert: %w, see ibft convert --help", err)}
	}
	table, err := v.read(ctx, rest, std)
	if err != nil {
		return err
	}
	options := ibft.ExportOptions{RevealSecrets: v.reveal}
	if format.NamesFile {
		if options.File, err = v.file(table, rest, std.err); err != nil {
			return err
		}
	}
	exported, err := table.Export(v.to, options)
	if err != nil {
		return err
	}
	printNotes(std.err, exported)
	if v.out == "-" && !format.Binary {
		_, err = std.out.Write(exported.Bytes)
		return err
	}
	return writeOut(v.out, exported.Bytes, std.out)
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
	for _, f := range ibft.Formats() {
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

func (v *conversion) read(ctx context.Context, rest []string, std stdio) (*ibft.Table, error) {
	if v.from != "" {
		name := "-"
		if len(rest) == 1 {
			name = rest[0]
		}
		return importFile(ctx, v.from, name, std.in)
	}
	var found []ibft.Found
	var err error
	if len(rest) == 0 {
		found, err = findTables(v.root, std.err)
	} else {
		found, err = readSource(rest[0], std.in)
	}
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
	if len(rest) == 0 || rest[0] == "-" {
		return "", usageError{fmt.Errorf("convert: format %q names a file: --table FILE is wanted, see ibft convert --help", v.to)}
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
