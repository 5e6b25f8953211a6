//go:build unix && !linux

package qemu

import "syscall"

// processAttr keeps the terminal's signals from QEMU. There is no way here to have it end with this process.
func processAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}
