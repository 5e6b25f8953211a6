// Command ibft shows and builds iSCSI Boot Firmware Tables: the table by which firmware tells an operating system
// where its disk is. "ibft --help" says how.
//
// It needs the standard library only and also runs as part of a u-root busybox.
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
