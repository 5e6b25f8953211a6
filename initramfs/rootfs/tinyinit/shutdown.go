//go:build linux

package main

import (
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// requests are the names under which tinyinit asks PID 1 for something, and
// the signal that says so.
var requests = map[string]unix.Signal{
	"halt":     unix.SIGUSR1,
	"poweroff": unix.SIGUSR2,
	"reboot":   unix.SIGTERM,
}

// grace is how long processes have to end by themselves.
const grace = 2 * time.Second

// listen takes over the signals that ask for the end.
func listen() <-chan os.Signal {
	requested := make(chan os.Signal, 1)
	signal.Notify(requested, unix.SIGUSR1, unix.SIGUSR2, unix.SIGTERM, unix.SIGINT)
	// Ctrl-Alt-Del becomes SIGINT instead of a reset that loses data.
	if err := unix.Reboot(unix.LINUX_REBOOT_CMD_CAD_OFF); err != nil {
		say("cannot take over Ctrl-Alt-Del: %v", err)
	}
	return requested
}

// rebootCommand is what reboot(2) is told for a signal.
func rebootCommand(sig os.Signal) (command int, doing string) {
	switch sig {
	case unix.SIGUSR1:
		return unix.LINUX_REBOOT_CMD_HALT, "halting"
	case unix.SIGUSR2:
		return unix.LINUX_REBOOT_CMD_POWER_OFF, "powering off"
	default:
		return unix.LINUX_REBOOT_CMD_RESTART, "rebooting"
	}
}

// shutDown ends every process, brings the root file system to rest and stops
// the machine.
func shutDown(sig os.Signal) {
	command, doing := rebootCommand(sig)
	say("%s", doing)
	endProcesses()
	unix.Sync()
	if err := unix.Mount("", "/", "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		say("cannot make / read-only: %v (its data is written; the next mount replays the journal)", err)
	}
	if err := unix.Reboot(command); err != nil {
		say("%s: %v", doing, err)
	}
}

// endProcesses asks every process to end, waits a little, and kills the rest.
func endProcesses() {
	signalAll(unix.SIGTERM)
	for deadline := time.Now().Add(grace); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if len(processes()) == 0 {
			return
		}
	}
	signalAll(unix.SIGKILL)
	time.Sleep(100 * time.Millisecond)
}

func signalAll(sig syscall.Signal) {
	for _, pid := range processes() {
		// It may have ended since it was listed.
		_ = unix.Kill(pid, sig)
	}
}

// processes lists the processes that shall end before the machine does: all
// but PID 1, the kernel's own threads, those marked with '@', and the dead.
func processes() []int {
	paths, _ := filepath.Glob("/proc/[0-9]*/cmdline") // the pattern is well-formed
	var pids []int
	for _, path := range paths {
		cmdline, err := os.ReadFile(path)
		if err != nil || len(cmdline) == 0 || cmdline[0] == '@' {
			continue
		}
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path))); err == nil && pid != 1 {
			pids = append(pids, pid)
		}
	}
	return pids
}
