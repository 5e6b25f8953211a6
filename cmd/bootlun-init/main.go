// Command bootlun-init is PID 1 of the netboot image: it reads the kernel
// command line and runs the steps of package initramfs/boot. It stays on in
// memory under two other names: as the keeper of the root disk's sessions, and
// as the program that systemd ends the machine with.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/bootlun/bootlun/initramfs/boot"
)

func main() {
	switch {
	case os.Args[0] == boot.KeeperName:
		if err := boot.RunKeeper(context.Background(), os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, "bootlun-keeper:", err)
			os.Exit(1)
		}
	case os.Getpid() != 1:
		fmt.Fprintln(os.Stderr, "bootlun-init is the first process of a netboot image (PID 1); \"bootlun image build\" makes one")
		os.Exit(1)
	case boot.IsShutdown(os.Args):
		boot.ShutDown(os.Args, console())
	default:
		start()
	}
}

// start boots the machine.
func start() {
	prepared := boot.Prepare()
	out := console()
	cmdline, readErr := os.ReadFile("/proc/cmdline")
	cfg, parseErr := boot.ParseCmdline(string(cmdline))
	if err := errors.Join(prepared, readErr, parseErr); err != nil {
		// Boot on: an unknown option or a mount that failed may not matter.
		fmt.Fprintln(out, "bootlun:", err)
	}
	boot.Fail(cfg, out, boot.Run(context.Background(), cfg, out))
}

// console is the machine's, or what the kernel gives PID 1 as one.
func console() *os.File {
	out, err := os.OpenFile("/dev/console", os.O_WRONLY, 0)
	if err != nil {
		return os.Stderr
	}
	return out
}
