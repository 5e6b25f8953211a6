//go:build unix

package slp

import "syscall"

// reuse lets the socket of an address and that of the group have the same port.
func reuse(_, _ string, c syscall.RawConn) (err error) {
	if control := c.Control(func(fd uintptr) {
		err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1)
	}); control != nil {
		return control
	}
	return err
}
