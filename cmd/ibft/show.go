package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/bootlun/bootlun/internal/cli"
)

func showCommand() *cli.Command {
	c := cli.NewCommand("show", "print a table", "[SOURCE] [flags]")
	c.Text = sourceText + "\n\nSecrets are masked unless asked for."
	c.Examples = []cli.Example{
		{"ibft show", "this machine's"},
		{"ibft show table.bin", "one in a file"},
		{"ibft show table.bin --hex", "its bytes, and what each means"},
		{"ibft show qmp:/run/vm.sock", "a virtual machine's"},
		{"ibft show --yaml --reveal-secrets", "in a form that ibft build reads"},
	}
	c.Max = 1
	asJSON := c.Bool("json", false, "print JSON")
	asYAML := c.Bool("yaml", false, "print YAML")
	asHex := c.Bool("hex", false, "print every byte with the name of its field, of a broken table too")
	reveal := c.Bool("reveal-secrets", false, "print CHAP secrets in clear")
	root := rootFlag(c)
	c.Run = func(ctx context.Context, rest []string, std cli.IO) error {
		switch {
		case *asHex && (*asJSON || *asYAML) || *asJSON && *asYAML:
			return cli.Misused(errors.New("show: one of --json, --yaml and --hex, see ibft show --help"))
		case *asHex:
			return showHex(ctx, rest, *root, *reveal, std)
		}
		found, err := tables(ctx, rest, *root, std)
		switch {
		case err != nil:
			return err
		case *asJSON:
			return printTable(std.Out, found[0].Table, *reveal, tableJSON)
		case *asYAML:
			return printTable(std.Out, found[0].Table, *reveal, tableYAML)
		}
		return view(std, found, *reveal)
	}
	return c
}

func showHex(ctx context.Context, rest []string, root string, reveal bool, std cli.IO) error {
	f, err := rawTable(ctx, rest, root, std)
	if err != nil {
		return err
	}
	if len(f.Raw) > maxHex {
		return fmt.Errorf("%s: %d bytes, too many to print: a table takes 65535 at most", f.Source, len(f.Raw))
	}
	return viewHex(std, f.Raw, reveal)
}
