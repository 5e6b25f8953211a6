package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
)

// Exit codes.
const (
	exitOK     = 0
	exitFailed = 1 // it was asked for rightly, and did not work
	exitUsage  = 2 // it was asked for wrongly
)

const help = `Show and build iSCSI Boot Firmware Tables (iBFT), by which firmware tells an
operating system where its disk is.

Usage:
  ibft show [SOURCE]     print a table: this machine's, or one in a file
  ibft build [JSON]      make a table from a root path or from JSON
  ibft check [SOURCE]    say what is wrong with a table
  ibft set FIELD=VALUE   change fields of a table
  ibft diff A B          compare two tables field by field
  ibft find              list every table on this machine
  ibft convert           turn a table into what other programs read, and back
  ibft COMMAND --help    say more about one command

Examples:
  ibft show
  ibft show table.bin --json
  ibft build --root-path iscsi:192.0.2.1::::iqn.2026-01.com.example:disk \
      --initiator iqn.2026-01.com.example:machine --ip 192.0.2.10/24 \
      --mac 52:54:00:12:34:56 --out table.bin

Exit codes: 0 done, 1 failed, 2 wrong usage.
`

// usageError is an error in how the command was called.
type usageError struct{ error }

// exitError ends the program with a code of its command's own. Without an error there is no more to say.
type exitError struct {
	error
	code int
}

// stdio is where a command reads and writes.
type stdio struct {
	in       io.Reader
	out, err io.Writer
}

// run carries out one command line, without the program's name, and returns the exit code.
func run(ctx context.Context, args []string, in io.Reader, out, errout io.Writer) int {
	err := dispatch(ctx, args, stdio{in, out, errout})
	var usage usageError
	var exit exitError
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return exitOK
	case errors.As(err, &usage):
		fmt.Fprintf(errout, "ibft: %v\n", err)
		return exitUsage
	case errors.As(err, &exit):
		if exit.error != nil {
			fmt.Fprintf(errout, "ibft: %s\n", strings.TrimPrefix(exit.Error(), "ibft: "))
		}
		return exit.code
	default:
		fmt.Fprintf(errout, "ibft: %s\n", strings.TrimPrefix(err.Error(), "ibft: "))
		return exitFailed
	}
}

func dispatch(ctx context.Context, args []string, std stdio) error {
	if len(args) == 0 {
		fmt.Fprint(std.err, help)
		return usageError{errors.New("no command given")}
	}
	switch name, rest := args[0], args[1:]; name {
	case "show":
		return show(rest, std)
	case "build":
		return build(ctx, rest, std)
	case "check":
		return check(rest, std)
	case "set":
		return set(rest, std)
	case "diff":
		return diff(rest, std)
	case "find":
		return find(rest, std)
	case "convert":
		return convert(ctx, rest, std)
	case "help", "-h", "-help", "--help":
		_, err := fmt.Fprint(std.out, help)
		return err
	default:
		return usageError{fmt.Errorf("unknown command %q: it is one of show, build, check, set, diff, find, convert, see ibft --help", name)}
	}
}

// command is one command's flags and help.
type command struct {
	*flag.FlagSet
	usage string // its synopsis, what it does, and examples
}

func newCommand(name, usage string) command {
	c := command{flag.NewFlagSet(name, flag.ContinueOnError), usage}
	c.SetOutput(io.Discard)
	c.Usage = func() {}
	return c
}

// parse reads flags and at most max other arguments, in any order, and returns the latter. Asked for help, it
// prints it and returns flag.ErrHelp.
func (c command) parse(args []string, max int, std stdio) ([]string, error) {
	var rest []string
	for {
		if err := c.Parse(args); errors.Is(err, flag.ErrHelp) {
			c.printHelp(std.out)
			return nil, err
		} else if err != nil {
			return nil, usageError{fmt.Errorf("%s: %w, see ibft %s --help", c.Name(), err, c.Name())}
		}
		if args = c.Args(); len(args) == 0 {
			return rest, nil
		}
		if rest, args = append(rest, args[0]), args[1:]; len(rest) > max {
			return nil, usageError{fmt.Errorf("%s: unexpected argument %q, see ibft %s --help", c.Name(), rest[max], c.Name())}
		}
	}
}

func (c command) printHelp(w io.Writer) {
	fmt.Fprintf(w, "%s\nFlags:\n", c.usage)
	c.VisitAll(func(f *flag.Flag) {
		placeholder, usage := flag.UnquoteUsage(f)
		fmt.Fprintf(w, "  %-32s %s\n", strings.TrimSpace("--"+f.Name+" "+placeholder), usage)
	})
}
