package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/bootlun/bootlun/ibft"
	"github.com/bootlun/bootlun/internal/cli"
)

func setCommand() *cli.Command {
	c := cli.NewCommand("set", "change fields of a table", "FIELD=VALUE... [SOURCE] [flags]", "--list [SOURCE]")
	c.Text = `FIELD is such as target0.ip, nic0.vlan or initiator.name; --list prints them all.
NICs and targets are counted from 0. An empty VALUE makes a field absent where it
can be. SOURCE is as for "ibft show"; a file that holds a table and nothing else is
changed in place unless --out says where else to write. For all others, and for
this machine's table, --out is needed.

A change that fits where the field is leaves all other bytes but the checksum as
they are: a number, an address, a string no longer than the old one. For others the
table is laid out anew, as its writer does it where that is known.

FIELD@=FILE takes the value from a file, - for standard input, without the newline
at its end. Secrets are taken so only.`
	c.Examples = []cli.Example{
		{"ibft set target0.ip=192.0.2.7 target0.port=3261 table.bin", ""},
		{"ibft set nic0.vlan=42 nic0.ip=2001:db8::10 nic0.prefix_len=64 table.bin", ""},
		{"ibft set target0.chap=chap target0.chap_name=machine \\\n    target0.chap_secret@=secret.txt table.bin --out new.bin", ""},
	}
	c.Max = maxAssignments
	c.Complete = completeField
	list := c.Bool("list", false, "print the fields that the table has")
	root := rootFlag(c)
	var out string
	outFlags(c, &out, "", "write the new table to `FILE`, - for standard output")
	c.Run = func(ctx context.Context, rest []string, std cli.IO) error {
		assignments, sources := splitAssignments(rest)
		switch {
		case len(sources) > 1:
			return cli.Misused(fmt.Errorf("set: %q is no FIELD=VALUE, and %q is the table already", sources[1], sources[0]))
		case *list != (len(assignments) == 0):
			return cli.Misused(errors.New("set: wants either FIELD=VALUE or --list, see ibft set --help"))
		case !*list && len(sources) == 0 && out == "":
			return cli.Misused(errors.New("set: wants a file, or --out for a change of this machine's table"))
		}
		found, err := tables(ctx, sources, *root, std)
		if err != nil {
			return err
		}
		if *list {
			_, err := fmt.Fprintln(std.Out, strings.Join(found[0].Table.Fields(), "\n"))
			return err
		}
		return set(found[0].Table, assignments, sources, out, std)
	}
	return c
}

func set(table *ibft.Table, assignments []assignment, sources []string, out string, std cli.IO) error {
	before, err := table.Build(ibft.BuildOptions{})
	if err != nil {
		return err
	}
	for _, a := range assignments {
		if err := a.apply(table, std); err != nil {
			return err
		}
	}
	after, err := table.Build(ibft.BuildOptions{})
	if err != nil {
		return err
	}
	switch {
	case out != "":
		return writeOut(out, after, std.Out)
	case sources[0] == "-":
		return writeOut("-", after, std.Out)
	}
	return replaceFile(sources[0], before, after)
}

// completeField returns the fields of a table with as many structures as most have.
func completeField(word string) []cli.Candidate {
	if strings.Contains(word, "=") {
		return nil
	}
	t := ibft.Table{Initiator: &ibft.Initiator{}, NICs: make([]ibft.NIC, 2), Targets: make([]ibft.Target, 2)}
	var all []cli.Candidate
	for _, f := range t.Fields() {
		if strings.HasSuffix(f, "_secret") {
			f += "@" // from a file
		}
		all = append(all, cli.Candidate{Word: f + "="})
	}
	return all
}

// maxAssignments bounds a command line; a table of eight paths has fewer fields.
const maxAssignments = 256

// assignment is FIELD=VALUE, or FIELD@=FILE.
type assignment struct {
	field, value string
	fromFile     bool
}

// splitAssignments tells assignments from sources: a field's name has neither a slash nor a dash.
func splitAssignments(args []string) (assignments []assignment, sources []string) {
	for _, arg := range args {
		field, value, ok := strings.Cut(arg, "=")
		if !ok || strings.ContainsAny(field, "/-") {
			sources = append(sources, arg)
			continue
		}
		field, fromFile := strings.CutSuffix(field, "@")
		assignments = append(assignments, assignment{field, value, fromFile})
	}
	return assignments, sources
}

func (a assignment) apply(table *ibft.Table, std cli.IO) error {
	if strings.HasSuffix(a.field, "_secret") && !a.fromFile && a.value != "" {
		return cli.Misused(fmt.Errorf("set: a secret is not for the command line, where others see it: use %s@=FILE", a.field))
	}
	value := a.value
	if a.fromFile {
		if a.value == "" {
			return cli.Misused(fmt.Errorf("set: %s@= names no file", a.field))
		}
		b, err := readFile(a.value, std.In)
		if err != nil {
			return fmt.Errorf("%s: %w", a.field, err)
		}
		value = strings.TrimRight(string(b), "\r\n")
	}
	return table.Set(a.field, value)
}

// replaceFile puts after in the place of a file that holds before and nothing else. Either the old or the new
// bytes are there at any time.
func replaceFile(name string, before, after []byte) (err error) {
	if strings.HasPrefix(name, "qmp:") {
		return fmt.Errorf("%s is a machine's memory, which is not written: use --out FILE", name)
	}
	name, err = filepath.EvalSymlinks(name)
	if err != nil {
		return err
	}
	info, err := os.Stat(name)
	if err != nil {
		return err
	}
	held, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() || !bytes.Equal(held, before) {
		return fmt.Errorf("%s holds more than the table's bytes, or these in another form: use --out FILE", name)
	}
	f, err := os.CreateTemp(filepath.Dir(name), ".ibft-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(f.Name())
		}
	}()
	if _, err = f.Write(after); err != nil {
		return err
	}
	if err = f.Chmod(info.Mode().Perm()); err != nil {
		return err
	}
	if err = f.Sync(); err != nil {
		return err
	}
	if err = f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), name)
}
