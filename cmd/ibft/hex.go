package main

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/bootlun/bootlun/ibft"
	"github.com/bootlun/bootlun/internal/cli"
)

// hexColumns is how many bytes viewHex prints in a line.
const hexColumns = 16

// maxHex is the most bytes that show --hex prints.
const maxHex = 1 << 20

// viewHex prints the bytes of a table, each range with the name of its field. The bytes of secrets are starred
// unless they are to be revealed.
func viewHex(std cli.IO, raw []byte, reveal bool) error {
	var out bytes.Buffer
	structure := ""
	for i, f := range ibft.Fields(raw) {
		if f.Structure != structure || i == 0 {
			structure = f.Structure
			fmt.Fprintf(&out, "%s\n", std.Paint(cli.Bold, sectionName(structure)))
		}
		b := raw[f.Offset:][:f.Length]
		value := f.Value
		if f.Secret && reveal {
			value = string(b)
		}
		label := strings.TrimSpace(f.Name + "  " + cli.Printable(value))
		if f.Name == "padding" {
			fmt.Fprintf(&out, "  %04x  %-*s %s\n", f.Offset, 3*hexColumns, fmt.Sprintf("%d zeros", f.Length), label)
			continue
		}
		for at := 0; at < len(b); at += hexColumns {
			line := hexBytes(b[at:min(at+hexColumns, len(b))], f.Secret && !reveal)
			out.WriteString(strings.TrimRight(fmt.Sprintf("  %04x  %-*s %s", f.Offset+at, 3*hexColumns, line, label), " ") + "\n")
			label = ""
		}
	}
	_, err := std.Out.Write(out.Bytes())
	return err
}

func sectionName(structure string) string {
	if structure == "" {
		return "between structures"
	}
	return structure
}

func hexBytes(b []byte, secret bool) string {
	if secret {
		return strings.TrimSpace(strings.Repeat("** ", len(b)))
	}
	return fmt.Sprintf("% x", b)
}
