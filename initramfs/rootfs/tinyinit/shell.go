//go:build linux

package main

import (
	"os"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// respawnPause keeps a shell that ends at once, as on a console without input,
// from being started in a busy loop.
const respawnPause = time.Second

var environment = []string{"PATH=/bin:/sbin", "HOME=/root", "TERM=linux", "SHELL=/bin/sh", "USER=root"}

// keepShell keeps a shell on the console until stopping is closed, and collects
// the children that other processes left behind. It owns every wait(2) of PID 1.
func keepShell(stopping <-chan struct{}) {
	for {
		shell, err := startShell()
		if err != nil {
			say("cannot start a shell: %v", err)
		} else {
			reapUntil(shell)
		}
		select {
		case <-stopping:
			return
		case <-time.After(respawnPause):
			say("the shell has ended; here is another")
		}
	}
}

// startShell starts a shell in a session of its own, with the console as its
// controlling terminal, so that Ctrl-C reaches what it runs.
func startShell() (pid int, err error) {
	console, err := openConsole()
	if err != nil {
		return 0, err
	}
	defer console.Close()
	fd := console.Fd()
	// The busybox finds out by the whole path what it shall be.
	return syscall.ForkExec("/bin/sh", []string{"/bin/sh"}, &syscall.ProcAttr{
		Dir:   "/root",
		Env:   environment,
		Files: []uintptr{fd, fd, fd},
		Sys:   &syscall.SysProcAttr{Setsid: true, Setctty: true, Ctty: 0},
	})
}

// openConsole opens the terminal behind /dev/console: that name itself cannot
// be anybody's controlling terminal on every kernel.
func openConsole() (*os.File, error) {
	if b, err := os.ReadFile("/sys/class/tty/console/active"); err == nil {
		// The kernel lists its consoles; the last one is /dev/console.
		if names := strings.Fields(string(b)); len(names) > 0 {
			if f, err := os.OpenFile("/dev/"+names[len(names)-1], os.O_RDWR|unix.O_NOCTTY, 0); err == nil {
				return f, nil
			}
		}
	}
	return os.OpenFile("/dev/console", os.O_RDWR|unix.O_NOCTTY, 0)
}

// reapUntil collects ended children until pid is among them.
func reapUntil(pid int) {
	for {
		ended, err := unix.Wait4(-1, nil, 0, nil)
		if ended == pid || (err != nil && err != unix.EINTR) {
			return
		}
	}
}
