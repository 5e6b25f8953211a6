package cli

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"
)

// Command is one of a program's commands: what runs, and what help, man page and completion say of it.
type Command struct {
	*flag.FlagSet
	About    string    // in a few words, without a dot
	Synopsis []string  // what follows "PROGRAM NAME", each a way to call it
	Text     string    // paragraphs, an empty line between them; one that is indented is printed as it is
	Exits    string    // what the exit codes mean where they differ from the program's
	Examples []Example // whole command lines

	Max      int                           // arguments, flags not counted
	Complete func(word string) []Candidate // what an argument may be; nil for files
	Run      func(ctx context.Context, args []string, std IO) error

	program string
	groups  []group
}

// group are flags with a heading of their own.
type group struct {
	title string
	names map[string]bool
}

// Example is a command line, of several lines as the case may be, and what it is for.
type Example [2]string

// NewCommand returns a command without flags.
func NewCommand(name, about string, synopsis ...string) *Command {
	c := &Command{FlagSet: flag.NewFlagSet(name, flag.ContinueOnError), About: about, Synopsis: synopsis}
	c.SetOutput(io.Discard)
	c.Usage = func() {}
	return c
}

// Misused returns an error in how the command was called, which says where to read on.
func (c *Command) Misused(format string, args ...any) error {
	return Misused(fmt.Errorf("%s: %w, see %s %s --help", c.Name(), fmt.Errorf(format, args...), c.program, c.Name()))
}

// call carries out the command.
func (c *Command) call(ctx context.Context, args []string, std IO) error {
	rest, err := c.parse(args)
	if errors.Is(err, flag.ErrHelp) {
		return c.printHelp(std.Out)
	}
	if err != nil {
		return c.Misused("%w", err)
	}
	return c.Run(ctx, rest, std)
}

// parse reads flags and other arguments, in any order, and returns the latter. After -- all are others.
func (c *Command) parse(args []string) ([]string, error) {
	var rest []string
	for len(args) > 0 {
		before := args
		if err := c.Parse(args); err != nil {
			return nil, err
		}
		args = c.Args()
		n := 1
		if used := len(before) - len(args); used > 0 && before[used-1] == "--" {
			n = len(args)
		}
		n = min(n, len(args))
		rest, args = append(rest, args[:n]...), args[n:]
	}
	if len(rest) > c.Max {
		return nil, fmt.Errorf("unexpected argument %q", rest[c.Max])
	}
	return rest, nil
}

// Choice defines a flag that takes one of names, or several joined by commas. set gets the whole value.
func (c *Command) Choice(name, usage string, names []string, list bool, set func(string) error) {
	c.Var(choice{names, list, set}, name, usage)
}

// Group has what define defines stand under a heading of its own in the help, behind the other flags.
func (c *Command) Group(title string, define func()) {
	g := group{title, make(map[string]bool)}
	before := make(map[string]bool)
	c.VisitAll(func(f *flag.Flag) { before[f.Name] = true })
	define()
	c.VisitAll(func(f *flag.Flag) { g.names[f.Name] = !before[f.Name] })
	c.groups = append(c.groups, g)
}

// groupOf returns which of the groups a flag is in, -1 for none.
func (c *Command) groupOf(name string) int {
	return slices.IndexFunc(c.groups, func(g group) bool { return g.names[name] })
}

// choice is a flag's value whose possible values are known.
type choice struct {
	names []string
	list  bool
	set   func(string) error
}

func (c choice) Set(s string) error { return c.set(s) }
func (c choice) String() string     { return "" }

// printHelp prints what --help shows.
func (c *Command) printHelp(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s.\n\nUsage:\n", strings.ToUpper(c.About[:1])+c.About[1:])
	for _, s := range c.Synopsis {
		fmt.Fprintf(&b, "  %s\n", strings.TrimSpace(c.program+" "+c.Name()+" "+s))
	}
	if c.Text != "" {
		fmt.Fprintf(&b, "\n%s\n", strings.TrimSpace(c.Text))
	}
	if c.Exits != "" {
		fmt.Fprintf(&b, "\nExit codes: %s.\n", c.Exits)
	}
	if len(c.Examples) > 0 {
		b.WriteString("\nExamples:\n")
	}
	for _, e := range c.Examples {
		b.WriteString(e.String())
	}
	c.printFlags(&b, "Flags", -1)
	for i, g := range c.groups {
		c.printFlags(&b, g.title, i)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// printFlags writes the flags of a group under their heading.
func (c *Command) printFlags(b *strings.Builder, title string, group int) {
	heading := "\n" + title + ":\n"
	c.VisitAll(func(f *flag.Flag) {
		if c.groupOf(f.Name) == group {
			name, usage := flagUsage(f)
			fmt.Fprintf(b, "%s  %-32s %s\n", heading, name, usage)
			heading = ""
		}
	})
}

// String returns the lines, indented, with what the example is for as the shell's comment.
func (e Example) String() string {
	lines := strings.ReplaceAll(e[0], "\n", "\n  ")
	if e[1] == "" {
		return "  " + lines + "\n"
	}
	return fmt.Sprintf("  %-40s # %s\n", lines, e[1])
}

// flagUsage returns a flag with its placeholder, "--out FILE", and what it does.
func flagUsage(f *flag.Flag) (name, usage string) {
	placeholder, usage := flag.UnquoteUsage(f)
	dashes := "--"
	if len(f.Name) == 1 {
		dashes = "-"
	}
	return strings.TrimSpace(dashes + f.Name + " " + placeholder), usage
}

// takesValue returns the flag of a name, nil if there is none, and whether a value follows it.
func (c *Command) takesValue(name string) (*flag.Flag, bool) {
	f := c.Lookup(name)
	if f == nil {
		return nil, false
	}
	b, isBool := f.Value.(interface{ IsBoolFlag() bool })
	return f, !isBool || !b.IsBoolFlag()
}
