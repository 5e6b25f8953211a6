package target

import (
	"context"

	"github.com/bootlun/bootlun/iscsi"
	"github.com/bootlun/bootlun/scsi"
)

// taskManagement carries out a task management function (RFC 7143, 11.5). The
// response is sent when the function has taken effect: no task that it aborts
// touches the medium afterwards. That may have to be waited for.
func (c *conn) taskManagement(r *request) error {
	var p iscsi.TaskManagementRequest
	if err := p.Decode(&r.bhs); err != nil {
		return err
	}
	s := c.sess
	if p.Function == iscsi.TaskReassign {
		c.taskReassign(&p)
		return nil
	}
	response, affected := c.manage(&p)
	resp := iscsi.TaskManagementResponse{ITT: p.ITT, Response: response}
	c.log.Info("task management", "function", p.Function.String(), "lun", p.LUN.String(), "response", response.String())
	after := func() {
		c.out.send(s, &resp, nil)
		if p.Function == iscsi.TargetColdReset && response == iscsi.TaskFunctionComplete {
			c.srv.dropSessions(s.target) // before the response is on its way: what comes after it finds no session
		}
	}
	if affected.gone() {
		after()
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	c.spawn(func() {
		affected.wait()
		after()
		c.push()
	})
	return nil
}

// manage begins a function and returns the response, which is due when the
// affected tasks have ended.
func (c *conn) manage(p *iscsi.TaskManagementRequest) (iscsi.TaskResponse, aborting) {
	s := c.sess
	var nx *nexus
	if number, ok := p.LUN.Number(); ok {
		nx = s.nexus(number)
	}
	switch p.Function {
	case iscsi.AbortTask:
		return s.abortTask(p)
	case iscsi.AbortTaskSet, iscsi.ClearTaskSet: // the same, as each nexus has a task set of its own
		if nx == nil {
			return iscsi.TaskLUNDoesNotExist, nil
		}
		return iscsi.TaskFunctionComplete, aborting{s.abortMatching(func(t *task) bool {
			return t.lun == p.LUN && t.before(p)
		})}
	case iscsi.LogicalUnitReset:
		if nx == nil {
			return iscsi.TaskLUNDoesNotExist, nil
		}
		return iscsi.TaskFunctionComplete, nx.u.abortAndReset(s, p, scsi.ASCDeviceReset)
	case iscsi.TargetWarmReset, iscsi.TargetColdReset:
		var all aborting
		for u := range s.target.units.Load().each() {
			all = append(all, u.abortAndReset(s, p, scsi.ASCBusReset)...)
		}
		return iscsi.TaskFunctionComplete, all
	}
	if p.Function >= iscsi.QueryTask && s.params.ProtocolLevel >= 2 {
		return c.query(p, nx)
	}
	return iscsi.TaskFunctionNotSupported, nil
}

// query begins one of the functions of RFC 7144. Those that ask something succeed
// for yes, and are complete for no (SAM-5, 7).
func (c *conn) query(p *iscsi.TaskManagementRequest, nx *nexus) (iscsi.TaskResponse, aborting) {
	s := c.sess
	switch {
	case p.Function == iscsi.ITNexusReset:
		a := s.abortMatching(func(t *task) bool { return t.before(p) })
		s.loseNexuses()
		return iscsi.TaskFunctionComplete, aborting{a}
	case p.Function > iscsi.QueryAsyncEvent:
		return iscsi.TaskFunctionNotSupported, nil
	case nx == nil:
		return iscsi.TaskLUNDoesNotExist, nil
	}
	yes := nx.attention.Load()
	if p.Function != iscsi.QueryAsyncEvent {
		yes = s.hasTask(func(t *task) bool {
			return t.lun == p.LUN && (p.Function == iscsi.QueryTaskSet || t.itt == p.ReferencedITT)
		})
	}
	if yes {
		return iscsi.TaskFunctionSucceeded, nil
	}
	return iscsi.TaskFunctionComplete, nil
}

// hasTask reports whether a task matches.
func (s *session) hasTask(match func(*task) bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.tasks {
		if match(t) {
			return true
		}
	}
	return false
}

// loseNexuses has the session's nexuses be as new.
func (s *session) loseNexuses() {
	for _, n := range *s.nexuses.Load() {
		n.u.mu.Lock()
		n.letGo()
		n.alert(scsi.ASCNexusLoss)
		n.u.mu.Unlock()
	}
}

// before reports whether the task's command was sent before a request of the
// session: later ones may have come already, by another connection.
func (t *task) before(p *iscsi.TaskManagementRequest) bool {
	return t.immediate || iscsi.SNLess(t.cmdSN, p.CmdSN)
}

// abortAndReset resets the unit for every session, as one of them asks for.
func (u *unit) abortAndReset(by *session, p *iscsi.TaskManagementRequest, asc scsi.ASC) aborting {
	var all aborting
	for _, n := range u.allNexuses() {
		all = append(all, n.s.abortMatching(func(t *task) bool { return t.nx == n && (n.s != by || t.before(p)) }))
	}
	u.reset(asc)
	return all
}

// abortTask aborts one task, or sees to it that a command which has not arrived
// is never carried out (RFC 7143, 11.5.1 and 11.6.1).
func (s *session) abortTask(p *iscsi.TaskManagementRequest) (iscsi.TaskResponse, aborting) {
	found := false
	a := s.abortMatching(func(t *task) bool {
		match := t.itt == p.ReferencedITT && t.lun == p.LUN
		found = found || match
		return match
	})
	if found {
		return iscsi.TaskFunctionComplete, aborting{a}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !p.Immediate && p.RefCmdSN == p.CmdSN || !iscsi.SNInWindow(p.RefCmdSN, s.expCmdSN, s.maxCmdSN) ||
		!iscsi.SNLess(p.RefCmdSN, p.CmdSN) {
		return iscsi.TaskDoesNotExist, nil
	}
	if r := s.kept[p.RefCmdSN]; r != nil {
		r.drop()
	}
	s.kept[p.RefCmdSN] = nil
	return iscsi.TaskFunctionComplete, nil
}

// dropSessions ends every session of a target.
func (s *Server) dropSessions(t *target) {
	for _, sess := range s.sessionsOf(t) {
		sess.drop(errColdReset)
	}
}

// aborted are tasks of a session that are being aborted.
type abortedTasks struct {
	s    *session
	refs []taskRef
}

// aborting is what a task management function waits for.
type aborting []abortedTasks

// gone reports whether nothing is left to wait for.
func (a aborting) gone() bool {
	for _, of := range a {
		of.s.mu.Lock()
		left := of.left()
		of.s.mu.Unlock()
		if left {
			return false
		}
	}
	return true
}

// wait returns when all the tasks have ended.
func (a aborting) wait() { _ = a.waitFor(context.Background()) }

// waitFor is wait, but gives up when ctx ends.
func (a aborting) waitFor(ctx context.Context) error {
	for _, of := range a {
		stop := context.AfterFunc(ctx, func() {
			of.s.mu.Lock()
			defer of.s.mu.Unlock()
			of.s.taskEnded.Broadcast()
		})
		of.s.mu.Lock()
		for of.left() && ctx.Err() == nil {
			of.s.taskEnded.Wait()
		}
		left := of.left()
		of.s.mu.Unlock()
		stop()
		if left {
			return context.Cause(ctx)
		}
	}
	return nil
}

// left reports whether one of the tasks has not ended. The caller holds s.mu.
func (of *abortedTasks) left() bool {
	for _, ref := range of.refs {
		if t := ref.t; of.s.tasks[ref.itt] == t && t.serial == ref.serial {
			return true
		}
	}
	return false
}

// abortMatching aborts the tasks that match and returns those that somebody
// still works on.
func (s *session) abortMatching(match func(*task) bool) abortedTasks {
	s.mu.Lock()
	defer s.mu.Unlock()
	return abortedTasks{s, s.abort(match)}
}

// abort is abortMatching for who holds s.mu.
func (s *session) abort(match func(*task) bool) []taskRef {
	var idle []*task
	var busy []taskRef
	for _, t := range s.tasks {
		if !match(t) {
			continue
		}
		t.aborted = true
		if t.deferred != nil {
			t.deferred = nil
			t.pins--
		}
		if t.pins == 0 {
			idle = append(idle, t)
		} else {
			busy = append(busy, taskRef{t, t.itt, t.serial})
		}
	}
	for _, t := range idle {
		s.end(t)
		t.free()
	}
	return busy
}

// abandon aborts all tasks of the connection and returns when they have ended.
func (c *conn) abandon() {
	aborting{c.sess.abortMatching(func(t *task) bool { return t.c == c })}.wait()
}
