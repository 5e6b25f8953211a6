package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/bootlun/bootlun/ibft"
)

const checkUsage = `Say what is wrong with a table.

Usage:
  ibft check [SOURCE] [flags]

SOURCE is as for "ibft show". A broken table is judged as well as a good one. The
measure is the specification; --for asks programs that read or pass on tables too:
linux, linux-before-5.6, open-iscsi, dracut, freebsd, windows, esxi, xen, qemu,
early-cpio, or all.

Errors break the specification or the boot, warnings are read otherwise than they
were meant by somebody, notes are worth knowing.

Examples:
  ibft check                               this machine's table
  ibft check table.bin --for linux,dracut
  ibft check table.bin --for all --json
  ibft check --rules                       all there is to be found

Exit codes: 0 neither errors nor warnings, 1 some, 2 the source cannot be read.
`

func check(args []string, std stdio) error {
	c := newCommand("check", checkUsage)
	asJSON := c.Bool("json", false, "print JSON")
	rules := c.Bool("rules", false, "print the rules instead")
	root := c.String("root", "/", "look for this machine's tables under `DIR`/sys and DIR/dev")
	var o ibft.CheckOptions
	c.Func("for", "judge as these `CONSUMERS` do too, joined by commas", func(v string) (err error) {
		o.Consumers, err = parseConsumers(o.Consumers, v)
		return err
	})
	rest, err := c.parse(args, 1, std)
	if err != nil {
		return err
	}
	if *rules {
		return printRules(std.out, *asJSON)
	}
	f, err := checkSource(rest, *root, std)
	if err != nil {
		return exitError{err, exitUnreadable}
	}
	found := ibft.Check(f.Raw, o)
	if *asJSON {
		err = printJSON(std.out, found)
	} else {
		err = printFindings(std.out, f.Source, found)
	}
	if err == nil && slices.ContainsFunc(found, func(f ibft.Finding) bool { return f.Severity >= ibft.Warning }) {
		err = exitError{nil, exitFailed}
	}
	return err
}

// checkSource returns what is to be judged: bytes, whatever they are worth.
func checkSource(rest []string, root string, std stdio) (ibft.Found, error) {
	if len(rest) == 1 {
		return checkFile(rest[0], std.in)
	}
	found, err := ibft.Find(ibft.FindOptions{Root: root})
	for _, f := range found {
		if f.Raw != nil {
			return f, nil
		}
	}
	return ibft.Found{}, errors.Join(err, errors.New("this machine has no table whose bytes can be read, "+
		"neither in low memory nor in ACPI (root alone may read these)"))
}

func checkFile(name string, stdin io.Reader) (ibft.Found, error) {
	found, err := decodeSource(name, stdin)
	if err != nil {
		return ibft.Found{}, err
	}
	if len(found[0].Raw) == 0 {
		return ibft.Found{}, fmt.Errorf("%s: nothing in it", name)
	}
	return found[0], nil
}

// parseConsumers adds those of a list to have.
func parseConsumers(have []ibft.Consumer, names string) ([]ibft.Consumer, error) {
	for name := range strings.SplitSeq(names, ",") {
		if name == "all" {
			return ibft.Consumers(), nil
		}
		var c ibft.Consumer
		if err := c.UnmarshalText([]byte(name)); err != nil {
			return nil, err
		}
		if !slices.Contains(have, c) {
			have = append(have, c)
		}
	}
	return have, nil
}

func printFindings(w io.Writer, source string, found []ibft.Finding) error {
	var b strings.Builder
	var count [ibft.Error + 1]int
	for _, f := range found {
		count[f.Severity]++
		who := ""
		if f.Consumer != "" {
			who = " for " + string(f.Consumer)
		}
		fmt.Fprintf(&b, "%s%s: %s: %s\n", f.Severity, who, f.Where(), printable(f.Message))
		fmt.Fprintf(&b, "  bytes %#x to %#x, rule %s (%s)\n", f.Offset, f.Offset+f.Length-1, f.Rule, f.Section)
		fmt.Fprintf(&b, "  remedy: %s\n\n", f.Remedy)
	}
	fmt.Fprintf(&b, "%s: %s, %s, %s\n", printable(source),
		plural(count[ibft.Error], "error"), plural(count[ibft.Warning], "warning"), plural(count[ibft.Note], "note"))
	_, err := io.WriteString(w, b.String())
	return err
}

func plural(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return fmt.Sprintf("%d %s", n, what)
}

func printRules(w io.Writer, asJSON bool) error {
	if asJSON {
		return printJSON(w, ibft.Rules())
	}
	var b strings.Builder
	for _, r := range ibft.Rules() {
		fmt.Fprintf(&b, "%s (%s; %s)\n  %s\n", r.ID, r.Severity, r.Section, r.Summary)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// printJSON prints a list, an empty one as [].
func printJSON[T any](w io.Writer, list []T) error {
	if list == nil {
		list = []T{}
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(list)
}
