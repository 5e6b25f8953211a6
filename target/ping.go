package target

import (
	"time"

	"github.com/bootlun/bootlun/iscsi"
)

// pinger finds initiators that are gone, by NOP-In. All of it but answered is
// watch's own, guarded by mu of the session.
type pinger struct {
	heard    uint64    // conn.heard when it was last looked at
	changed  time.Time // when it was last seen to change
	asked    time.Time // when the ping under way was sent; zero: none is
	answered bool      // the initiator has answered one, and so knows how to
	ttt      uint32    // of the ping under way
}

// watchPing pings a session that is idle and ends one that has stopped answering.
// Not every initiator answers: iPXE does not. Only those that once did must.
func (c *conn) watchPing(now time.Time) {
	interval := c.srv.config().NOPInterval
	if interval <= 0 {
		return
	}
	s, p := c.sess, &c.ping
	s.mu.Lock()
	defer s.mu.Unlock()
	if heard := c.heard.Load(); heard != p.heard || p.changed.IsZero() {
		p.heard, p.changed, p.asked = heard, now, time.Time{}
		return
	}
	if !p.asked.IsZero() {
		if p.answered && now.Sub(p.asked) > c.srv.config().StallTimeout {
			c.close(errNoAnswer)
		}
		return
	}
	if now.Sub(p.changed) < interval || c.busy() {
		return
	}
	p.asked = now
	if p.ttt++; p.ttt == iscsi.ReservedTag {
		p.ttt = 0
	}
	nop := iscsi.NOPIn{ITT: iscsi.ReservedTag, TTT: p.ttt}
	c.spawn(func() {
		c.out.sendUnnumbered(s, &nop)
		c.push()
	})
}

// busy reports whether the connection has tasks. The caller holds s.mu.
func (c *conn) busy() bool {
	for _, t := range c.sess.tasks {
		if t.c == c {
			return true
		}
	}
	return false
}

// pong notes the answer to a ping.
func (c *conn) pong() {
	c.sess.mu.Lock()
	defer c.sess.mu.Unlock()
	c.ping.answered = true
}

// nopOut answers a ping, or takes the answer to one (RFC 7143, 11.18).
func (c *conn) nopOut(r *request) error {
	var p iscsi.NOPOut
	if err := p.Decode(&r.bhs); err != nil {
		return err
	}
	if p.TTT != iscsi.ReservedTag {
		c.pong()
	}
	if p.ITT == iscsi.ReservedTag {
		return nil
	}
	data := r.bytes()
	data = data[:min(len(data), c.segment())]
	c.out.send(c.sess, &iscsi.NOPIn{LUN: p.LUN, ITT: p.ITT, TTT: iscsi.ReservedTag}, data)
	return nil
}
