package target

import (
	"slices"

	"github.com/bootlun/bootlun/iscsi"
)

// taskReassign gives a task of a connection that is over to this one (RFC 7143,
// 7.2.2 and 11.5.1). After the response it goes on from where the initiator has
// its data.
func (c *conn) taskReassign(p *iscsi.TaskManagementRequest) {
	s := c.sess
	s.mu.Lock()
	response, goOn := c.takeOver(p)
	spawned := goOn == nil || c.spawn(func() {
		c.out.send(s, &iscsi.TaskManagementResponse{ITT: p.ITT, Response: response}, nil)
		goOn()
		c.push()
	})
	s.nudge()
	conns := s.connections()
	s.mu.Unlock()
	if response == iscsi.TaskDoesNotExist && slices.ContainsFunc(conns, func(o *conn) bool { return o.out.answers(p.ReferencedITT) }) {
		response = iscsi.TaskStillAllegiant
	}
	c.log.Info("task management", "function", p.Function.String(), "lun", p.LUN.String(), "response", response.String())
	if goOn == nil && spawned {
		c.out.send(s, &iscsi.TaskManagementResponse{ITT: p.ITT, Response: response}, nil)
	}
}

// takeOver makes a task that nobody works on one of this connection, and returns
// what has it go on. The caller holds s.mu.
func (c *conn) takeOver(p *iscsi.TaskManagementRequest) (iscsi.TaskResponse, func()) {
	s := c.sess
	if c.erl < 2 {
		return iscsi.TaskReassignNotSupported, nil
	}
	if t := s.tasks[p.ReferencedITT]; t != nil && t.lun == p.LUN && !t.aborted {
		if c.gone || !slices.Contains(s.lingering, t.c) {
			return iscsi.TaskStillAllegiant, nil
		}
		t.moveTo(c, p.ExpDataSN)
		return iscsi.TaskFunctionComplete, t.goOn()
	}
	for _, old := range s.lingering {
		at := slices.IndexFunc(old.answered, func(t *task) bool { return t.itt == p.ReferencedITT && t.lun == p.LUN })
		if at < 0 || c.gone {
			continue
		}
		t := old.answered[at]
		old.answered = slices.Delete(old.answered, at, at+1)
		t.moveTo(c, p.ExpDataSN)
		return iscsi.TaskFunctionComplete, t.answerOver
	}
	return iscsi.TaskDoesNotExist, nil
}

// moveTo gives the task to another connection, whose initiator has the Data-In
// before a DataSN. The caller holds s.mu.
func (t *task) moveTo(c *conn, expDataSN uint32) {
	if expDataSN != 0 && !t.write { // 0: what is acknowledged is known; other values are ignored
		t.acknowledgeData(expDataSN)
	}
	t.c = c
}

// goOn returns what has a task go on that is under way: it asks for the data that
// has not come, does the step before which the task stands, or answers once more.
// The caller holds s.mu.
func (t *task) goOn() func() {
	t.pins++
	var r2ts []iscsi.R2T
	for i := range t.out.bursts {
		b := &t.out.bursts[i]
		if b.ttt == iscsi.ReservedTag { // what has not come unasked will not
			b.r2tSN = t.out.r2tSN
			t.out.r2tSN++
		}
		r2ts = append(r2ts, t.askAgain(b))
	}
	var step func()
	if !t.dormant {
		step, t.deferred = t.deferred, nil
	}
	return func() {
		for _, r2t := range r2ts {
			t.c.out.sendR2T(t.s, r2t)
		}
		switch {
		case step != nil:
			t.rewind()
			step() // which has a pin
		case t.write:
			t.sendR2Ts()
		default:
			t.sendOver()
		}
		t.unpin()
	}
}

// sendOver is sendAgain, without which the connection is of no use.
func (t *task) sendOver() {
	if err := t.sendAgain(); err != nil {
		t.c.close(err)
	}
}

// answerOver answers a task once more whose response was not acknowledged.
func (t *task) answerOver() {
	t.sendOver()
	w := &t.c.out
	w.mu.Lock()
	exp, max := t.s.window()
	t.queueStatus(w, exp, max)
	kept := w.keepTask(t)
	w.mu.Unlock()
	if !kept {
		t.free()
	}
}
