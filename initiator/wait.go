package initiator

import (
	"context"
	"fmt"
	"runtime"
	"time"

	"github.com/bootlun/bootlun/iscsi"
)

// wait returns the next of the call's commands that is done, which the caller then
// releases. Meanwhile it sends the data that the target asks for. After an error
// the call must giveUp.
func (c *call) wait() (*task, error) {
	t, err := c.poll(c.ctx.Done(), nil)
	if t == nil && err == nil {
		err = context.Cause(c.ctx)
	}
	return t, err
}

// poll is wait until done or expired, when it returns nil without an error.
func (c *call) poll(done <-chan struct{}, expired <-chan time.Time) (*task, error) {
	for {
		t, e := c.take()
		switch {
		case e.done:
			return t, nil
		case t != nil:
			if err := c.serve(t, e); err != nil {
				return nil, err
			}
			continue
		}
		if err := c.send(); err != nil {
			return nil, err
		}
		how := cannot
		if expired == nil {
			how = c.lead(done)
		}
		switch how {
		case led:
			if err := c.s.cause(); err != nil && !c.pending() {
				return nil, err
			}
			continue
		case cannot:
			for _, l := range c.s.connections() {
				l.want()
			}
		}
		select {
		case <-c.wake:
		case <-done:
			return nil, nil
		case <-expired:
			return nil, nil
		case <-c.s.dead:
			if c.pending() {
				continue // what came before the end still counts
			}
			return nil, c.s.cause()
		}
	}
}

// pending reports whether something was posted. Nothing is once the receivers have
// ended.
func (c *call) pending() bool {
	c.s.quiesce()
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	return c.head != nil
}

// serve queues what is due for a task: the data that the target asks for, or a
// request of ours.
func (c *call) serve(t *task, e job) error {
	l := e.link
	switch {
	case e.due == reassign:
		l.sendReassign(t) // an error is the link's end
		if c.abandon {
			l.sendAbort(t)
		}
		return c.s.cause()
	case c.abandon, e.due == nothing && e.ask.length == 0:
		return nil
	}
	l.lockWriter()
	var err error
	if e.due == resend {
		err = l.rewriteCommand(t)
	} else {
		err = l.writeData(t, e.ask)
	}
	l.wmu.Unlock()
	c.unsent |= 1 << l.cid
	if err != nil {
		l.fail(err)
		return c.s.cause()
	}
	return nil
}

// send flushes what the call has queued.
func (c *call) send() error {
	if c.unsent == 0 {
		return nil
	}
	if c.s.busy(c.flight) {
		// Others who are about to send something then share this system call.
		runtime.Gosched()
	}
	failed := false
	for _, l := range c.s.connections() {
		if c.unsent&(1<<l.cid) == 0 {
			continue
		}
		l.lockWriter()
		if err := l.flushWriter(c.ctx); err != nil {
			l.fail(err)
			failed = true
		}
	}
	c.unsent = 0
	if failed {
		return c.s.cause()
	}
	return nil
}

// busy reports whether others have commands in flight, beside so many of a call's.
func (s *nexus) busy(own int) bool { return len(s.free) < cap(s.free)-own }

// release makes a task that is done free.
func (c *call) release(t *task) {
	c.flight--
	c.s.release(t)
}

// giveUp ends all the call's commands, so that none of them touches its buffers or
// happens later, and returns cause. If the connection lives, cause is the
// context's.
func (c *call) giveUp(cause error) error {
	if c.flight > 0 && c.s.cause() == nil {
		c.abort()
	}
	if c.flight > 0 {
		c.reclaim()
	}
	return cause
}

// abort has the target abort the commands and waits until it has. If it does not,
// the connection is given up.
func (c *call) abort() {
	s := c.s
	c.abandon = true
	for i := range s.tasks {
		t := &s.tasks[i]
		if l := s.owns(t, c); l != nil && l.sendAbort(t) != nil && s.cause() != nil {
			return
		}
	}
	limit := time.NewTimer(s.cfg.Timeouts.Abort)
	defer limit.Stop()
	for c.flight > 0 {
		t, err := c.poll(nil, limit.C)
		if err != nil {
			return
		}
		if t == nil {
			s.fail(fmt.Errorf("the target does not abort a command within %v", s.cfg.Timeouts.Abort))
			return
		}
		c.release(t)
	}
}

// owns returns the link of a task that is in flight for a call, else nil.
func (s *nexus) owns(t *task, c *call) *link {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t.call == c && !t.done {
		return t.link
	}
	return nil
}

func (l *link) sendAbort(t *task) error {
	return l.send(&iscsi.TaskManagementRequest{
		Immediate: true, Function: iscsi.AbortTask, LUN: t.lun,
		ITT: t.tag | tagAbort, ReferencedITT: t.tag, RefCmdSN: t.cmdSN,
	})
}
