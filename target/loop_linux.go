package target

import (
	"encoding/binary"
	"fmt"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// loop goes on with the links that something has come for. Its workers learn that
// from epoll_wait, and then carry out the commands that have come and send their
// replies, without another thread or the scheduler of the Go runtime, whose own
// poller is slower (docs/performance.md).
//
// A link that has to wait for more than data, as for room to send, says so by
// block, and another worker takes the place of the one that waits with it. Who
// waits and does not say so is found by overlook.
type loop struct {
	epoll   int
	nudger  int            // an eventfd: each write to it wakes one worker
	running sync.WaitGroup // workers and overlook
	stopped atomic.Bool
	ended   chan struct{} // closed by stop

	mu    sync.Mutex
	links []*link // by seat
	free  []int32 // seats
	ready []*link // to go on with, in order
	crew
}

const (
	nudgerSeat = -1

	// eventBatch is how many links a worker takes up at a time: few, to leave
	// some for others.
	eventBatch = 4

	// scheduled is how often a worker passes through the runtime's scheduler. To
	// a goroutine that has not for 10 ms every system call is one too long.
	scheduled = 4 * time.Millisecond
)

// newLoop starts a loop.
func newLoop() (*loop, error) {
	lp := &loop{}
	lp.processors = runtime.GOMAXPROCS(0)
	lp.rested = sync.NewCond(&lp.mu)
	var err error
	if lp.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	if lp.nudger, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		unix.Close(lp.epoll)
		return nil, os.NewSyscallError("eventfd", err)
	}
	if err = lp.watch(lp.nudger, nudgerSeat, unix.EPOLLIN|unix.EPOLLET); err != nil {
		lp.closeFDs()
		return nil, err
	}
	lp.ended = make(chan struct{})
	lp.mu.Lock()
	lp.call()
	lp.mu.Unlock()
	lp.running.Go(lp.overlook)
	return lp, nil
}

func (lp *loop) closeFDs() {
	unix.Close(lp.epoll)
	unix.Close(lp.nudger)
}

// stop ends the workers, when all links have ended.
func (lp *loop) stop() {
	lp.stopped.Store(true)
	close(lp.ended)
	lp.nudge()
	lp.mu.Lock()
	lp.rested.Broadcast()
	lp.mu.Unlock()
	lp.running.Wait()
	lp.closeFDs()
}

// nudge wakes a worker that waits.
func (lp *loop) nudge() {
	var one [8]byte
	binary.NativeEndian.PutUint64(one[:], 1)
	_, _ = unix.Write(lp.nudger, one[:]) // cannot fail before 2^64 of them
}

func (lp *loop) watch(fd int, seat int32, events uint32) error {
	err := unix.EpollCtl(lp.epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: events, Fd: seat})
	return os.NewSyscallError("epoll_ctl", err)
}

// add has the loop watch a link. Events are told once, when they come about.
func (lp *loop) add(l *link) error {
	lp.mu.Lock()
	if n := len(lp.free); n > 0 {
		l.seat, lp.free = lp.free[n-1], lp.free[:n-1]
	} else {
		l.seat, lp.links = int32(len(lp.links)), append(lp.links, nil)
	}
	lp.links[l.seat] = l
	lp.mu.Unlock()
	return lp.watch(l.fd, l.seat, unix.EPOLLIN|unix.EPOLLOUT|unix.EPOLLRDHUP|unix.EPOLLET)
}

// remove forgets a link that is about to be closed. A worker that still has an
// event of it may take it for one of the seat's next link, which does no harm.
func (lp *loop) remove(l *link) {
	lp.mu.Lock()
	defer lp.mu.Unlock()
	lp.links[l.seat] = nil
	lp.free = append(lp.free, l.seat)
}

// work goes on with links until the loop stops.
func (lp *loop) work(w *worker) {
	var events [eventBatch]unix.EpollEvent
	var last time.Time
	for !lp.stopped.Load() {
		l, alone := lp.next()
		if l != nil {
			w.turns.Add(1)
			more := l.goOn()
			w.turns.Add(1)
			if more {
				lp.poll(events[:], 0)
				lp.later(l)
			}
			continue
		}
		if now := time.Now(); now.Sub(last) > scheduled {
			last = now
			runtime.Gosched()
		}
		if alone && lp.poll(events[:], 0) || lp.lookAgain(events[:]) {
			continue
		}
		if lp.mayNap() {
			lp.poll(events[:], -1)
		} else if !lp.rest() {
			break
		}
	}
	w.left.Store(true)
	if lp.stopped.Load() {
		lp.nudge() // the next one
	}
}

// looks is how often a worker looks again before it naps or rests. An answer to
// what it has just sent is often under way, and to be woken costs more than to
// look.
const looks = 4

// lookAgain lets other threads have the processor and takes up what has come,
// and reports whether something has.
func (lp *loop) lookAgain(events []unix.EpollEvent) bool {
	for range looks {
		_, _, _ = unix.RawSyscall(unix.SYS_SCHED_YIELD, 0, 0, 0) // cannot fail
		if lp.poll(events, 0) {
			return true
		}
	}
	return false
}

// next returns a link to go on with, nil if there is none, and whether the caller
// is the only one that works.
func (lp *loop) next() (l *link, alone bool) {
	lp.mu.Lock()
	defer lp.mu.Unlock()
	if len(lp.ready) > 0 {
		l = lp.ready[0]
		lp.ready = append(lp.ready[:0], lp.ready[1:]...)
	}
	return l, lp.active == 1
}

func (lp *loop) later(l *link) {
	lp.mu.Lock()
	defer lp.mu.Unlock()
	lp.ready = append(lp.ready, l)
}

// poll takes up what has come, for at most so many milliseconds, -1 is for ever,
// and reports whether something has.
func (lp *loop) poll(events []unix.EpollEvent, timeout int) bool {
	n, err := unix.EpollWait(lp.epoll, events, timeout)
	if err != nil && err != unix.EINTR {
		panic(fmt.Sprintf("target: epoll_wait: %v", err)) // the descriptor is wrong: not ours any more
	}
	lp.mu.Lock()
	defer lp.mu.Unlock()
	if timeout < 0 {
		lp.napping = false
	}
	for i := range max(n, 0) {
		if e := &events[i]; e.Fd != nudgerSeat {
			if l := lp.links[e.Fd]; l != nil && l.notice(e.Events) {
				lp.ready = append(lp.ready, l)
			}
		}
	}
	if len(lp.ready) > 1 {
		lp.call()
	}
	return n > 0
}
