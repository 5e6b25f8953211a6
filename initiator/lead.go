package initiator

import (
	"errors"
	"os"
	"runtime"
	"time"

	"github.com/bootlun/bootlun/iscsi"
)

// quiet is how long nothing must have been received before the receiver reads though
// no command is in flight.
const quiet = 4 * time.Millisecond

// receive takes what the target sends until the connection is gone, except where
// calls lead. It reads while commands are in flight, and when nothing has come for a
// while. Otherwise it leaves the connection to a call that has it to itself and reads
// its answers itself, which saves two changes of goroutine for each.
func (l *link) receive() {
	defer close(l.received)
	ticks := time.NewTicker(quiet)
	defer ticks.Stop()
	for l.cause() == nil {
		l.reading <- struct{}{}
		l.told = false
		for l.step() && l.open.Load() > 0 {
			if l.told && l.leader.Load() != nil {
				break
			}
			l.gather()
		}
		l.stopReading()
		l.rest(ticks)
	}
	l.reading <- struct{}{} // nobody reads any more
}

// gather lets others run before the next read waits, so that more is sent, and has
// come, in one system call.
func (l *link) gather() {
	if l.conn.Buffered() == 0 {
		runtime.Gosched()
	}
}

// rest waits until the receiver is wanted.
func (l *link) rest(ticks *time.Ticker) {
	ticks.Reset(quiet)
	defer ticks.Stop()
	for heard := l.heard.Load(); ; {
		select {
		case <-l.wanted:
			return
		case <-l.dead:
			return
		case <-ticks.C:
		}
		now := l.heard.Load()
		if now == heard {
			return
		}
		heard = now
	}
}

// What came of trying to lead.
const (
	cannot = iota // others have commands in flight, or nothing comes soon
	later         // another reads; it wakes the call when it does so no more
	led           // something has come for the call, or the connection is gone
)

// lead reads what the target sends, in the receiver's place, until something has
// come for the call. If done can be closed, it gives up when nothing comes soon, and
// does not begin where no stream can tell.
func (c *call) lead(done <-chan struct{}) int {
	l := c.home
	if l == nil || c.mixed || int(l.open.Load()) > c.flight || done != nil && l.hasty == nil {
		return cannot
	}
	select {
	case <-done:
		return cannot
	default:
	}
	if !l.tryRead() {
		l.leader.Store(c)
		if !l.tryRead() {
			return later
		}
	}
	l.leader.Store(nil)
	if done != nil {
		l.leading.begin(c.ctx)
		defer l.leading.end()
	}
	outcome := led
	for more := c.idle(); more; {
		if done != nil && !l.soon() {
			outcome = cannot
			break
		}
		if !l.step() {
			break
		}
		if c.flight > 1 {
			l.gather()
		}
		// What has come already is taken before more is sent, but not so much
		// that the target has nothing to do meanwhile.
		more = c.idle() || l.conn.Buffered() >= iscsi.BHSLength && int(l.open.Load()) > c.flight/2
	}
	l.stopReading()
	if int(l.open.Load()) > c.flight {
		l.want()
	}
	return outcome
}

// hasty is a stream whose reads can be made to give up when nothing comes within a
// moment.
type hasty interface {
	detach() error
	// hurry is for who reads. The error is then os.ErrDeadlineExceeded.
	hurry(bool)
}

// soon reports whether a PDU, or an error, comes soon. reading is held.
func (l *link) soon() bool {
	if l.conn.Buffered() >= iscsi.BHSLength {
		return true
	}
	l.hasty.hurry(true)
	defer l.hasty.hurry(false)
	return !errors.Is(l.conn.AwaitHeader(), os.ErrDeadlineExceeded)
}

// tryRead takes reading if nobody has it.
func (l *link) tryRead() bool {
	select {
	case l.reading <- struct{}{}:
		return true
	default:
		return false
	}
}

// stopReading lets go of reading, and wakes who would lead.
func (l *link) stopReading() {
	<-l.reading
	if c := l.leader.Swap(nil); c != nil {
		signal(c.wake)
	}
}

// want has the receiver read.
func (l *link) want() { signal(l.wanted) }

// idle reports whether nothing is posted for the call.
func (c *call) idle() bool {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	return c.head == nil
}
