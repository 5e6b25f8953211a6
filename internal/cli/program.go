package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Exit codes.
const (
	ExitOK     = 0
	ExitFailed = 1 // it was asked for rightly, and did not work
	ExitUsage  = 2 // it was asked for wrongly
)

// Program is a program of several commands.
type Program struct {
	Name     string
	Summary  string // in a few words, without a dot
	About    string // in a sentence or two
	Text     string // more paragraphs, as [Command.Text]
	Exits    string // what the exit codes mean, where a command has none of its own
	Examples []Example
	// Environment has the variables that matter and what they do.
	Environment [][2]string
	// Commands are in the order in which people get to know them. Those for completion and manual page are added.
	Commands []*Command
	// Explain says how an error reads; nil is its Error method.
	Explain func(error) string
}

// IO is where a command reads and writes.
type IO struct {
	In       io.Reader
	Out, Err io.Writer
	Colour   bool // Out takes colours
}

// usageError is an error in how the command was called.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// Misused returns an error in how the command was called.
func Misused(err error) error { return usageError{err} }

// exitError ends the program with a code of its command's own. Without an error there is no more to say.
type exitError struct {
	error
	code int
}

// Exit returns an error that ends the program with a code of its command's own, silently if err is nil.
func Exit(err error, code int) error { return exitError{err, code} }

// all returns the commands with those that every program has.
func (p *Program) all() []*Command {
	commands := append(p.Commands[:len(p.Commands):len(p.Commands)], p.completionCommand(), p.manCommand())
	for _, c := range commands {
		c.program = p.Name
	}
	return commands
}

func (p *Program) command(name string) *Command {
	for _, c := range p.all() {
		if c.Name() == name {
			return c
		}
	}
	return nil
}

func (p *Program) printHelp(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n\nUsage:\n  %s COMMAND [ARGUMENTS] [FLAGS]\n\nCommands:\n", p.About, p.Name)
	for _, c := range p.all() {
		fmt.Fprintf(&b, "  %-11s %s\n", c.Name(), c.About)
	}
	fmt.Fprintf(&b, "\n%s COMMAND --help says more about one of them.\n", p.Name)
	if p.Text != "" {
		fmt.Fprintf(&b, "\n%s\n", strings.TrimSpace(p.Text))
	}
	b.WriteString("\nExamples:\n")
	for _, e := range p.Examples {
		b.WriteString(e.String())
	}
	fmt.Fprintf(&b, "\nExit codes: %s.\n", p.Exits)
	_, err := io.WriteString(w, b.String())
	return err
}

// Run carries out one command line, without the program's name, and returns the exit code.
func (p *Program) Run(ctx context.Context, args []string, in io.Reader, out, errout io.Writer) int {
	err := p.dispatch(ctx, args, IO{in, out, errout, takesColour(out)})
	var usage usageError
	var exit exitError
	code := ExitFailed
	switch {
	case err == nil:
		return ExitOK
	case errors.As(err, &usage):
		code = ExitUsage
	case errors.As(err, &exit):
		code, err = exit.code, exit.error
	}
	if err != nil {
		text := err.Error()
		if p.Explain != nil {
			text = p.Explain(err)
		}
		fmt.Fprintf(errout, "%s: %s\n", p.Name, text)
	}
	return code
}

func (p *Program) dispatch(ctx context.Context, args []string, std IO) error {
	if len(args) == 0 {
		if err := p.printHelp(std.Err); err != nil {
			return err
		}
		return Misused(errors.New("no command given"))
	}
	name, rest := args[0], args[1:]
	switch name {
	case "help", "-h", "-help", "--help":
		if len(rest) > 0 {
			name, rest = rest[0], []string{"--help"}
			break
		}
		return p.printHelp(std.Out)
	case completeName:
		return p.complete(rest, std.Out)
	}
	c := p.command(name)
	if c == nil {
		return Misused(fmt.Errorf("unknown command %q, see %s --help", name, p.Name))
	}
	return c.call(ctx, rest, std)
}
