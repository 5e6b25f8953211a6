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
		t, ask, finished := c.take()
		switch {
		case finished:
			return t, nil
		case t != nil:
			if err := c.serve(t, ask); err != nil {
				return nil, err
			}
			continue
		}
		if err := c.send(); err != nil {
			return nil, err
		}
		if done == nil && expired == nil && c.lead() {
			if err := c.s.cause(); err != nil && !c.pending() {
				return nil, err
			}
			continue
		}
		c.s.want()
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

// pending reports whether something was posted. Nothing is once the receiver has
// ended.
func (c *call) pending() bool {
	<-c.s.received
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	return c.head != nil
}

// serve queues the data that the target asks for.
func (c *call) serve(t *task, ask r2t) error {
	if c.abandon || ask.length == 0 {
		return nil
	}
	s := c.s
	s.lockWriter()
	err := s.writeData(t, ask)
	s.wmu.Unlock()
	c.unsent = true
	if err != nil {
		s.fail(err)
		return s.cause()
	}
	return nil
}

// send flushes what the call has queued.
func (c *call) send() error {
	if !c.unsent {
		return nil
	}
	c.unsent = false
	if c.s.busy() {
		// Others who are about to send something then share this system call.
		runtime.Gosched()
	}
	c.s.lockWriter()
	if err := c.s.flushWriter(c.ctx); err != nil {
		c.s.fail(err)
		return c.s.cause()
	}
	return nil
}

// busy reports whether more than one command is in flight.
func (s *nexus) busy() bool { return len(s.free) < cap(s.free)-1 }

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
		if s.owns(t, c) && s.sendAbort(t) != nil {
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

// owns reports whether a task is in flight for a call.
func (s *nexus) owns(t *task, c *call) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return t.call == c && !t.done
}

func (s *nexus) sendAbort(t *task) error {
	return s.send(&iscsi.TaskManagementRequest{
		Immediate: true, Function: iscsi.AbortTask, LUN: t.lun,
		ITT: t.tag | tagAbort, ReferencedITT: t.tag, RefCmdSN: t.cmdSN,
	})
}
