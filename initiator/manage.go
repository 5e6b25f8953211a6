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

// maxChores is how many PDUs of the receiver may wait to be sent.
const maxChores = 256

// nopIn notes a ping of the target, to be answered, or the answer to ours.
func (l *link) nopIn(b *iscsi.BHS) error {
	var in iscsi.NOPIn
	if err := in.Decode(b); err != nil {
		return err
	}
	if err := l.numbers(b, in.ITT != iscsi.ReservedTag); err != nil {
		return err
	}
	switch {
	case in.ITT == pingTag && l.s.strict():
		l.retryCommand(in.ExpCmdSN)
	case in.ITT == iscsi.ReservedTag && in.TTT != iscsi.ReservedTag:
		if !l.chore(&iscsi.NOPOut{Immediate: true, LUN: in.LUN, ITT: iscsi.ReservedTag, TTT: in.TTT}) {
			l.s.cfg.Logger.Debug("too many pings at once", "target", l.s.cfg.Target)
		}
	}
	return nil
}

// retryCommand has the command sent again that the target waits for though it was
// sent by this link before a ping that the target has answered (RFC 7143, 7.1.4.1
// and 7.2.1).
func (l *link) retryCommand(expCmdSN uint32) {
	s := l.s
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.tasks {
		t := &s.tasks[i]
		if t.call != nil && !t.done && t.link == l && t.cmdSN == expCmdSN && iscsi.SNLess(t.cmdSN, l.pinged.Load()) {
			t.due = resend
			s.post(t)
		}
	}
}

// chore leaves a PDU to the answerer: the receiver must not wait for room to send. It
// reports false if there are too many.
func (l *link) chore(p iscsi.PDU) bool {
	select {
	case l.chores <- p:
		return true
	default:
		return false
	}
}

// taskResponse notes that a command was aborted, or given to this link.
func (l *link) taskResponse(b *iscsi.BHS) error {
	s := l.s
	var r iscsi.TaskManagementResponse
	if err := r.Decode(b); err != nil {
		return err
	}
	if err := l.numbers(b, true); err != nil {
		return err
	}
	if r.ITT&tagManagement == 0 {
		return protocolErrorf("a task management response for tag 0x%08x, which no request has", r.ITT)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	t := l.find(r.ITT &^ tagManagement)
	switch {
	case t == nil: // it was done before
	case r.ITT&tagReassign != 0:
		l.reassigned(t, &r)
	case r.Response == iscsi.TaskFunctionComplete, r.Response == iscsi.TaskDoesNotExist:
		t.err = errAborted
		s.conclude(t)
	default: // the command goes on, as long as its call's patience lasts
		s.cfg.Logger.Warn("target does not abort a command", "target", s.cfg.Target, "response", r.Response)
	}
	return nil
}

// logoutResponse ends the session or the connection with errLoggedOut.
func (l *link) logoutResponse(b *iscsi.BHS) error {
	var r iscsi.LogoutResponse
	if err := r.Decode(b); err != nil {
		return err
	}
	switch l.goodbye.Load() {
	case 0:
		return protocolErrorf("a logout response without a request")
	case int32(iscsi.LogoutSession) + 1:
		l.s.patience.Store(int64(r.Time2Wait) + 1)
	default:
		l.wait.Store(int64(r.Time2Wait) + 1)
	}
	select {
	case l.loggedOut <- r.Response:
	default:
		return protocolErrorf("a second logout response")
	}
	return errLoggedOut
}

// async takes a message of the target's own accord (RFC 7143, 11.9).
func (l *link) async(b *iscsi.BHS) error {
	s := l.s
	var m iscsi.AsyncMessage
	if err := m.Decode(b); err != nil {
		return err
	}
	data := make([]byte, min(l.conn.DataLeft(), maxSense))
	if err := l.conn.ReadData(data); err != nil {
		return err
	}
	if err := l.numbers(b, true); err != nil {
		return err
	}
	s.cfg.Logger.Info("message from the target", "target", s.cfg.Target, "event", m.Event)
	switch m.Event {
	case iscsi.AsyncSCSI:
		s.scsiEvent(m.LUN, data)
	case iscsi.AsyncLogout:
		select {
		case l.leave <- time.Duration(m.Param3) * time.Second:
		default:
		}
	case iscsi.AsyncDropConnection:
		return l.dropped(&m)
	case iscsi.AsyncDropAllConnections:
		s.patience.Store(int64(m.Param2) + 1)
		s.fail(errDropped)
		return errDropped
	case iscsi.AsyncTasksTerminated:
		err := fmt.Errorf("the target terminates the tasks of LUN %v", m.LUN)
		s.fail(err)
		return err
	case iscsi.AsyncNegotiate:
		l.renegotiate()
	}
	return nil
}

// dropped gives the connection up that the target says it drops.
func (l *link) dropped(m *iscsi.AsyncMessage) error {
	links := l.s.connections()
	at := l
	if i := int(m.Param1); len(links) > 1 && i < len(links) {
		at = links[i]
	}
	at.wait.Store(int64(m.Param2) + 1)
	if !l.s.reassigns() {
		l.s.patience.Store(int64(m.Param2) + 1)
	}
	if at != l {
		at.fail(errDropped)
		return nil
	}
	return errDropped
}

// reject fails the command that the target refused, or has it sent again if it was
// damaged on its way.
func (l *link) reject(b *iscsi.BHS) error {
	s := l.s
	var r iscsi.Reject
	if err := r.Decode(b); err != nil {
		return err
	}
	data := make([]byte, min(l.conn.DataLeft(), iscsi.BHSLength))
	if err := l.conn.ReadData(data); err != nil {
		return err
	}
	if err := l.numbers(b, true); err != nil {
		return err
	}
	refused, err := iscsi.RejectedHeader(data)
	if err != nil {
		return protocolErrorf("a Reject (%v) without a header in it: %w", r.Reason, err)
	}
	rejected := &RejectError{Reason: r.Reason, Opcode: refused.Opcode()}
	damaged := s.strict() && r.Reason == iscsi.RejectDataDigest
	s.mu.Lock()
	defer s.mu.Unlock()
	t := l.find(refused.ITT() &^ tagManagement)
	switch refused.Opcode() {
	case iscsi.OpSCSICommand:
		switch {
		case t == nil:
		case damaged:
			t.due = resend
			s.post(t)
		default:
			t.err = rejected
			s.conclude(t)
		}
		return nil
	case iscsi.OpTextRequest:
		l.answerText(textPart{err: rejected})
	case iscsi.OpTaskManagementRequest, iscsi.OpNOPOut:
	case iscsi.OpSNACK:
		if r.Reason == iscsi.RejectInvalidDataACK { // its command's status has overtaken it
			return nil
		}
		return rejected
	default: // data that does not arrive leaves the command hanging
		if !damaged { // else the target asks for it
			return rejected
		}
	}
	s.cfg.Logger.Warn("request refused", "target", s.cfg.Target, "err", rejected)
	return nil
}
