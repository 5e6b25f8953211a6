package initiator

import "context"

// Queue keeps many reads and writes of a LUN in flight for one goroutine, which costs
// less than a goroutine for each. It is for requests that one command serves: whole
// blocks, at most a megabyte or what the device takes at once. Others it does one at
// a time, while nothing else is in flight, and so it does what has failed, again, by
// the rules of ReadAt and WriteAt. Requests overtake each other. Of several paths it
// uses one at a time. In the steady state it does not allocate.
//
// A Queue is one goroutine's. While requests are in flight that goroutine must come
// back to Next, which sends what the target asks for.
type Queue struct {
	l   *LUN
	ctx context.Context

	p        *path
	c        *call // nil while nothing is in flight
	requests []request
	free     []int // those not in use
	ready    []int // to be sent
	alone    []int // to be done one at a time
}

// request is a read or write.
type request struct {
	buf      []byte
	off      int64
	tag      int
	write    bool
	inFlight bool
}

// Completion is what became of a request: as ReadAt or WriteAt return it.
type Completion struct {
	Tag int // as given with the request
	N   int // bytes read or written
	Err error
}

// Queue returns an empty queue. When ctx ends, its requests fail. The caller must
// Close it.
func (l *LUN) Queue(ctx context.Context) *Queue { return &Queue{l: l, ctx: ctx} }

// Read asks for len(p) bytes at off, which the next call of Next sends. p is the
// queue's until Next returns the tag.
func (q *Queue) Read(p []byte, off int64, tag int) { q.add(request{buf: p, off: off, tag: tag}) }

// Write asks for p to be written at off, as Read does.
func (q *Queue) Write(p []byte, off int64, tag int) {
	q.add(request{buf: p, off: off, tag: tag, write: true})
}

func (q *Queue) add(r request) {
	if len(q.free) == 0 {
		q.free = append(q.free, len(q.requests))
		q.requests = append(q.requests, request{})
	}
	i := q.free[len(q.free)-1]
	q.free = q.free[:len(q.free)-1]
	q.requests[i] = r
	if q.l.oneCommand(&r) {
		q.ready = append(q.ready, i)
	} else {
		q.alone = append(q.alone, i)
	}
}

// oneCommand reports whether one command serves a request.
func (l *LUN) oneCommand(r *request) bool {
	return len(r.buf) > 0 && len(r.buf) <= l.maxTransfer && l.aligned(r.buf, r.off) &&
		r.off >= 0 && int64(len(r.buf)) <= l.Size()-r.off && !(r.write && l.protected)
}

// Len returns how many requests Next has not returned.
func (q *Queue) Len() int { return len(q.requests) - len(q.free) }

// Next sends what has been asked for, as far as the target takes it, waits for a
// request to be done, and returns that; false if there are none.
func (q *Queue) Next() (Completion, bool) {
	for q.Len() > 0 {
		if len(q.alone) == 0 {
			if err := q.send(); err != nil {
				q.giveUp(err)
			}
		}
		if q.c == nil {
			return q.doAlone(), true
		}
		t, err := q.c.wait()
		if err != nil {
			q.giveUp(err)
			continue
		}
		i := t.chunk
		err = t.outcome()
		q.c.release(t)
		q.requests[i].inFlight = false
		if q.c.flight == 0 {
			q.idle()
		}
		if err == nil {
			return q.done(i, len(q.requests[i].buf), nil), true
		}
		q.alone = append(q.alone, i)
	}
	return Completion{}, false
}

// send sends what is ready.
func (q *Queue) send() error {
	sent := 0
	defer func() { q.ready = q.ready[:copy(q.ready, q.ready[sent:])] }()
	for _, i := range q.ready {
		if q.c == nil {
			p, s, err := q.l.pick(q.ctx, q.l.paths)
			if err != nil {
				return err
			}
			q.p, q.c = p, s.begin(q.ctx)
		}
		r := &q.requests[i]
		cmd := q.l.transferCommand(q.p.id, r.write, uint64(r.off)/uint64(q.l.capacity.BlockLength), r.buf)
		ok, err := q.c.start(&cmd, i, q.c.flight == 0)
		if err != nil || !ok {
			return err
		}
		r.inFlight = true
		sent++
	}
	return nil
}

// giveUp ends what is in flight. All requests are then done one at a time: the way to
// the disk may be another one.
func (q *Queue) giveUp(err error) {
	if q.c != nil {
		q.c.giveUp(err)
		q.idle()
	}
	for i := range q.requests {
		if r := &q.requests[i]; r.inFlight {
			r.inFlight = false
			q.alone = append(q.alone, i)
		}
	}
	q.alone = append(q.alone, q.ready...)
	q.ready = q.ready[:0]
}

// idle takes leave of a path when nothing is in flight.
func (q *Queue) idle() {
	q.c.s.finish(q.c)
	q.c = nil
}

// doAlone does the first request that is not for a queue.
func (q *Queue) doAlone() Completion {
	i := q.alone[0]
	q.alone = q.alone[:copy(q.alone, q.alone[1:])]
	if q.ctx.Err() != nil {
		return q.done(i, 0, context.Cause(q.ctx))
	}
	r := &q.requests[i]
	do := q.l.ReadAtContext
	if r.write {
		do = q.l.WriteAtContext
	}
	n, err := do(q.ctx, r.buf, r.off)
	return q.done(i, n, err)
}

func (q *Queue) done(i, n int, err error) Completion {
	r := &q.requests[i]
	r.buf = nil
	q.free = append(q.free, i)
	return Completion{r.tag, n, err}
}

// Close ends what is in flight: whether a write that Next has not returned has happened
// is not known.
func (q *Queue) Close() {
	q.giveUp(ErrClosed)
	q.requests, q.free, q.alone = nil, nil, nil // Len is 0
}
