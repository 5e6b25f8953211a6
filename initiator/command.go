package initiator

import (
	"context"
	"fmt"
	"math"

	"github.com/bootlun/bootlun/iscsi"
	"github.com/bootlun/bootlun/scsi"
)

// Command is a SCSI command.
type Command struct {
	LUN iscsi.LUN
	CDB scsi.CDB
	// In receives what the command reads, Out is what it writes; their lengths are
	// what the target is told to expect. At most one of them is not empty.
	In, Out []byte
}

// Result is a command's outcome.
type Result struct {
	Status scsi.Status
	// Sense is the sense data as the target sent it, empty if it sent none.
	Sense []byte
	// Residual is the bytes of In or Out that were not transferred, which are its
	// last. Negative, it is the bytes that the command had to transfer beyond the
	// buffer's end.
	Residual int
}

// Err returns nil for a command that succeeded, else an *scsi.Error.
func (r *Result) Err() error { return scsi.ResultError(r.Status, r.Sense) }

// execute runs a command; sent says that the target may know of it.
func (s *nexus) execute(ctx context.Context, cmd *Command) (r Result, sent bool, err error) {
	c := s.begin(ctx)
	defer s.finish(c)
	return c.execute(cmd)
}

func (c *call) execute(cmd *Command) (r Result, sent bool, err error) {
	if sent, err = c.start(cmd, 0, true); err != nil {
		return Result{}, sent, err
	}
	t, err := c.wait()
	if err != nil {
		return Result{}, true, c.giveUp(err)
	}
	r = Result{Status: t.status, Residual: t.residual}
	if len(t.sense) > 0 {
		r.Sense = append(r.Sense, t.sense...)
	}
	err = t.err
	c.release(t)
	return r, true, err
}

// start sends a command. With block it waits for its turn, and must not have other
// commands in flight: the data that these want is not sent meanwhile. Without, it
// returns false if the command cannot be sent at once. What it wrote goes out with
// the next wait at the latest. ok with an error says that some of the command may
// have been sent. chunk comes back in the task.
func (c *call) start(cmd *Command, chunk int, block bool) (ok bool, err error) {
	if err := checkBuffers(cmd); err != nil {
		return false, err
	}
	t, err := c.claim(block)
	if t == nil {
		return false, err
	}
	s := c.s
	t.lun, t.cdb, t.in, t.out, t.chunk = cmd.LUN, cmd.CDB, cmd.In, cmd.Out, chunk
	l, err := c.assign(t, block)
	if l == nil {
		<-s.turn
		s.release(t)
		return false, err
	}
	c.sentBy(l)
	err = l.writeCommand(t)
	l.wmu.Unlock()
	<-s.turn
	if err != nil {
		l.fail(err)
		if cause := s.cause(); cause != nil {
			return true, c.giveUp(cause)
		} // else another link takes the command over
	}
	return true, nil
}

// assign gives a task to the call and to a link, whose wmu it takes. Without block
// it may return none.
func (c *call) assign(t *task, block bool) (*link, error) {
	s := c.s
	for {
		l := s.lane()
		if l == nil {
			if err := s.refused(); err != nil || !block {
				return nil, err
			}
			if err := c.awaitOpen(); err != nil {
				return nil, err
			}
			continue
		}
		l.lockWriter()
		switch ok, err := s.enlist(t, c, l); {
		case ok:
			return l, nil
		case err != nil:
			l.flushFor(c.ctx) // others may leave that to who waits for wmu
			return nil, err
		}
		l.flushFor(c.ctx)
	}
}

// sentBy notes that a command goes by a link.
func (c *call) sentBy(l *link) {
	if c.flight == 0 {
		c.home, c.mixed = l, false
	}
	c.mixed = c.mixed || l != c.home
	c.flight++
	c.unsent |= 1 << l.cid
}

func checkBuffers(cmd *Command) error {
	if len(cmd.In) > 0 && len(cmd.Out) > 0 {
		return fmt.Errorf("a command with both In and Out is not supported")
	}
	if n := uint64(max(len(cmd.In), len(cmd.Out))); n > math.MaxUint32 {
		return fmt.Errorf("a buffer of %d bytes is too long for one command", n)
	}
	return nil
}

// claim returns a free task, with the turn to send and an open window; without
// block, nil if one of them is missing.
func (c *call) claim(block bool) (*task, error) {
	s := c.s
	if !block {
		return s.tryClaim(), nil
	}
	var t *task
	select {
	case t = <-s.free:
	case <-c.ctx.Done():
		return nil, context.Cause(c.ctx)
	case <-s.dead:
		return nil, s.cause()
	}
	err := c.await(s.turn)
	if err == nil {
		if err = c.awaitWindow(); err == nil {
			return t, nil
		}
		<-s.turn
	}
	s.free <- t
	return nil, err
}

// tryClaim is claim without waiting.
func (s *nexus) tryClaim() *task {
	select {
	case s.turn <- struct{}{}:
	default:
		return nil
	}
	if s.windowOpen() {
		select {
		case t := <-s.free:
			return t
		default:
		}
	}
	<-s.turn
	return nil
}

// await takes the turn.
func (c *call) await(turn chan<- struct{}) error {
	select {
	case turn <- struct{}{}:
		return nil
	case <-c.ctx.Done():
		return context.Cause(c.ctx)
	case <-c.s.dead:
		return c.s.cause()
	}
}

// awaitWindow waits, with the turn, until the target takes another command.
func (c *call) awaitWindow() error {
	for !c.s.windowOpen() {
		if err := c.awaitOpen(); err != nil {
			return err
		}
	}
	return nil
}

// awaitOpen waits, with the turn, for the window or a link to open.
func (c *call) awaitOpen() error {
	select {
	case <-c.s.opened:
		return nil
	case <-c.ctx.Done():
		return context.Cause(c.ctx)
	case <-c.s.dead:
		return c.s.cause()
	}
}

func (s *nexus) windowOpen() bool {
	return !iscsi.SNLess(s.maxCmdSN.Load(), s.nextCmdSN.Load())
}
