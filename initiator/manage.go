package initiator

import (
	"errors"
	"fmt"
	"time"

	"github.com/bootlun/bootlun/iscsi"
)

var (
	errAborted   = errors.New("the command was aborted")
	errDropped   = errors.New("the target drops it")
	errAsked     = errors.New("the target asked for a logout")
	errLoggedOut = errors.New("logged out")
	errHungUp    = errors.New("the target closed it")
)

// maxChores is how many pings may wait to be sent; more are dropped.
const maxChores = 16

// nopIn notes a ping of the target, to be answered, or the answer to ours.
func (s *nexus) nopIn(b *iscsi.BHS) error {
	var in iscsi.NOPIn
	if err := in.Decode(b); err != nil {
		return err
	}
	s.numbers(b, in.ITT != iscsi.ReservedTag)
	if in.ITT == iscsi.ReservedTag && in.TTT != iscsi.ReservedTag {
		s.chore(iscsi.NOPOut{Immediate: true, LUN: in.LUN, ITT: iscsi.ReservedTag, TTT: in.TTT})
	}
	return nil
}

// chore leaves a NOP-Out to the answerer: the receiver must not wait for room to
// send.
func (s *nexus) chore(nop iscsi.NOPOut) {
	select {
	case s.chores <- nop:
	default:
		s.cfg.Logger.Debug("too many pings at once", "target", s.cfg.Target)
	}
}

// taskResponse notes that a command was aborted.
func (s *nexus) taskResponse(b *iscsi.BHS) error {
	var r iscsi.TaskManagementResponse
	if err := r.Decode(b); err != nil {
		return err
	}
	s.numbers(b, true)
	if r.ITT&tagAbort == 0 {
		return protocolErrorf("a task management response for tag 0x%08x, which no request has", r.ITT)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.find(r.ITT &^ tagAbort)
	switch {
	case t == nil: // it was done before
	case r.Response == iscsi.TaskFunctionComplete, r.Response == iscsi.TaskDoesNotExist:
		t.err = errAborted
		s.conclude(t)
	default: // the command goes on, as long as its call's patience lasts
		s.cfg.Logger.Warn("target does not abort a command", "target", s.cfg.Target, "response", r.Response)
	}
	return nil
}

// logoutResponse ends the session with errLoggedOut.
func (s *nexus) logoutResponse(b *iscsi.BHS) error {
	var r iscsi.LogoutResponse
	if err := r.Decode(b); err != nil {
		return err
	}
	if s.refused() == nil {
		return protocolErrorf("a logout response without a request")
	}
	s.patience.Store(int64(r.Time2Wait) + 1)
	s.loggedOut <- r.Response // there is room, and this comes once
	return errLoggedOut
}

// async takes a message of the target's own accord (RFC 7143, 11.9).
func (s *nexus) async(b *iscsi.BHS) error {
	var m iscsi.AsyncMessage
	if err := m.Decode(b); err != nil {
		return err
	}
	s.numbers(b, true)
	s.cfg.Logger.Info("message from the target", "target", s.cfg.Target, "event", m.Event)
	switch m.Event {
	case iscsi.AsyncLogout:
		select {
		case s.leave <- time.Duration(m.Param3) * time.Second:
		default:
		}
	case iscsi.AsyncDropConnection, iscsi.AsyncDropAllConnections:
		s.patience.Store(int64(m.Param2) + 1)
		return errDropped
	case iscsi.AsyncTasksTerminated:
		return fmt.Errorf("the target terminates the tasks of LUN %v", m.LUN)
	case iscsi.AsyncNegotiate:
		return errors.New("the target wants to negotiate again, which is not supported")
	}
	return nil
}

// reject fails the command that the target refused.
func (s *nexus) reject(b *iscsi.BHS) error {
	var r iscsi.Reject
	if err := r.Decode(b); err != nil {
		return err
	}
	data := make([]byte, min(s.conn.DataLeft(), iscsi.BHSLength))
	if err := s.conn.ReadData(data); err != nil {
		return err
	}
	s.numbers(b, true)
	refused, err := iscsi.RejectedHeader(data)
	if err != nil {
		return protocolErrorf("a Reject (%v) without a header in it: %w", r.Reason, err)
	}
	rejected := &RejectError{Reason: r.Reason, Opcode: refused.Opcode()}
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.find(refused.ITT() &^ tagAbort)
	switch refused.Opcode() {
	case iscsi.OpSCSICommand:
		if t != nil {
			t.err = rejected
			s.conclude(t)
		}
	case iscsi.OpTaskManagementRequest, iscsi.OpNOPOut:
		s.cfg.Logger.Warn("request refused", "target", s.cfg.Target, "err", rejected)
	default: // data that does not arrive leaves the command hanging
		return rejected
	}
	return nil
}
