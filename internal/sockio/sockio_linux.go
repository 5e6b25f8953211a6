package sockio

import (
	"net"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// maxBuffers is how much one system call takes (IOV_MAX).
const maxBuffers = 1024

// Sender writes to sockets, for one goroutine at a time. Its zero value is ready; it
// allocates nothing in steady state.
type Sender struct {
	iov []unix.Iovec
	msg unix.Msghdr
}

// Send writes what there is room for, and takes it off v. That v is not empty
// afterwards, without an error, means that the socket is full. Errors are of type
// syscall.Errno.
func (s *Sender) Send(fd int, v *net.Buffers) (written int64, err error) {
	for len(*v) > 0 {
		n, err := s.send(fd, *v)
		switch {
		case err == unix.EAGAIN:
			return written, nil
		case err == unix.EINTR:
			continue
		case err != nil:
			return written, err
		}
		written += int64(n)
		consume(v, n)
	}
	return written, nil
}

func (s *Sender) send(fd int, v net.Buffers) (int, error) {
	s.iov = s.iov[:0]
	for _, p := range v[:min(len(v), maxBuffers)] {
		if len(p) > 0 {
			e := unix.Iovec{Base: unsafe.SliceData(p)}
			e.SetLen(len(p))
			s.iov = append(s.iov, e)
		}
	}
	if len(s.iov) == 0 {
		return 0, nil
	}
	s.msg.Iov = &s.iov[0]
	s.msg.SetIovlen(len(s.iov))
	release()
	// It does not wait, and so need not be told to the runtime's scheduler.
	n, _, errno := unix.RawSyscall(unix.SYS_SENDMSG, uintptr(fd), uintptr(unsafe.Pointer(&s.msg)), unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
	clear(s.iov) // let go of the caller's data
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

// consume takes the first n bytes off v, and the empty buffers that follow.
func consume(v *net.Buffers, n int) {
	for len(*v) > 0 && n >= len((*v)[0]) {
		n -= len((*v)[0])
		(*v)[0] = nil
		*v = (*v)[1:]
	}
	if n > 0 {
		(*v)[0] = (*v)[0][n:]
	}
}

// Receive reads by recvfrom(2), whose flags it is given. Errors are of type
// syscall.Errno.
func Receive(fd int, p []byte, flags int) (int, error) {
	buf, size := unsafe.Pointer(unsafe.SliceData(p)), uintptr(len(p))
	var n uintptr
	var errno syscall.Errno
	if flags&unix.MSG_DONTWAIT != 0 { // need not be told to the runtime's scheduler
		n, _, errno = unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(buf), size, uintptr(flags), 0, 0)
	} else {
		n, _, errno = unix.Syscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(buf), size, uintptr(flags), 0, 0)
	}
	if errno != 0 {
		return 0, errno
	}
	acquire()
	return int(n), nil
}
