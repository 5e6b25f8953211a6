package qemu

import "syscall"

// processAttr has QEMU end with this process, and keeps the terminal's signals from it: this process decides.
func processAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
}
