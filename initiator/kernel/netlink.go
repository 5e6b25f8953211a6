//go:build linux && !386

package kernel

import (
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// link carries netlink messages to the kernel and back. The kernel works on a message while Send runs.
type link interface {
	Send(message) error
	// Receive gives what one read gave: one message or more.
	Receive(buf []byte) (int, error)
	SetReadDeadline(time.Time) error
	Close() error
}

// netlinkSocket is the real link. An *os.File over the socket brings deadlines without a library.
type netlinkSocket struct{ *os.File }

func openNetlink() (link, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, netlinkISCSI)
	if err != nil {
		return nil, fmt.Errorf("open a NETLINK_ISCSI socket: %w", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: multicastGroup}); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("bind a NETLINK_ISCSI socket: %w", err)
	}
	return netlinkSocket{os.NewFile(uintptr(fd), "NETLINK_ISCSI")}, nil
}

// Send writes one message to the kernel.
func (s netlinkSocket) Send(m message) error {
	_, err := s.Write(m)
	return err
}

// Receive reads one datagram.
func (s netlinkSocket) Receive(buf []byte) (int, error) { return s.Read(buf) }
