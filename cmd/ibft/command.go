package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
)

// command is one of ibft's commands: what runs, and what help, man page and completion say of it.
type command struct {
	*flag.FlagSet
	about    string    // in a few words
	synopsis []string  // what follows "ibft NAME", each a way to call it
	text     string    // paragraphs, an empty line between them; one that is indented is printed as it is
	exits    string    // what the exit codes mean where they differ from the program's
	examples []example // whole command lines

	max      int                           // arguments, flags not counted
	complete func(word string) []candidate // what an argument may be; nil for files
	run      func(ctx context.Context, args []string, std stdio) error
}

// example is a command line, of several lines as the case may be, and what it is for.
type example struct{ line, what string }

// commands returns all commands, in the order in which people get to know them.
func commands() []*command {
	return []*command{
		showCommand(), checkCommand(), findCommand(), buildCommand(), setCommand(), diffCommand(), convertCommand(),
		completionCommand(), manCommand(),
	}
}

func findCommandNamed(name string) *command {
	for _, c := range commands() {
		if c.Name() == name {
			return c
		}
	}
	return nil
}

func newCommand(name, about string, synopsis ...string) *command {
	c := &command{FlagSet: flag.NewFlagSet(name, flag.ContinueOnError), about: about, synopsis: synopsis}
	c.SetOutput(io.Discard)
	c.Usage = func() {}
	return c
}

// call carries out the command.
func (c *command) call(ctx context.Context, args []string, std stdio) error {
	rest, err := c.parse(args)
	if errors.Is(err, flag.ErrHelp) {
		return c.printHelp(std.out)
	}
	if err != nil {
		return usageError{fmt.Errorf("%s: %w, see ibft %s --help", c.Name(), err, c.Name())}
	}
	return c.run(ctx, rest, std)
}

// parse reads flags and other arguments, in any order, and returns the latter. After -- all are others.
func (c *command) parse(args []string) ([]string, error) {
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
	if len(rest) > c.max {
		return nil, fmt.Errorf("unexpected argument %q", rest[c.max])
	}
	return rest, nil
}

// root defines the flag that says where this machine is.
func (c *command) root() *string {
	return c.String("root", "/", "look for this machine's tables under `DIR`/sys and DIR/dev")
}

// choice defines a flag that takes one of names, or several joined by commas. set gets the whole value.
func (c *command) choice(name, usage string, names []string, list bool, set func(string) error) {
	c.Var(choice{names, list, set}, name, usage)
}

// choice is a flag's value whose possible values are known.
type choice struct {
	names []string
	list  bool
	set   func(string) error
}

func (c choice) Set(s string) error { return c.set(s) }
func (c choice) String() string     { return "" }

// names returns values as words.
func names[T ~string](values []T) []string {
	words := make([]string, len(values))
	for i, v := range values {
		words[i] = string(v)
	}
	return words
}

// printHelp prints what --help shows.
func (c *command) printHelp(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s.\n\nUsage:\n", strings.ToUpper(c.about[:1])+c.about[1:])
	for _, s := range c.synopsis {
		fmt.Fprintf(&b, "  %s\n", strings.TrimSpace("ibft "+c.Name()+" "+s))
	}
	if c.text != "" {
		fmt.Fprintf(&b, "\n%s\n", strings.TrimSpace(c.text))
	}
	if c.exits != "" {
		fmt.Fprintf(&b, "\nExit codes: %s.\n", c.exits)
	}
	if len(c.examples) > 0 {
		b.WriteString("\nExamples:\n")
	}
	for _, e := range c.examples {
		b.WriteString(e.String())
	}
	first := true
	c.VisitAll(func(f *flag.Flag) {
		if first {
			b.WriteString("\nFlags:\n")
			first = false
		}
		name, usage := flagUsage(f)
		fmt.Fprintf(&b, "  %-32s %s\n", name, usage)
	})
	_, err := io.WriteString(w, b.String())
	return err
}

// String returns the lines, indented, with what the example is for behind a short one.
func (e example) String() string {
	lines := strings.ReplaceAll(e.line, "\n", "\n  ")
	if e.what == "" {
		return "  " + lines + "\n"
	}
	return fmt.Sprintf("  %-40s %s\n", lines, e.what)
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
func (c *command) takesValue(name string) (*flag.Flag, bool) {
	f := c.Lookup(name)
	if f == nil {
		return nil, false
	}
	b, isBool := f.Value.(interface{ IsBoolFlag() bool })
	return f, !isBool || !b.IsBoolFlag()
}
