package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/bootlun/bootlun/ibft"
	"github.com/bootlun/bootlun/internal/cli"
)

// Exit codes of diff.
const (
	exitDiffer     = 1
	exitUnreadable = 2
)

func diffCommand() *cli.Command {
	c := cli.NewCommand("diff", "compare two tables field by field", "A B [flags]")
	c.Text = `A and B hold a table each, and are as SOURCE for "ibft show"; one of them may be -
for standard input. Layout and checksum do not count. Of secrets it says only that
they differ.`
	c.Exits = "0 the same, 1 they differ, 2 one cannot be read"
	c.Examples = []cli.Example{
		{"ibft diff before.bin after.bin", ""},
		{"ibft diff table.bin /sys/firmware/acpi/tables/iBFT", ""},
		{"ibft diff table.bin qmp:/run/vm.sock", ""},
	}
	c.Max = 2
	asJSON := c.Bool("json", false, "print JSON")
	c.Run = func(ctx context.Context, rest []string, std cli.IO) error {
		switch {
		case len(rest) != 2:
			return cli.Misused(errors.New("diff: wants two tables, see ibft diff --help"))
		case rest[0] == "-" && rest[1] == "-":
			return cli.Misused(errors.New("diff: only one of the two can be standard input"))
		}
		return diff(ctx, rest, *asJSON, std)
	}
	return c
}

func diff(ctx context.Context, sources []string, asJSON bool, std cli.IO) error {
	var tables [2]*ibft.Table
	for i, source := range sources {
		found, err := readSource(ctx, source, std.In)
		if err != nil {
			return cli.Exit(err, exitUnreadable)
		}
		tables[i] = found[0].Table
	}
	differences := ibft.Diff(tables[0], tables[1])
	var err error
	if asJSON {
		err = cli.PrintJSON(std.Out, list(differences))
	} else {
		err = printDifferences(std, differences)
	}
	if err == nil && len(differences) > 0 {
		err = cli.Exit(nil, exitDiffer)
	}
	return err
}

func printDifferences(std cli.IO, differences []ibft.Difference) error {
	for _, d := range differences {
		a, b := orNone(d.A), orNone(d.B)
		line := std.Paint(cli.Red, a) + " > " + std.Paint(cli.Green, b)
		if a == b {
			line = "differs"
		}
		if _, err := fmt.Fprintf(std.Out, "%-28s %s\n", d.Path, line); err != nil {
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
	return cli.Printable(s)
}
