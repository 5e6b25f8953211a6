// Command iscsi reaches iSCSI targets without the kernel's help: it lists them,
// tells what they are, and copies data to and from their disks. "iscsi --help"
// says how.
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
	code := run(ctx, os.Args[1:], os.LookupEnv, stdio{os.Stdin, os.Stdout, os.Stderr})
	stop()
	os.Exit(code)
}
