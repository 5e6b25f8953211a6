package main

import (
	"context"
	"errors"
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

// about is what the program is, for its help and its man page.
const about = `Show, judge, make and translate iSCSI Boot Firmware Tables (iBFT), by which
firmware tells an operating system where its disk is.`

// programExits say what the exit codes mean, where a command has none of its own.
const programExits = "0 done, 1 failed, 2 wrong usage"

func programExamples() []example {
	return []example{
		{"ibft show", "this machine's table"},
		{"ibft check table.bin --for linux,dracut", "what is wrong with one in a file"},
		{"ibft convert --to dracut table.bin", "what it says, as a kernel command line"},
		{"ibft build --root-path iscsi:192.0.2.1::::iqn.2026-01.com.example:disk \\\n" +
			"    --initiator iqn.2026-01.com.example:machine --ip 192.0.2.10/24 \\\n" +
			"    --mac 52:54:00:12:34:56 --out table.bin", ""},
		{". <(ibft completion bash)", "complete what you type"},
	}
}

func printHelp(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n\nUsage:\n  ibft COMMAND [ARGUMENTS] [FLAGS]\n\nCommands:\n", about)
	for _, c := range commands() {
		fmt.Fprintf(&b, "  %-11s %s\n", c.Name(), c.about)
	}
	b.WriteString("\nibft COMMAND --help says more about one of them.\n\nExamples:\n")
	for _, e := range programExamples() {
		b.WriteString(e.String())
	}
	fmt.Fprintf(&b, "\nExit codes: %s.\n", programExits)
	_, err := io.WriteString(w, b.String())
	return err
}

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
	colour   bool // out takes colours
}

// run carries out one command line, without the program's name, and returns the exit code.
func run(ctx context.Context, args []string, in io.Reader, out, errout io.Writer) int {
	err := dispatch(ctx, args, stdio{in, out, errout, takesColour(out)})
	var usage usageError
	var exit exitError
	code := exitFailed
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &usage):
		code = exitUsage
	case errors.As(err, &exit):
		code, err = exit.code, exit.error
	}
	if err != nil {
		// The package's errors bear its name, which is the program's too: once is enough.
		text := strings.ReplaceAll(strings.TrimPrefix(err.Error(), "ibft: "), ": ibft: ", ": ")
		fmt.Fprintf(errout, "ibft: %s\n", text)
	}
	return code
}

func dispatch(ctx context.Context, args []string, std stdio) error {
	if len(args) == 0 {
		if err := printHelp(std.err); err != nil {
			return err
		}
		return usageError{errors.New("no command given")}
	}
	name, rest := args[0], args[1:]
	switch name {
	case "help", "-h", "-help", "--help":
		if len(rest) > 0 {
			name, rest = rest[0], []string{"--help"}
			break
		}
		return printHelp(std.out)
	case completeName:
		return complete(rest, std.out)
	}
	c := findCommandNamed(name)
	if c == nil {
		return usageError{fmt.Errorf("unknown command %q, see ibft --help", name)}
	}
	return c.call(ctx, rest, std)
}
