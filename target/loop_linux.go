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

// loop goes on with the links that something has come for. A worker for each
// processor waits in epoll_wait for that, and then carries out the commands that
// have come and sends their replies, without another thread or the scheduler of
// the Go runtime, whose own poller is slower (docs/performance.md).
//
// A link that has to wait for more than data, as for room to send, says so by
// block, and another worker takes the place of the one that waits with it. Who
// waits and does not say so is found by overlook.
type loop struct {
	epoll   int
	stopper int // an eventfd, readable once stop has been called
	workers sync.WaitGroup
	stopped atomic.Bool

	wanted atomic.Int32 // workers that there should be: one for each processor, and those blocked
	active atomic.Int32 // workers that there are, without those resting; changed under mu

	mu      sync.Mutex
	crew    []*worker
	ended   chan struct{} // closed by stop
	links   []*link       // by seat
	free    []int32       // seats
	ready   []*link       // to go on with, in order
	resting int           // workers too many
	called  int           // of whom so many are to work again
	rested  *sync.Cond
}

const (
	stopperSeat = -1

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
	lp.rested = sync.NewCond(&lp.mu)
	var err error
	if lp.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	if lp.stopper, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		unix.Close(lp.epoll)
		return nil, os.NewSyscallError("eventfd", err)
	}
	if err = lp.watch(lp.stopper, stopperSeat, unix.EPOLLIN); err != nil {
		lp.closeFDs()
		return nil, err
	}
	n := runtime.GOMAXPROCS(0)
	lp.wanted.Store(int32(n))
	lp.active.Store(int32(n))
	lp.ended = make(chan struct{})
	lp.mu.Lock()
	defer lp.mu.Unlock()
	for range n {
		lp.hire()
	}
	lp.workers.Go(lp.overlook)
	return lp, nil
}

// worker is one of those who go on with links.
type worker struct {
	turns atomic.Uint64 // odd while it goes on with one

	// Of overlook.
	seen uint64
	late bool // another one works in its place
}

// hire starts a worker. The caller holds lp.mu.
func (lp *loop) hire() {
	w := new(worker)
	lp.crew = append(lp.crew, w)
	lp.workers.Go(func() { lp.work(w) })
}

// lateTurn is how long a worker may take for a turn before another one works in
// its place.
const lateTurn = 100 * time.Millisecond

// overlook looks for workers that wait in a call that was not expected to, as into
// a store whose disk hangs.
func (lp *loop) overlook() {
	tick := time.NewTicker(lateTurn)
	defer tick.Stop()
	for {
		select {
		case <-lp.ended:
			return
		case <-tick.C:
		}
		lp.mu.Lock()
		crew := lp.crew
		lp.mu.Unlock()
		for _, w := range crew {
			turns := w.turns.Load()
			late := turns%2 == 1 && turns == w.seen
			w.seen = turns
			switch {
			case late && !w.late:
				lp.block()
			case w.late && !late:
				lp.unblock()
			}
			w.late = late
		}
	}
}

func (lp *loop) closeFDs() {
	unix.Close(lp.epoll)
	unix.Close(lp.stopper)
}

// stop ends the workers, when all links have ended.
func (lp *loop) stop() {
	lp.stopped.Store(true)
	close(lp.ended)
	one := binary.NativeEndian.AppendUint64(nil, 1)
	_, _ = unix.Write(lp.stopper, one) // cannot fail for the first
	lp.mu.Lock()
	lp.rested.Broadcast()
	lp.mu.Unlock()
	lp.workers.Wait()
	lp.closeFDs()
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

// block says that the caller is about to wait, with a worker perhaps, and so that
// there must be another one. unblock is its end.
func (lp *loop) block() {
	lp.wanted.Add(1)
	lp.mu.Lock()
	defer lp.mu.Unlock()
	switch {
	case lp.active.Load() >= lp.wanted.Load():
	case lp.resting > 0:
		lp.resting--
		lp.called++
		lp.active.Add(1)
		lp.rested.Signal()
	default:
		lp.active.Add(1)
		lp.hire()
	}
}

func (lp *loop) unblock() { lp.wanted.Add(-1) }

// rest has a worker wait that is one too many.
func (lp *loop) rest() {
	lp.mu.Lock()
	defer lp.mu.Unlock()
	if lp.active.Load() <= lp.wanted.Load() {
		return
	}
	lp.active.Add(-1)
	lp.resting++
	for lp.called == 0 && !lp.stopped.Load() {
		lp.rested.Wait()
	}
	lp.called--
}

// work goes on with links until the loop stops.
func (lp *loop) work(w *worker) {
	var events [eventBatch]unix.EpollEvent
	var last time.Time
	for !lp.stopped.Load() {
		if l := lp.next(); l != nil {
			w.turns.Add(1)
			more := l.goOn()
			w.turns.Add(1)
			if more {
				lp.poll(events[:], 0)
				lp.later(l)
			}
			continue
		}
		if lp.active.Load() > lp.wanted.Load() {
			lp.rest()
			continue
		}
		if now := time.Now(); now.Sub(last) > scheduled {
			last = now
			runtime.Gosched()
		}
		if lp.lookAgain(events[:]) {
			continue
		}
		lp.poll(events[:], -1)
	}
}

// looks is how often a worker looks again before it sleeps. An answer to what it
// has just sent is often under way, and to be woken costs more than to look.
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

// next returns a link to go on with, nil if there is none.
func (lp *loop) next() *link {
	lp.mu.Lock()
	defer lp.mu.Unlock()
	if len(lp.ready) == 0 {
		return nil
	}
	l := lp.ready[0]
	lp.ready = append(lp.ready[:0], lp.ready[1:]...)
	return l
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
	for i := range max(n, 0) {
		if e := &events[i]; e.Fd != stopperSeat {
			if l := lp.links[e.Fd]; l != nil && l.notice(e.Events) {
				lp.ready = append(lp.ready, l)
			}
		}
	}
	return n > 0
}

// notice takes note of events, and reports whether somebody is to go on with the
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
	return events&(unix.EPOLLIN|ends) != 0 && l.wake()
}
