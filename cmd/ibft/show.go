package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/bootlun/bootlun/ibft"
)

const showUsage = `Print a table.

Usage:
  ibft show [SOURCE] [flags]

SOURCE is a file, or - for standard input. It holds a table's bytes, the same as
hexadecimal or as printed by xxd, hexdump -C or acpidump, a memory image that
begins at address 0, or an ELF core such as QEMU's dump-guest-memory makes; memory
is searched as Linux does it. Without SOURCE the table is this machine's: the one
that Linux prefers of those in low memory (read as root), in the ACPI tables and
under /sys/firmware/ibft.

Secrets are masked unless asked for.

Examples:
  ibft show                            this machine's
  ibft show table.bin                  one in a file
  ibft show table.bin --hex            its bytes, and what each means
  ibft show --json --reveal-secrets    in the form that ibft build reads
`

func show(args []string, std stdio) error {
	c := newCommand("show", showUsage)
	asJSON := c.Bool("json", false, "print JSON")
	asHex := c.Bool("hex", false, "print every byte with the name of its field, of a broken table too")
	reveal := c.Bool("reveal-secrets", false, "print CHAP secrets in clear")
	root := c.String("root", "/", "look for this machine's tables under `DIR`/sys and DIR/dev")
	rest, err := c.parse(args, 1, std)
	if err != nil {
		return err
	}
	if *asHex {
		f, err := checkSource(rest, *root, std)
		if err != nil {
			return err
		}
		if len(f.Raw) > maxHex {
			return fmt.Errorf("%s: %d bytes, too many to print: a table takes 65535 at most", f.Source, len(f.Raw))
		}
		return viewHex(std.out, f.Raw, *reveal)
	}
	var found []ibft.Found
	if len(rest) == 0 {
		found, err = findTables(*root, std.err)
	} else {
		found, err = readSource(rest[0], std.in)
	}
	if err != nil {
		return err
	}
	if *asJSON {
		return writeJSON(std.out, found[0].Table, *reveal)
	}
	return view(std.out, found, *reveal)
}

// findTables returns the good tables under root, at least one, the preferred one first. It warns of the others.
func findTables(root string, warn io.Writer) ([]ibft.Found, error) {
	found, err := ibft.Find(ibft.FindOptions{Root: root})
	if err != nil {
		fmt.Fprintf(warn, "ibft: warning: %v\n", err)
	}
	var good []ibft.Found
	for _, f := range found {
		if f.Err != nil {
			fmt.Fprintf(warn, "ibft: warning: %s: %v\n", f.Source, f.Err)
			continue
		}
		good = append(good, f)
	}
	if len(good) == 0 {
		return nil, errors.New("this machine has no table, neither in low memory nor in ACPI nor under /sys/firmware/ibft " +
			"(root alone may read most of these; modprobe iscsi_ibft fills the last)")
	}
	return good, nil
}

// readFile reads a whole file, or standard input for "-".
func readFile(name string, stdin io.Reader) ([]byte, error) {
	r := stdin
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		r = f
	}
	b, err := io.ReadAll(io.LimitReader(r, maxSource+1))
	if err == nil && len(b) > maxSource {
		err = fmt.Errorf("%s: more than %d bytes, which is too much to search", name, maxSource)
	}
	return b, err
}

func writeJSON(w io.Writer, table *ibft.Table, reveal bool) error {
	var b []byte
	var err error
	if reveal {
		b, err = table.RevealJSON()
	} else {
		b, err = json.Marshal(table)
	}
	if err != nil {
		return err
	}
	var indented bytes.Buffer
	if err := json.Indent(&indented, b, "", "  "); err != nil {
		return err
	}
	indented.WriteByte('\n')
	_, err = w.Write(indented.Bytes())
	return err
}
