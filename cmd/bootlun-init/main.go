// Command bootlun-init is PID 1 of the netboot image: it reads the kernel
// command line and runs the steps of package initramfs/boot.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/bootlun/bootlun/initramfs/boot"
)

func main() {
	if os.Getpid() != 1 {
		fmt.Fprintln(os.Stderr, "bootlun-init is the first process of a netboot image (PID 1); \"bootlun image build\" makes one")
		os.Exit(1)
	}
	prepared := boot.Prepare()
	console, err := os.OpenFile("/dev/console", os.O_WRONLY, 0)
	if err != nil {
		console = os.Stderr // the kernel gives PID 1 its console here
	}
	cmdline, readErr := os.ReadFile("/proc/cmdline")
	cfg, parseErr := boot.ParseCmdline(string(cmdline))
	if err := errors.Join(prepared, readErr, parseErr); err != nil {
		// Boot on: an unknown option or a mount that failed may not matter.
		fmt.Fprintln(console, "bootlun:", err)
	}
	boot.Fail(cfg, console, boot.Run(context.Background(), cfg, console))
}
