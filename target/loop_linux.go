package target

import (
	"encoding/binary"
	"fmt"
	"os"
	"runtime"
	"slices"
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
	nudger  int // an eventfd: each write to it wakes one worker
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
	unused  int           // least that resting was since dismiss looked last
	leaving int           // workers that rest no more, and are to end
	rested  *sync.Cond
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
	left  atomic.Bool   // it has ended

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
		lp.dismiss()
		lp.mu.Lock()
		crew := slices.Clone(lp.crew)
		lp.mu.Unlock()
		for _, w := range crew {
			lp.check(w)
		}
	}
}

// check has another worker take the place of one that is late, until it is no
// more.
func (lp *loop) check(w *worker) {
	left, turns := w.left.Load(), w.turns.Load()
	late := turns%2 == 1 && turns == w.seen
	w.seen = turns
	switch {
	case late && !w.late:
		lp.block()
	case w.late && !late:
		lp.unblock()
	}
	w.late = late
	if left {
		lp.mu.Lock()
		lp.crew = slices.DeleteFunc(lp.crew, func(o *worker) bool { return o == w })
		lp.mu.Unlock()
	}
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
	lp.workers.Wait()
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
		lp.unused = min(lp.unused, lp.resting)
		lp.called++
		lp.active.Add(1)
		lp.rested.Signal()
	default:
		lp.active.Add(1)
		lp.hire()
	}
}

func (lp *loop) unblock() { lp.wanted.Add(-1) }

// rest has a worker wait that is one too many, and reports whether it is needed
// again: if not, it ends.
func (lp *loop) rest() bool {
	lp.mu.Lock()
	defer lp.mu.Unlock()
	if lp.active.Load() <= lp.wanted.Load() {
		return true
	}
	lp.active.Add(-1)
	lp.resting++
	for !lp.stopped.Load() {
		switch {
		case lp.called > 0:
			lp.called--
			return true
		case lp.leaving > 0:
			lp.leaving--
			return false
		}
		lp.rested.Wait()
	}
	return false
}

// dismiss ends workers that nobody has needed since it was called last, and has
// others rest that are too many.
func (lp *loop) dismiss() {
	lp.mu.Lock()
	lp.resting -= lp.unused
	lp.leaving += lp.unused
	for range lp.unused {
		lp.rested.Signal()
	}
	lp.unused = lp.resting
	lp.mu.Unlock()
	if lp.active.Load() > lp.wanted.Load() {
		lp.nudge()
	}
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
			if !lp.rest() {
				break
			}
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
	w.left.Store(true)
	if lp.stopped.Load() {
		lp.nudge() // the next one
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
		if e := &events[i]; e.Fd != nudgerSeat {
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
