package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/bootlun/bootlun/ibft"
	"github.com/bootlun/bootlun/internal/cli"
)

func checkCommand() *cli.Command {
	c := cli.NewCommand("check", "say what is wrong with a table", "[SOURCE] [flags]", "--rules")
	c.Text = `SOURCE is as for "ibft show". A broken table is judged as well as a good one. The
measure is the specification; --for asks programs that read or pass on tables too:

  ` + strings.Join(names(ibft.Consumers()), "\n  ") + `
  all

Errors break the specification or the boot, warnings are read otherwise than they
were meant by somebody, notes are worth knowing.`
	c.Exits = "0 neither errors nor warnings, 1 some, 2 the source cannot be read"
	c.Examples = []cli.Example{
		{"ibft check", "this machine's table"},
		{"ibft check table.bin --for linux,dracut", ""},
		{"ibft check table.bin --for all --json", ""},
		{"ibft check --rules", "all there is to be found"},
	}
	c.Max = 1
	asJSON := c.Bool("json", false, "print JSON")
	rules := c.Bool("rules", false, "print the rules instead")
	root := rootFlag(c)
	var o ibft.CheckOptions
	c.Choice("for", "judge as these `CONSUMERS` do too, joined by commas", append(names(ibft.Consumers()), "all"), true,
		func(v string) (err error) {
			o.Consumers, err = parseConsumers(o.Consumers, v)
			return err
		})
	c.Run = func(ctx context.Context, rest []string, std cli.IO) error {
		if *rules {
			return printRules(std, *asJSON)
		}
		f, err := rawTable(ctx, rest, *root, std)
		if err != nil {
			return cli.Exit(err, exitUnreadable)
		}
		found := ibft.Check(f.Raw, o)
		if *asJSON {
			err = cli.PrintJSON(std.Out, list(found))
		} else {
			err = printFindings(std, f.Source, found)
		}
		if err == nil && slices.ContainsFunc(found, func(f ibft.Finding) bool { return f.Severity >= ibft.Warning }) {
			err = cli.Exit(nil, cli.ExitFailed)
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

func printFindings(std cli.IO, source string, found []ibft.Finding) error {
	var b strings.Builder
	var count [ibft.Error + 1]int
	for _, f := range found {
		count[f.Severity]++
		who := ""
		if f.Consumer != "" {
			who = " for " + string(f.Consumer)
		}
		fmt.Fprintf(&b, "%s%s: %s: %s\n", std.Paint(severityColour(f.Severity), f.Severity.String()), who, f.Where(), cli.Printable(f.Message))
		where := fmt.Sprintf("bytes %#x to %#x", f.Offset, f.Offset+f.Length-1)
		if f.Length == 1 {
			where = fmt.Sprintf("byte %#x", f.Offset)
		}
		fmt.Fprintf(&b, "  %s, rule %s (%s)\n", where, f.Rule, f.Section)
		fmt.Fprintf(&b, "  remedy: %s\n\n", f.Remedy)
	}
	fmt.Fprintf(&b, "%s: %s, %s, %s\n", cli.Printable(source),
		counted(std, ibft.Error, count[ibft.Error]), counted(std, ibft.Warning, count[ibft.Warning]), counted(std, ibft.Note, count[ibft.Note]))
	_, err := io.WriteString(std.Out, b.String())
	return err
}

// counted returns "2 errors", in its colour if there are any.
func counted(s cli.IO, severity ibft.Severity, n int) string {
	text := fmt.Sprintf("%d %s", n, severity)
	if n != 1 {
		text += "s"
	}
	if n == 0 {
		return text
	}
	return s.Paint(severityColour(severity), text)
}

func printRules(std cli.IO, asJSON bool) error {
	if asJSON {
		return cli.PrintJSON(std.Out, ibft.Rules())
	}
	var b strings.Builder
	for _, r := range ibft.Rules() {
		fmt.Fprintf(&b, "%s (%s; %s)\n  %s\n", std.Paint(cli.Bold, r.ID), std.Paint(severityColour(r.Severity), r.Severity.String()), r.Section, r.Summary)
	}
	_, err := io.WriteString(std.Out, b.String())
	return err
}
