package initiator

import (
	"fmt"
	"time"

	"github.com/bootlun/bootlun/iscsi"
)

// answer sends pings, their answers and what else the receiver wants sent, and leaves
// when the target asks for it.
func (l *link) answer() {
	var limit <-chan time.Time
	var drained <-chan struct{}
	var reason iscsi.LogoutReason
	leaving := false
	logout := func() {
		drained, leaving, limit = nil, true, time.After(l.s.cfg.Timeouts.Logout)
		l.sendLogout(reason) // an error ends the connection
	}
	for {
		select {
		case p := <-l.chores:
			l.send(p) // an error ends the connection
		case patience := <-l.leave:
			if l.leaving.Load() {
				continue // it leaves anyway
			}
			reason = l.retire()
			drained, limit = l.drained, time.After(patience)
		case <-drained:
			logout()
		case <-limit:
			if leaving {
				l.fail(errAsked)
				return
			}
			logout()
		case <-l.dead:
			return
		}
	}
}

// keep watches, from tick to tick, for a write that hangs, a target that is silent
// and what does not come though it was asked for. It never sends, so that it cannot hang itself.
func (l *link) keep() {
	every := time.Second
	if ping := l.s.cfg.Timeouts.Ping; ping > 0 {
		every = min(every, ping)
	}
	ticks := time.NewTicker(every)
	defer ticks.Stop()
	write := stalled{watch: &l.flush, what: "taken no data", limit: l.s.cfg.Timeouts.Send}
	read := stalled{watch: &l.leading, what: "not sent the rest of a PDU"}
	var ping silence
	var rest overdue
	var kept unconfirmed
	for {
		select {
		case <-l.dead:
			return
		case <-ticks.C:
		}
		err := write.check(every)
		if err == nil {
			err = read.check(every)
		}
		if err == nil {
			err = ping.check(l, every)
		}
		if err == nil {
			err = rest.check(l, every)
		}
		kept.check(l, every)
		if err != nil {
			l.fail(err)
			return
		}
	}
}

// stalled follows one write, or read of a call that leads, over several ticks.
type stalled struct {
	watch *watch
	what  string        // the target has not done
	limit time.Duration // 0 is none
	count uint64
	since time.Duration
}

// check fails if it has hung for too long, or hangs though its context has ended: a PDU
// half sent or received cannot be taken back.
func (w *stalled) check(tick time.Duration) error {
	ctx, count := w.watch.now()
	if ctx == nil || count != w.count {
		w.count, w.since = count, 0
		return nil
	}
	w.since += tick
	if ctx.Err() != nil || w.limit > 0 && w.since >= w.limit {
		return fmt.Errorf("the target has %s for %v", w.what, w.since)
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
func (p *silence) check(l *link, tick time.Duration) error {
	period := l.s.cfg.Timeouts.Ping
	if heard := l.heard.Load(); period <= 0 || heard != p.heard {
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
		l.chore(&iscsi.NOPOut{Immediate: true, ITT: pingTag, TTT: iscsi.ReservedTag})
	}
	return nil
}

// overdue follows what was asked for again.
type overdue struct {
	missing int32
	since   time.Duration
}

// check fails if none of it comes for too long.
func (o *overdue) check(l *link, tick time.Duration) error {
	if missing := l.missing.Load(); missing == 0 || missing != o.missing {
		*o = overdue{missing: missing}
		return nil
	}
	if o.since += tick; o.since >= l.s.cfg.Timeouts.Abort {
		return fmt.Errorf("the target has not sent again what was missing within %v", o.since)
	}
	return nil
}

// confirmAfter is how long the target waits for an answer's confirmation if nothing
// else is to be sent.
const confirmAfter = 2 * time.Second

// unconfirmed follows the answers that the target keeps until it knows that they have
// come: from error recovery level 1 on.
type unconfirmed struct {
	expStatSN uint32
	since     time.Duration
}

// check confirms by a NOP-Out that wants no answer (RFC 7143, 11.18).
func (u *unconfirmed) check(l *link, tick time.Duration) {
	sn := l.expStatSN.Load()
	if !l.s.strict() || sn == l.confirmed.Load() || sn != u.expStatSN {
		*u = unconfirmed{expStatSN: sn}
		return
	}
	if u.since += tick; u.since >= confirmAfter {
		*u = unconfirmed{expStatSN: sn}
		l.chore(&iscsi.NOPOut{Immediate: true, ITT: iscsi.ReservedTag, TTT: iscsi.ReservedTag})
	}
}
