package netboot

import (
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// bindToDevice keeps a socket to the packets of one network device (socket(7), SO_BINDTODEVICE).
func bindToDevice(name string) func(network, address string, c syscall.RawConn) error {
	return func(_, _ string, c syscall.RawConn) error {
		var bindErr error
		err := c.Control(func(fd uintptr) {
			bindErr = os.NewSyscallError("setsockopt SO_BINDTODEVICE", unix.BindToDevice(int(fd), name))
		})
		if err == nil {
			err = bindErr
		}
		if err != nil {
			return fmt.Errorf("bind DHCP to interface %q: %w", name, err)
		}
		return nil
	}
}
