package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/bootlun/bootlun/ibft"
)

const diffUsage = `Compare two tables field by field. Layout and checksum do not count.

Usage:
  ibft diff A B [flags]

A and B are files that hold a table each; one of them may be - for standard input.
Of secrets it says only that they differ.

Exit codes: 0 the same, 1 they differ, 2 one cannot be read.

Examples:
  ibft diff before.bin after.bin
  ibft diff table.bin /sys/firmware/acpi/tables/iBFT
`

// Exit codes of diff.
const (
	exitDiffer     = 1
	exitUnreadable = 2
)

func diff(args []string, std stdio) error {
	c := newCommand("diff", diffUsage)
	asJSON := c.Bool("json", false, "print JSON")
	rest, err := c.parse(args, 2, std)
	if err != nil {
		return err
	}
	if len(rest) != 2 {
		return usageError{errors.New("diff: wants two tables, see ibft diff --help")}
	}
	if rest[0] == "-" && rest[1] == "-" {
		return usageError{errors.New("diff: only one of the two can be standard input")}
	}
	var tables [2]*ibft.Table
	for i, source := range rest {
		found, err := readSource(source, std.in)
		if err != nil {
			return exitError{err, exitUnreadable}
		}
		tables[i] = found[0].Table
	}
	differences := ibft.Diff(tables[0], tables[1])
	if *asJSON {
		err = writeDifferencesJSON(std.out, differences)
	} else {
		err = writeDifferences(std.out, differences)
	}
	if err == nil && len(differences) > 0 {
		err = exitError{nil, exitDiffer}
	}
	return err
}

func writeDifferencesJSON(w io.Writer, differences []ibft.Difference) error {
	if differences == nil {
		differences = []ibft.Difference{} // an empty list, not null
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(differences)
}

func writeDifferences(w io.Writer, differences []ibft.Difference) error {
	for _, d := range differences {
		a, b := orNone(d.A), orNone(d.B)
		line := a + " > " + b
		if a == b {
			line = "differs"
		}
		if _, err := fmt.Fprintf(w, "%-28s %s\n", d.Path, line); err != nil {
			return err
		}
	}
	return nil
}

// orNone returns a value fit to print, or the word for an absent one.
func orNone(s string) string {
	if s == "" {
		return "(none)"
	}
	return printable(s)
}
