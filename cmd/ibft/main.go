// Command ibft shows, judges, makes and translates iSCSI Boot Firmware Tables: the table by which firmware tells an
// operating system where its disk is. "ibft --help" says how, and so does docs/ibft.md.
//
// A command is a [cli.Command], made by a function of its own. What is run, what --help prints, the man page and what the
// shells complete all come from these values: see program.go.
//
// It runs as part of a u-root busybox too. With the build tag bootlun_small it does without YAML, whose reader is
// as large as all the rest.
package main

import (
	"context"
	"os"
	"os/signal"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	code := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}
