package initiator

import (
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bootlun/bootlun/internal/sockio"
)

// socket is a TCP connection. Once it is detached, the Go runtime's poller, which
// wakes a thread for all that comes, does not know its socket. Who reads then waits
// for a moment in the system call: most answers come sooner than two changes of
// goroutine take. Longer waits are the poller's again, by an epoll instance of the
// socket's own that is armed for each of them.
//
// One goroutine may read while another writes, and any may Close.
type socket struct {
	*net.TCPConn // closed once the socket is detached; its addresses stay

	detached bool
	fd       int
	users    atomic.Int32 // who may use fd, with one more until Close
	closed   atomic.Bool

	patient bool // a read may keep its thread waiting for a moment
	drained bool // the last read took all that there was
	brief   bool // and reads give up after a moment
	sender  sockio.Sender

	in, out waiter
}

const (
	// moment is how long a read keeps its thread waiting.
	moment = 20 * time.Millisecond
	// wanted is the longest read that does not want all that it asks for: the
	// buffer of an iscsi.Conn.
	wanted = 16 << 10
)

// newStream returns what a connection is used through.
func newStream(nc net.Conn) net.Conn {
	if tc, ok := nc.(*net.TCPConn); ok {
		return &socket{TCPConn: tc}
	}
	return nc
}

// detach takes the socket from the runtime's poller: deadlines have no effect any
// more. After an error all is as before.
func (s *socket) detach() error {
	raw, err := s.SyscallConn()
	if err != nil {
		return err
	}
	fd := -1
	if cerr := raw.Control(func(old uintptr) { fd, err = unix.FcntlInt(old, unix.F_DUPFD_CLOEXEC, 0) }); cerr != nil {
		return cerr
	}
	if err != nil {
		return os.NewSyscallError("dup", err)
	}
	limit := unix.NsecToTimeval(int64(moment))
	err = errors.Join(s.in.open(fd, unix.EPOLLIN|unix.EPOLLRDHUP), s.out.open(fd, unix.EPOLLOUT),
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &limit))
	if err == nil {
		err = unix.SetNonblock(fd, false)
	}
	if err != nil {
		s.in.close()
		s.out.close()
		return errors.Join(err, unix.Close(fd))
	}
	s.TCPConn.Close() // the poller forgets it; the socket stays open
	s.fd, s.detached, s.patient = fd, true, runtime.GOMAXPROCS(0) > 1
	s.users.Store(1)
	return nil
}

// use keeps fd open until done is called; false says that it is closed.
func (s *socket) use() bool {
	for n := s.users.Load(); n > 0 && !s.closed.Load(); n = s.users.Load() {
		if s.users.CompareAndSwap(n, n+1) {
			return true
		}
	}
	return false
}

func (s *socket) done() {
	if s.users.Add(-1) == 0 {
		unix.Close(s.fd)
		s.in.close()
		s.out.close()
	}
}

// Close ends both directions: who reads or writes finds out.
func (s *socket) Close() error {
	if !s.detached {
		return s.TCPConn.Close()
	}
	if s.closed.Swap(true) {
		return net.ErrClosed
	}
	_ = unix.Shutdown(s.fd, unix.SHUT_RDWR) // fails if the peer was quicker
	s.done()
	return nil
}

// hurry has reads give up after a moment, or not any more.
func (s *socket) hurry(on bool) { s.brief = on }

// Read implements io.Reader. If brief is set and nothing comes in a moment, the error
// is os.ErrDeadlineExceeded.
func (s *socket) Read(p []byte) (int, error) {
	if !s.detached {
		return s.TCPConn.Read(p)
	}
	if !s.use() {
		return 0, net.ErrClosed
	}
	defer s.done()
	for waits := s.patient; ; {
		n, err := s.receive(p, waits && s.drained)
		switch {
		case err == unix.EINTR:
		case err == unix.EAGAIN && s.closed.Load():
			return 0, net.ErrClosed
		case err == unix.EAGAIN && waits && !s.drained:
			s.drained = true
		case err == unix.EAGAIN && s.brief:
			return 0, os.ErrDeadlineExceeded
		case err == unix.EAGAIN:
			if err := s.in.wait(); err != nil {
				return 0, err
			}
			waits = false
		case err != nil:
			return 0, s.fail("read", err)
		case n == 0 && len(p) > 0:
			return 0, io.EOF
		default:
			s.drained = n < len(p)
			return n, nil
		}
	}
}

// receive reads what there is. If it may wait, it does so for a moment.
func (s *socket) receive(p []byte, wait bool) (int, error) {
	flags := unix.MSG_DONTWAIT
	switch {
	case wait && len(p) > wanted:
		flags = unix.MSG_WAITALL
	case wait:
		flags = 0
	}
	return sockio.Receive(s.fd, p, flags)
}

func (s *socket) fail(op string, err error) error {
	return &net.OpError{Op: op, Net: "tcp", Source: s.LocalAddr(), Addr: s.RemoteAddr(), Err: os.NewSyscallError(op, err)}
}

// Write implements io.Writer.
func (s *socket) Write(p []byte) (written int, err error) {
	for v := (net.Buffers{p}); ; s.AwaitRoom() {
		n, err := s.TryWriteBuffers(&v)
		if written += int(n); err != nil || len(v) == 0 {
			return written, err
		}
	}
}

// TryWriteBuffers writes of several buffers what there is room for, and consumes
// that of v.
func (s *socket) TryWriteBuffers(v *net.Buffers) (written int64, err error) {
	if !s.detached {
		return v.WriteTo(s.TCPConn)
	}
	if !s.use() {
		return 0, net.ErrClosed
	}
	defer s.done()
	written, err = s.sender.Send(s.fd, v)
	if err != nil {
		err = s.fail("write", err)
	}
	return written, err
}

// AwaitRoom waits until TryWriteBuffers may write more, or fail.
func (s *socket) AwaitRoom() {
	if s.use() {
		_ = s.out.wait() // TryWriteBuffers says what is wrong
		s.done()
	}
}

// waiter has the runtime's poller wait for an event of a socket.
type waiter struct {
	socket, epoll int
	event         unix.EpollEvent
	file          *os.File // of epoll
	raw           syscall.RawConn
	look          func(uintptr) bool
	seen          [1]unix.EpollEvent
}

func (w *waiter) open(socket int, event uint32) (err error) {
	if w.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return os.NewSyscallError("epoll_create1", err)
	}
	_ = unix.SetNonblock(w.epoll, true) // which makes it one for the poller
	w.file = os.NewFile(uintptr(w.epoll), "epoll")
	if w.raw, err = w.file.SyscallConn(); err != nil {
		return err
	}
	w.socket, w.event.Events = socket, event|unix.EPOLLONESHOT
	w.look = func(uintptr) bool {
		n, err := unix.EpollWait(w.epoll, w.seen[:], 0)
		return n > 0 || err != nil && err != unix.EINTR
	}
	return os.NewSyscallError("epoll_ctl", unix.EpollCtl(w.epoll, unix.EPOLL_CTL_ADD, socket, &unix.EpollEvent{Events: unix.EPOLLONESHOT}))
}

// wait returns when the event has come, or the socket is shut down. One goroutine may
// wait at a time.
func (w *waiter) wait() error {
	if err := unix.EpollCtl(w.epoll, unix.EPOLL_CTL_MOD, w.socket, &w.event); err != nil {
		return os.NewSyscallError("epoll_ctl", err)
	}
	return w.raw.Read(w.look)
}

func (w *waiter) close() {
	if w.file != nil {
		w.file.Close()
	}
}
