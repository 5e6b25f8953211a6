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

const help = `Reach iSCSI targets: list them, tell what they are, copy data to and from their
disks. The kernel has no part in it, and no privileges are needed.

Usage:
  iscsi discover PORTAL   list the targets of a portal
  iscsi info URL          tell about a target or one of its disks
  iscsi read URL          copy from a disk
  iscsi write URL         copy to a disk
  iscsi COMMAND --help    say more about one command

PORTAL is HOST[:PORT]; the port is 3260 if left out.
URL names a disk in one of two ways:
  iscsi://[USER@]HOST[:PORT]/TARGET/LUN          a URL; USER is the CHAP name
  iscsi:HOST:[PROTOCOL]:[PORT]:[LUN]:TARGET      a root path (RFC 4173)
An IPv6 address stands in brackets. Secrets are never part of a URL or argument:
--chap-secret-file or --chap-secret-env says where they are.

Examples:
  iscsi discover 192.0.2.1
  iscsi info iscsi://192.0.2.1/iqn.2026-01.com.example:disk/1
  iscsi read iscsi://192.0.2.1/iqn.2026-01.com.example:disk/1 -o disk.img
  iscsi write iscsi://alice@192.0.2.1/iqn.2026-01.com.example:disk/1 \
      --chap-secret-file secret -i disk.img

Exit codes: 0 done, 1 failed, 2 wrong usage.
`

// usageError is an error in how the command was called.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// stdio is where a command reads and writes.
type stdio struct {
	in       io.Reader
	out, err io.Writer
}

// environment looks an environment variable up, as os.LookupEnv does.
type environment func(name string) (string, bool)

// commands are what the program can do, by name.
func commands() map[string]func(context.Context, []string, environment, stdio) error {
	return map[string]func(context.Context, []string, environment, stdio) error{
		"discover": discover,
		"info":     info,
		"read":     read,
		"write":    write,
	}
}

// run carries out one command line, without the program's name, and returns the
// exit code.
func run(ctx context.Context, args []string, env environment, std stdio) int {
	err := dispatch(ctx, args, env, std)
	var usage usageError
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return exitOK
	case errors.As(err, &usage):
		fmt.Fprintf(std.err, "iscsi: %v\n", err)
		return exitUsage
	default:
		fmt.Fprintf(std.err, "iscsi: %s\n", strings.TrimPrefix(err.Error(), "initiator: "))
		return exitFailed
	}
}

func dispatch(ctx context.Context, args []string, env environment, std stdio) error {
	if len(args) == 0 {
		fmt.Fprint(std.err, help)
		return usageError{errors.New("no command given")}
	}
	switch args[0] {
	case "help", "-h", "-help", "--help":
		_, err := io.WriteString(std.out, help)
		return err
	}
	command, ok := commands()[args[0]]
	if !ok {
		return usageError{fmt.Errorf("unknown command %q: it is one of discover, info, read and write, see iscsi --help", args[0])}
	}
	return command(ctx, args[1:], env, std)
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

// parse reads flags and the one other argument, called what, in any order, and
// returns the latter. Asked for help, it prints it and returns flag.ErrHelp.
func (c command) parse(args []string, what string, std stdio) (string, error) {
	var rest []string
	for {
		if err := c.Parse(args); errors.Is(err, flag.ErrHelp) {
			c.printHelp(std.out)
			return "", err
		} else if err != nil {
			return "", c.misused("%w", err)
		}
		if args = c.Args(); len(args) == 0 {
			break
		}
		rest, args = append(rest, args[0]), args[1:]
	}
	switch len(rest) {
	case 0:
		return "", c.misused("no %s given", what)
	case 1:
		return rest[0], nil
	}
	return "", c.misused("unexpected argument %q", rest[1])
}

// misused returns a usageError that says where to read on.
func (c command) misused(format string, args ...any) error {
	return usageError{fmt.Errorf("%s: %w, see iscsi %s --help", c.Name(), fmt.Errorf(format, args...), c.Name())}
}

func (c command) printHelp(w io.Writer) {
	fmt.Fprintf(w, "%s\nFlags:\n", c.usage)
	c.VisitAll(func(f *flag.Flag) {
		placeholder, usage := flag.UnquoteUsage(f)
		dashes := "--"
		if len(f.Name) == 1 {
			dashes = "-"
		}
		fmt.Fprintf(w, "  %-32s %s\n", strings.TrimSpace(dashes+f.Name+" "+placeholder), usage)
	})
}
