package initiator

import (
	"fmt"
	"time"

	"github.com/bootlun/bootlun/iscsi"
)

// answer sends pings and their answers, and leaves when the target asks for it.
func (s *nexus) answer() {
	var limit <-chan time.Time
	var idle <-chan *task // while winding up: the tasks not in use
	busy, leaving := cap(s.free), false
	logout := func() {
		idle, leaving, limit = nil, true, time.After(s.cfg.Timeouts.Logout)
		s.sendLogout() // an error ends the session
	}
	for {
		select {
		case nop := <-s.chores:
			s.send(&nop) // an error ends the session
		case patience := <-s.leave:
			s.refuseMore(fmt.Errorf("%w: %w", ErrConnectionLost, errAsked))
			idle, limit = s.free, time.After(patience)
		case <-idle:
			if busy--; busy == 0 {
				logout()
			}
		case <-limit:
			if leaving {
				s.fail(errAsked)
				return
			}
			logout()
		case <-s.dead:
			return
		}
	}
}

// refuseMore lets no more commands start.
func (s *nexus) refuseMore(why error) {
	s.mu.Lock()
	if s.refuse == nil {
		s.refuse = why
		s.ending.Store(true)
	}
	s.mu.Unlock()
}

// refused returns why no more commands are taken, or nil.
func (s *nexus) refused() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.refuse
}

// keep watches, from tick to tick, for a write that hangs and a target that is
// silent. It never sends, so that it cannot hang itself.
func (s *nexus) keep() {
	every := time.Second
	if ping := s.cfg.Timeouts.Ping; ping > 0 {
		every = min(every, ping)
	}
	ticks := time.NewTicker(every)
	defer ticks.Stop()
	var write stalled
	var ping silence
	for {
		select {
		case <-s.dead:
			return
		case <-ticks.C:
		}
		err := write.check(s, every)
		if err == nil {
			err = ping.check(s, every)
		}
		if err != nil {
			s.fail(err)
			return
		}
	}
}

// stalled follows one write over several ticks.
type stalled struct {
	write uint64
	since time.Duration
}

// check fails if a write has hung for too long, or hangs though its context has
// ended: a PDU half sent cannot be taken back.
func (w *stalled) check(s *nexus, tick time.Duration) error {
	ctx, write := s.flush.now()
	if ctx == nil || write != w.write {
		w.write, w.since = write, 0
		return nil
	}
	w.since += tick
	if ctx.Err() != nil || w.since >= s.cfg.Timeouts.Send {
		return fmt.Errorf("the target has taken no data for %v", w.since)
	}
	return nil
}

// silence follows the pings.
type silence struct {
	heard  uint32
	since  time.Duration
	pinged bool
}

// check pings the target after a period of silence and fails after another.
func (p *silence) check(s *nexus, tick time.Duration) error {
	period := s.cfg.Timeouts.Ping
	if heard := s.heard.Load(); period <= 0 || heard != p.heard {
		*p = silence{heard: heard}
		return nil
	}
	p.since += tick
	switch {
	case p.since < period:
	case p.pinged:
		return fmt.Errorf("the target is silent and has not answered a ping within %v", period)
	default:
		p.since, p.pinged = 0, true
		s.chore(iscsi.NOPOut{Immediate: true, ITT: pingTag, TTT: iscsi.ReservedTag})
	}
	return nil
}
