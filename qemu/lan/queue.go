package lan

import "sync"

// queueLimit is how many bytes wait for one station before further frames are dropped: above what one TCP connection has
// in flight (see tcpWindow), so that a bulk transfer to a slow guest is held by its window, not by loss.
const queueLimit = 8 << 20

// queue holds the frames that wait for one station. Many push, one takes.
type queue struct {
	limit int

	mu      sync.Mutex
	ready   sync.Cond // Frames arrived, or the queue was closed.
	frames  []frame
	bytes   int
	dropped int
	closed  bool
}

func newQueue(limit int) *queue {
	q := &queue{limit: limit}
	q.ready.L = &q.mu
	return q
}

// push appends a frame and owns it from then on. Where the queue is full or closed, the frame is dropped.
func (q *queue) push(f frame) {
	n := f.Size()
	q.mu.Lock()
	if q.closed || q.bytes+n > q.limit {
		q.dropped++
		q.mu.Unlock()
		f.Release()
		return
	}
	q.frames = append(q.frames, f)
	q.bytes += n
	first := len(q.frames) == 1
	q.mu.Unlock()
	if first {
		q.ready.Signal()
	}
}

// take waits for frames and gives all there are to the caller, in return for the slice of the call before, emptied. It
// returns false when the queue is closed.
func (q *queue) take(old []frame) ([]frame, bool) {
	clear(old)
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.frames) == 0 && !q.closed {
		q.ready.Wait()
	}
	if q.closed {
		return nil, false
	}
	got := q.frames
	q.frames = old[:0]
	q.bytes = 0
	return got, true
}

// close ends the queue and releases what waits in it. It may be called twice.
func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	release(q.frames)
	q.frames = nil
	q.ready.Broadcast()
}

func (q *queue) drops() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.dropped
}

func release(frames []frame) {
	for _, f := range frames {
		f.Release()
	}
}
