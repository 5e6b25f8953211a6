package main

import (
	"context"
	"errors"
	"net"
	"os"
	"strings"

	"github.com/bootlun/bootlun/initiator"
	"github.com/bootlun/bootlun/internal/cli"
	"github.com/bootlun/bootlun/iscsi"
)

// program is what iscsi can do.
func program() *cli.Program {
	p := &cli.Program{
		Name:    "iscsi",
		Summary: "find, use, copy, check and measure iSCSI disks",
		About: `Reach iSCSI targets: find them, tell what they are, copy, check and measure their
disks, without the kernel and without privileges; and give sessions to Linux.`,
		Text: `PORTAL is HOST[:PORT]; the port is 3260 if left out.
URL names a disk in one of two ways:

  iscsi://[USER@]HOST[:PORT]/TARGET/LUN          a URL; USER is the CHAP name
  iscsi:HOST:[PROTOCOL]:[PORT]:[LUN]:TARGET      a root path (RFC 4173)

An IPv6 address stands in brackets. Secrets are never part of a URL or argument:
--chap-secret-file or --chap-secret-env says where they are.`,
		Exits: `0 done, 1 failed, 2 wrong usage; and, as iscsiadm has them, 4 no connection, 8 no
answer in time, 15 the session exists, 19 login refused, 21 nothing found, 24 CHAP refused`,
		Examples: []cli.Example{
			{"iscsi discover 192.0.2.1", "what is there"},
			{"iscsi info iscsi://192.0.2.1/iqn.2026-01.com.example:disk/1", "tell about a disk"},
			{"iscsi copy iscsi://192.0.2.1/iqn.2026-01.com.example:disk/1 disk.img", "back it up"},
			{"iscsi attach iscsi://192.0.2.1/iqn.2026-01.com.example:disk/1", "make it /dev/sdX"},
			{"iscsi write iscsi://alice@192.0.2.1/iqn.2026-01.com.example:disk/1 \\\n" +
				"    --chap-secret-file secret -i disk.img"},
			{". <(iscsi completion bash)", "complete what you type"},
		},
		Commands: append([]*cli.Command{
			discoverCommand(), infoCommand(), readCommand(), writeCommand(), copyCommand(), verifyCommand(), benchCommand(),
			cdbCommand(), reserveCommand(),
		}, kernelCommands()...),
		Explain: explain,
	}
	for _, c := range p.Commands {
		run := c.Run
		c.Run = func(ctx context.Context, args []string, std cli.IO) error { return withExitCode(run(ctx, args, std)) }
	}
	return p
}

// Exit codes that scripts know from iscsiadm (its manual page, EXIT STATUS).
const (
	exitNoConnection  = 4
	exitTimeout       = 8
	exitSessionExists = 15
	exitLoginRefused  = 19
	exitNothingFound  = 21
	exitCHAPRefused   = 24
)

// withExitCode gives an error the exit code of what it comes from.
func withExitCode(err error) error {
	var refused *iscsi.LoginError
	var op *net.OpError
	switch {
	case err == nil:
		return nil
	case errors.Is(err, errNothingFound):
		return cli.Exit(err, exitNothingFound)
	case isSessionExists(err):
		return cli.Exit(err, exitSessionExists)
	case errors.As(err, &refused) && refused.Status == iscsi.StatusAuthenticationFailed:
		return cli.Exit(err, exitCHAPRefused)
	case errors.As(err, &refused) && refused.Status == iscsi.StatusTargetNotFound, errors.Is(err, initiator.ErrNoLUN):
		return cli.Exit(err, exitNothingFound)
	case errors.As(err, &refused):
		return cli.Exit(err, exitLoginRefused)
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return cli.Exit(err, exitTimeout)
	case errors.As(err, &op), errors.Is(err, initiator.ErrConnectionLost):
		return cli.Exit(err, exitNoConnection)
	}
	return err
}

// errNothingFound is what was asked for not being there.
var errNothingFound = errors.New("nothing found")

// explain returns an error without the packages' names, which say nothing to who called a command.
func explain(err error) string {
	text := "\n" + err.Error()
	for _, name := range []string{"initiator: ", "kernel: ", "iscsi: ", "scsi: ", "isns: ", "slp: "} {
		text = strings.ReplaceAll(strings.ReplaceAll(text, ": "+name, ": "), "\n"+name, "\n")
	}
	return text[1:]
}
