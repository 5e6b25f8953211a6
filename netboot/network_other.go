//go:build !linux

package netboot

import (
	"fmt"
	"runtime"
	"syscall"
)

// bindToDevice refuses: only Linux keeps a socket to one device by its name.
func bindToDevice(name string) func(network, address string, c syscall.RawConn) error {
	return func(_, _ string, _ syscall.RawConn) error {
		return fmt.Errorf("bind DHCP to interface %q: not possible on %s; disable DHCP here or run on Linux", name, runtime.GOOS)
	}
}
