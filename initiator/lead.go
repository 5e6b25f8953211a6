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
		yields := false
		for !yields && l.step() && l.open.Load() > 0 {
			l.gather()
			yields = l.told && l.leader.Swap(false)
		}
		<-l.reading
		l.rest(ticks, yields)
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

// rest waits until the receiver is wanted. yields says that it has left the
// connection to a call that leads.
func (l *link) rest(ticks *time.Ticker, yields bool) {
	l.resting.Store(true)
	defer l.resting.Store(false)
	if !yields && l.open.Load() > 0 && l.tryRead() { // a call came too late to lead
		<-l.reading
		return
	}
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

// lead reads what the target sends, in the receiver's place, until something has
// come for the call, and reports whether it has done so: not if another reads or has
// commands in flight. If done can be closed, it gives up when nothing comes soon, and
// does not begin where no stream can tell.
func (c *call) lead(done <-chan struct{}) bool {
	l := c.home
	if l == nil || c.mixed || int(l.open.Load()) > c.flight || done != nil && l.hasty == nil {
		return false
	}
	select {
	case <-done:
		return false
	default:
	}
	if !l.tryRead() {
		l.leader.Store(true)
		return false
	}
	if done != nil {
		l.leading.begin(c.ctx)
		defer l.leading.end()
	}
	l.told = false
	led := true
	for more := c.idle(); more; {
		if led = done == nil || l.soon(); !led || !l.step() {
			break
		}
		if c.flight > 1 {
			l.gather()
		}
		// What has come already is taken before more is sent, but not so much
		// that the target has nothing to do meanwhile.
		more = c.idle() || l.conn.Buffered() >= iscsi.BHSLength && int(l.open.Load()) > c.flight/2
	}
	<-l.reading
	if int(l.open.Load()) > c.flight {
		l.want()
	}
	return led
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

// want wakes the receiver if it rests.
func (l *link) want() {
	if l.resting.Load() {
		signal(l.wanted)
	}
}

// idle reports whether nothing is posted for the call.
func (c *call) idle() bool {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	return c.head == nil
}
