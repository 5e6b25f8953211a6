package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/bootlun/bootlun/ibft"
)

const setUsage = `Change fields of a table. The rest of it, and its layout, stay.

Usage:
  ibft set FIELD=VALUE... [SOURCE] [flags]
  ibft set --list [SOURCE]

FIELD is such as target0.ip, nic0.vlan or initiator.name; --list prints them all.
NICs and targets are counted from 0. An empty VALUE makes a field absent where it
can be. SOURCE is a file that holds a table, or - for standard input; it is
changed in place unless --out says where else to write. Without it, this machine's
table is read and --out is needed.

FIELD@=FILE takes the value from a file, - for standard input, without the newline
at its end. Secrets are taken so only.

Examples:
  ibft set target0.ip=192.0.2.7 target0.port=3261 table.bin
  ibft set nic0.vlan=42 nic0.ip=2001:db8::10 nic0.prefix_len=64 table.bin
  ibft set target0.chap=chap target0.chap_name=machine \
      target0.chap_secret@=secret.txt table.bin --out new.bin
`

func set(args []string, std stdio) error {
	c := newCommand("set", setUsage)
	list := c.Bool("list", false, "print the fields that the table has")
	root := c.String("root", "/", "look for this machine's tables under `DIR`/sys and DIR/dev")
	var out string
	c.StringVar(&out, "out", "", "write the new table to `FILE`, - for standard output")
	c.StringVar(&out, "o", "", "short for --out `FILE`")
	rest, err := c.parse(args, maxAssignments, std)
	if err != nil {
		return err
	}
	assignments, sources := splitAssignments(rest)
	switch {
	case len(sources) > 1:
		return usageError{fmt.Errorf("set: %q is no FIELD=VALUE, and %q is the table already", sources[1], sources[0])}
	case *list != (len(assignments) == 0):
		return usageError{errors.New("set: wants either FIELD=VALUE or --list, see ibft set --help")}
	case !*list && len(sources) == 0 && out == "":
		return usageError{errors.New("set: wants a file, or --out for a change of this machine's table")}
	}
	var found []ibft.Found
	if len(sources) == 0 {
		found, err = findTables(*root, std.err)
	} else {
		found, err = readSource(sources[0], std.in)
	}
	if err != nil {
		return err
	}
	table := found[0].Table
	if *list {
		_, err := fmt.Fprintln(std.out, strings.Join(table.Fields(), "\n"))
		return err
	}
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
		return writeOut(out, after, std.out)
	case sources[0] == "-":
		return writeOut("-", after, std.out)
	}
	return replaceFile(sources[0], before, after)
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

func (a assignment) apply(table *ibft.Table, std stdio) error {
	if strings.HasSuffix(a.field, "_secret") && !a.fromFile && a.value != "" {
		return usageError{fmt.Errorf("set: a secret is not for the command line, where others see it: use %s@=FILE", a.field)}
	}
	value := a.value
	if a.fromFile {
		if a.value == "" {
			return usageError{fmt.Errorf("set: %s@= names no file", a.field)}
		}
		b, err := readFile(a.value, std.in)
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
