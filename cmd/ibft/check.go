package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/bootlun/bootlun/ibft"
)

func checkCommand() *command {
	c := newCommand("check", "say what is wrong with a table", "[SOURCE] [flags]", "--rules")
	c.text = `SOURCE is as for "ibft show". A broken table is judged as well as a good one. The
measure is the specification; --for asks programs that read or pass on tables too:

  ` + strings.Join(names(ibft.Consumers()), "\n  ") + `
  all

Errors break the specification or the boot, warnings are read otherwise than they
were meant by somebody, notes are worth knowing.`
	c.exits = "0 neither errors nor warnings, 1 some, 2 the source cannot be read"
	c.examples = []example{
		{"ibft check", "this machine's table"},
		{"ibft check table.bin --for linux,dracut", ""},
		{"ibft check table.bin --for all --json", ""},
		{"ibft check --rules", "all there is to be found"},
	}
	c.max = 1
	asJSON := c.Bool("json", false, "print JSON")
	rules := c.Bool("rules", false, "print the rules instead")
	root := c.root()
	var o ibft.CheckOptions
	c.choice("for", "judge as these `CONSUMERS` do too, joined by commas", append(names(ibft.Consumers()), "all"), true,
		func(v string) (err error) {
			o.Consumers, err = parseConsumers(o.Consumers, v)
			return err
		})
	c.run = func(ctx context.Context, rest []string, std stdio) error {
		if *rules {
			return printRules(std, *asJSON)
		}
		f, err := rawTable(ctx, rest, *root, std)
		if err != nil {
			return exitError{err, exitUnreadable}
		}
		found := ibft.Check(f.Raw, o)
		if *asJSON {
			err = printJSON(std.out, list(found))
		} else {
			err = printFindings(std, f.Source, found)
		}
		if err == nil && slices.ContainsFunc(found, func(f ibft.Finding) bool { return f.Severity >= ibft.Warning }) {
			err = exitError{nil, exitFailed}
		}
		return err
	}
	return c
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

func printFindings(std stdio, source string, found []ibft.Finding) error {
	var b strings.Builder
	var count [ibft.Error + 1]int
	for _, f := range found {
		count[f.Severity]++
		who := ""
		if f.Consumer != "" {
			who = " for " + string(f.Consumer)
		}
		fmt.Fprintf(&b, "%s%s: %s: %s\n", std.paint(severityColour(f.Severity), f.Severity.String()), who, f.Where(), printable(f.Message))
		where := fmt.Sprintf("bytes %#x to %#x", f.Offset, f.Offset+f.Length-1)
		if f.Length == 1 {
			where = fmt.Sprintf("byte %#x", f.Offset)
		}
		fmt.Fprintf(&b, "  %s, rule %s (%s)\n", where, f.Rule, f.Section)
		fmt.Fprintf(&b, "  remedy: %s\n\n", f.Remedy)
	}
	fmt.Fprintf(&b, "%s: %s, %s, %s\n", printable(source),
		std.count(ibft.Error, count[ibft.Error]), std.count(ibft.Warning, count[ibft.Warning]), std.count(ibft.Note, count[ibft.Note]))
	_, err := io.WriteString(std.out, b.String())
	return err
}

// count returns "2 errors", in its colour if there are any.
func (s stdio) count(severity ibft.Severity, n int) string {
	text := fmt.Sprintf("%d %s", n, severity)
	if n != 1 {
		text += "s"
	}
	if n == 0 {
		return text
	}
	return s.paint(severityColour(severity), text)
}

func printRules(std stdio, asJSON bool) error {
	if asJSON {
		return printJSON(std.out, ibft.Rules())
	}
	var b strings.Builder
	for _, r := range ibft.Rules() {
		fmt.Fprintf(&b, "%s (%s; %s)\n  %s\n", std.paint(bold, r.ID), std.paint(severityColour(r.Severity), r.Severity.String()), r.Section, r.Summary)
	}
	_, err := io.WriteString(std.out, b.String())
	return err
}
