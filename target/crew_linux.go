package target

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// crew is a loop's workers, guarded by its mu. One of them at most naps, that is
// waits in epoll_wait. Others with nothing to do rest, and are called when there is
// something for two: who is woken for nothing takes a processor from somebody.
type crew struct {
	processors int
	workers    []*worker
	napping    bool
	blocked    int // that wait for something, perhaps, and do not count
	active     int // that do not rest
	resting    int
	called     int // that rest no more, and are to work
	leaving    int // that rest no more, and are to end
	unused     int // least that resting was since dismiss looked last
	rested     *sync.Cond
}

// worker is one of those who go on with links.
type worker struct {
	turns atomic.Uint64 // odd while it goes on with one
	left  atomic.Bool   // it has ended

	// Of overlook.
	seen uint64
	late bool // another one works in its place
}

// call has another worker work, if there may be more. The caller holds lp.mu.
func (lp *loop) call() {
	switch {
	case lp.active >= lp.processors+lp.blocked:
		return
	case lp.resting > 0:
		lp.resting--
		lp.unused = min(lp.unused, lp.resting)
		lp.called++
		lp.rested.Signal()
	default:
		w := new(worker)
		lp.crew.workers = append(lp.crew.workers, w)
		lp.running.Go(func() { lp.work(w) })
	}
	lp.active++
}

// mayNap reports whether the caller is to nap, else it is to rest.
func (lp *loop) mayNap() bool {
	lp.mu.Lock()
	defer lp.mu.Unlock()
	if lp.napping || lp.active > lp.processors+lp.blocked {
		return false
	}
	lp.napping = true
	return true
}

// rest waits until the caller is called, or, what rest reports then, is not needed
// any more: then it ends.
func (lp *loop) rest() bool {
	lp.mu.Lock()
	defer lp.mu.Unlock()
	lp.active--
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

// dismiss ends workers that nobody has called since it was called last.
func (lp *loop) dismiss() {
	lp.mu.Lock()
	defer lp.mu.Unlock()
	lp.resting -= lp.unused
	lp.leaving += lp.unused
	for range lp.unused {
		lp.rested.Signal()
	}
	lp.unused = lp.resting
}

// block says that the caller is about to wait, with a worker perhaps, and so that
// another one must be there for what comes. unblock is its end.
func (lp *loop) block() {
	lp.mu.Lock()
	defer lp.mu.Unlock()
	lp.blocked++
	switch {
	case !lp.napping:
		lp.call()
	case len(lp.ready) > 0:
		lp.nudge()
	}
}

func (lp *loop) unblock() {
	lp.mu.Lock()
	defer lp.mu.Unlock()
	lp.blocked--
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
		all := slices.Clone(lp.crew.workers)
		lp.mu.Unlock()
		for _, w := range all {
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
		lp.crew.workers = slices.DeleteFunc(lp.crew.workers, func(o *worker) bool { return o == w })
		lp.mu.Unlock()
	}
}
