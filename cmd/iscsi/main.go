// Command iscsi reaches iSCSI targets: it finds them, tells what they are, copies, checks and measures their disks, all
// without the kernel's help, and gives sessions to Linux and takes them back. "iscsi --help" says how, and so does
// docs/iscsi.md.
//
// A command is a [cli.Command], made by a function of its own in the file of its name. session.go is how they reach a
// target.
//
// It is pure Go and also runs as part of a u-root busybox.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := program().Run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}
