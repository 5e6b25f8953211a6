package target

import (
	"io"
	"iter"
	"net"
	"os"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/bootlun/bootlun/internal/sockio"
)

// link is a TCP connection. Once it has joined a loop its socket is the loop's,
// not the Go runtime's, and what serves it is a coroutine: it gives way when
// there is nothing to read, and whoever of the loop's workers learns that
// something has come goes on with it.
type link struct {
	*net.TCPConn // closed once it has joined a loop; its addresses stay

	loop  *loop // nil: it has not joined one
	fd    int
	seat  int32
	state atomic.Int32
	next  func() (wish, bool)
	yield func(wish) bool

	full    atomic.Bool // it gives way for room
	drained bool        // the last read took all that there was
	hup     atomic.Bool // the end of the stream has come, or an error
	reads   int         // left before others have their turn

	writable chan struct{} // told when there is room to write again
	sender   sockio.Sender

	closing sync.Mutex
	closed  bool
}

// State of a link in a loop.
const (
	linkRuns   = iota // somebody goes on with it
	linkCalled        // the same, and something has come meanwhile
	linkWaits         // for something to come
	linkIsOver
)

// wish is what a coroutine gives way for.
type wish int

const (
	toRead  wish = iota // that something has come
	toWrite             // that there is room
	toPass              // others' turn
)

// maxReads is how often a link reads while others wait.
const maxReads = 8

// newLink returns a link over nc, or nil if that is no TCP connection.
func newLink(nc net.Conn) *link {
	if tc, ok := nc.(*net.TCPConn); ok {
		return &link{TCPConn: tc}
	}
	return nil
}

// join gives the connection to a loop, where f goes on with it. It returns an
// error without having called f if the system has no descriptor left.
func (l *link) join(lp *loop, f func()) error {
	raw, err := l.SyscallConn()
	if err != nil {
		return err
	}
	fd, err := -1, error(nil)
	if cerr := raw.Control(func(old uintptr) { fd, err = unix.FcntlInt(old, unix.F_DUPFD_CLOEXEC, 0) }); cerr != nil {
		return cerr
	}
	if err != nil {
		return os.NewSyscallError("dup", err)
	}
	l.TCPConn.Close() // the runtime's poller forgets it; the socket stays open
	l.closing.Lock()
	l.fd, l.loop, l.reads = fd, lp, maxReads
	l.closing.Unlock()
	l.writable = make(chan struct{}, 1)
	l.next, _ = iter.Pull(func(yield func(wish) bool) {
		l.yield = yield
		f()
	})
	if err := lp.add(l); err != nil {
		l.hup.Store(true)
		l.shut() // f finds the stream at its end
	}
	for l.goOn() {
	}
	return nil
}

// goOn goes on with a link that the caller has woken, and reports whether it has
// more to do.
func (l *link) goOn() bool {
	w, ok := l.next()
	switch {
	case !ok:
		l.state.Store(linkIsOver)
		return false
	case w != toPass && l.state.CompareAndSwap(linkRuns, linkWaits):
		return false
	}
	l.state.Store(linkRuns) // something has come meanwhile
	return true
}

// notice takes note of events, and reports whether the caller is to go on with the
// link.
func (l *link) notice(events uint32) bool {
	const ends = unix.EPOLLRDHUP | unix.EPOLLHUP | unix.EPOLLERR
	if events&ends != 0 {
		l.hup.Store(true)
	}
	if events&(unix.EPOLLOUT|ends) != 0 {
		select {
		case l.writable <- struct{}{}:
		default: // it has been told
		}
	}
	for {
		switch l.state.Load() {
		case linkWaits:
			due := uint32(unix.EPOLLIN)
			if l.full.Load() {
				due = unix.EPOLLOUT
			}
			if events&(due|ends) == 0 {
				return false
			}
			if l.state.CompareAndSwap(linkWaits, linkRuns) {
				return true
			}
		case linkRuns:
			if l.state.CompareAndSwap(linkRuns, linkCalled) {
				return false
			}
		default:
			return false
		}
	}
}

// pause gives way.
func (l *link) pause(w wish) {
	l.full.Store(w == toWrite)
	l.yield(w)
	l.drained, l.reads = false, maxReads
}

// Read implements [net.Conn]. It is the coroutine's alone.
func (l *link) Read(p []byte) (int, error) {
	if l.loop == nil {
		return l.TCPConn.Read(p)
	}
	for {
		// A read that was not filled has found the end of what there was:
		// the next would find nothing, unless it is the end of the stream.
		switch {
		case l.drained && !l.hup.Load():
			l.pause(toRead)
		case l.reads == 0:
			l.pause(toPass)
		}
		l.reads--
		n, err := sockio.Receive(l.fd, p, unix.MSG_DONTWAIT)
		switch {
		case err == unix.EINTR:
		case err == unix.EAGAIN:
			l.pause(toRead)
		case err != nil:
			return 0, l.fail("read", err)
		case n == 0 && len(p) > 0:
			return 0, io.EOF
		default:
			l.drained = n < len(p)
			return n, nil
		}
	}
}

func (l *link) fail(op string, err error) error {
	return &net.OpError{Op: op, Net: "tcp", Source: l.LocalAddr(), Addr: l.RemoteAddr(), Err: os.NewSyscallError(op, err)}
}

// Write implements [net.Conn].
func (l *link) Write(p []byte) (written int, err error) {
	for v := (net.Buffers{p}); ; l.AwaitRoom() {
		n, err := l.TryWriteBuffers(&v)
		if written += int(n); err != nil || len(v) == 0 {
			return written, err
		}
	}
}

// TryWriteBuffers writes of several buffers what there is room for, and consumes
// that of v. One goroutine may do so at a time.
func (l *link) TryWriteBuffers(v *net.Buffers) (written int64, err error) {
	if l.loop == nil {
		return v.WriteTo(l.TCPConn)
	}
	written, err = l.sender.Send(l.fd, v)
	if err != nil {
		err = l.fail("write", err)
	}
	return written, err
}

// AwaitRoom waits until there may be room for what TryWriteBuffers has left, and
// does so without keeping others from their turn. The coroutine does better to
// pause.
func (l *link) AwaitRoom() {
	l.loop.block()
	<-l.writable
	l.loop.unblock()
}

// block is for a coroutine that is about to wait for something else than data,
// and unblock for when it has.
func (l *link) block() {
	if l.loop != nil {
		l.loop.block()
	}
}

func (l *link) unblock() {
	if l.loop != nil {
		l.loop.unblock()
	}
}

// shut ends both directions: who reads or writes finds out.
func (l *link) shut() {
	l.closing.Lock()
	defer l.closing.Unlock()
	if l.loop == nil {
		l.TCPConn.Close()
	} else if !l.closed {
		_ = unix.Shutdown(l.fd, unix.SHUT_RDWR) // fails if the peer was quicker
	}
}

// Close implements [net.Conn]. Nobody may be reading or writing: before, there is
// shut.
func (l *link) Close() error {
	l.closing.Lock()
	defer l.closing.Unlock()
	if l.loop == nil {
		return l.TCPConn.Close()
	}
	if l.closed {
		return net.ErrClosed
	}
	l.closed = true
	l.loop.remove(l)
	return os.NewSyscallError("close", unix.Close(l.fd))
}
