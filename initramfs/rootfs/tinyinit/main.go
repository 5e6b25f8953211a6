//go:build linux

// Command tinyinit is PID 1 of the tiny root file system: it mounts what the
// initramfs left unmounted, says where / lies, keeps a shell on the console and
// takes the machine down when asked.
//
// Started under the name poweroff, reboot or halt it asks PID 1 to do that and
// returns. PID 1 understands these signals: SIGUSR2 powers off, SIGUSR1 halts,
// SIGTERM and SIGINT (the console's Ctrl-Alt-Del) reboot.
//
// Processes whose argv[0] starts with '@' are left running until the very end:
// the initramfs may have left one there that keeps the session alive on which
// the root disk itself depends.
package main

import (
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

func main() {
	name := filepath.Base(os.Args[0])
	if sig, ok := requests[name]; ok {
		if err := unix.Kill(1, sig); err != nil {
			fmt.Fprintf(os.Stderr, "%s: cannot ask PID 1: %v\n", name, err)
			os.Exit(1)
		}
		return
	}
	if os.Getpid() != 1 {
		fmt.Fprintln(os.Stderr, "init: only the kernel starts init, as PID 1; poweroff, reboot and halt stop the machine")
		os.Exit(1)
	}
	run()
}

// run is the life of PID 1. It returns only if the kernel refuses to stop the
// machine.
func run() {
	requested := listen()
	setUp()
	fmt.Println(banner())
	fmt.Println("bootlun tiny root: poweroff stops the machine; /bin holds the commands")
	stopping := make(chan struct{})
	go keepShell(stopping)
	request := <-requested
	close(stopping)
	shutDown(request)
}

// say prints one line on the console. PID 1 has nowhere else to complain, and
// no complaint of its is worth stopping for.
func say(format string, args ...any) {
	fmt.Printf("init: "+format+"\n", args...)
}
