package main

import (
	"context"
	"io"
	"strings"

	"github.com/bootlun/bootlun/ibft"
	"github.com/bootlun/bootlun/internal/cli"
)

// program is what ibft can do.
func program() *cli.Program {
	return &cli.Program{
		Name:    "ibft",
		Summary: "show, judge, make and translate iSCSI Boot Firmware Tables",
		About: `Show, judge, make and translate iSCSI Boot Firmware Tables (iBFT), by which
firmware tells an operating system where its disk is.`,
		Exits: "0 done, 1 failed, 2 wrong usage",
		Examples: []cli.Example{
			{"ibft show", "this machine's table"},
			{"ibft check table.bin --for linux,dracut", "what is wrong with one in a file"},
			{"ibft convert --to dracut table.bin", "what it says, as a kernel command line"},
			{"ibft build --root-path iscsi:192.0.2.1::::iqn.2026-01.com.example:disk \\\n" +
				"    --initiator iqn.2026-01.com.example:machine --ip 192.0.2.10/24 \\\n" +
				"    --mac 52:54:00:12:34:56 --out table.bin"},
			{". <(ibft completion bash)", "complete what you type"},
		},
		Environment: [][2]string{{"NO_COLOR", "When it is set and not empty, nothing is coloured. Otherwise colours are for terminals only."}},
		Commands: []*cli.Command{
			showCommand(), checkCommand(), findCommand(), buildCommand(), setCommand(), diffCommand(), convertCommand(),
		},
		// The package's errors bear its name, which is the program's too: once is enough.
		Explain: func(err error) string {
			return strings.ReplaceAll(strings.TrimPrefix(err.Error(), "ibft: "), ": ibft: ", ": ")
		},
	}
}

// run carries out one command line, without the program's name, and returns the exit code.
func run(ctx context.Context, args []string, in io.Reader, out, errout io.Writer) int {
	return program().Run(ctx, args, in, out, errout)
}

// rootFlag defines the flag that says where this machine is.
func rootFlag(c *cli.Command) *string {
	return c.String("root", "/", "look for this machine's tables under `DIR`/sys and DIR/dev")
}

// names returns values as words.
func names[T ~string](values []T) []string {
	words := make([]string, len(values))
	for i, v := range values {
		words[i] = string(v)
	}
	return words
}

func severityColour(s ibft.Severity) string {
	switch s {
	case ibft.Error:
		return cli.Red
	case ibft.Warning:
		return cli.Yellow
	}
	return cli.Cyan
}
