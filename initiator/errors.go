package initiator

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"time"

	"github.com/bootlun/bootlun/iscsi"
)

var (
	// ErrClosed means that the session was used after Close, or closed under a
	// call.
	ErrClosed = errors.New("the session is closed")
	// ErrConnectionLost is in every error that comes from the loss of the
	// connection, for whatever reason. Without Recovery, log in again to go on.
	ErrConnectionLost = errors.New("the connection is lost")
	// ErrOutcomeUnknown means that the connection was lost while a command was
	// outstanding that must not be sent twice: whether it was executed is not
	// known.
	ErrOutcomeUnknown = errors.New("the command may have been executed or not")
	// ErrProtocol means that the target broke the rules of iSCSI. The connection
	// is then given up.
	ErrProtocol = errors.New("the target breaks the protocol")
	// ErrNoLUN means that there is no disk at the LUN.
	ErrNoLUN = errors.New("no disk at this LUN")
	// ErrWriteProtected means that the LUN does not take writes.
	ErrWriteProtected = errors.New("the LUN is write-protected")
	// ErrReserved means that a reservation of another initiator is in the way.
	ErrReserved = errors.New("the LUN is reserved")
	// ErrOtherDisk means that what is in the place of a LUN after a new login is
	// not the disk that was opened there. Nothing was written to it.
	ErrOtherDisk = errors.New("another disk is in the LUN's place")
	// ErrOutOfRange means that a write does not lie within the LUN.
	ErrOutOfRange = errors.New("beyond the end of the LUN")
)

// Error says what was tried, with what target, and why it failed.
type Error struct {
	// Op is what was tried: "log in", "read 4096 bytes at 512 of LUN 1".
	Op string
	// Target is a name, empty in discovery; Portal is "host:port".
	Target, Portal string
	// Err is the cause: see the package's comment.
	Err error
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Error is one line: what was tried, with whom, the cause and, where there is one,
// the remedy.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("initiator: " + e.Op)
	if e.Target != "" {
		b.WriteString(": " + e.Target)
	}
	if e.Portal != "" {
		b.WriteString(" at " + e.Portal)
	}
	fmt.Fprintf(&b, ": %v", e.Err)
	if r := remedy(e.Err); r != "" {
		b.WriteString(": " + r)
	}
	return b.String()
}

func remedy(err error) string {
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return "nothing listens there: check address and port, and that the target runs"
	case errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EHOSTUNREACH):
		return "there is no way to this address: check address, gateway and cable"
	case errors.Is(err, context.DeadlineExceeded):
		return "no answer in time: check address and network, and the target's log"
	}
	return ""
}

// wrap says what was tried and where, unless err does already.
func (c *Config) wrap(op, portal string, err error) error {
	var e *Error
	if errors.As(err, &e) {
		return err
	}
	return &Error{Op: op, Target: c.Target, Portal: portal, Err: err}
}

// Attempt is a failure on the way to an error: a connection that was lost, or a
// login that failed.
type Attempt struct {
	Time time.Time
	Err  error
}

// LostError is what a call of a session with Recovery gets when recovering did not
// help it. It wraps ErrConnectionLost.
type LostError struct {
	// Err is why the call goes on no further: its context's end, Recovery.Limit,
	// ErrOutcomeUnknown, or the last loss of too many.
	Err error
	// History is what happened to the session lately, oldest first, at most 16.
	History []Attempt
}

// Unwrap returns Err, ErrConnectionLost and what is in the history.
func (e *LostError) Unwrap() []error {
	list := []error{e.Err, ErrConnectionLost}
	for _, a := range e.History {
		list = append(list, a.Err)
	}
	return list
}

// Error is one line: why the call ended, how often what failed before and what
// failed last.
func (e *LostError) Error() string {
	s := fmt.Sprintf("%v: %v", ErrConnectionLost, e.Err)
	if n := len(e.History); n > 0 {
		first, last := e.History[0], e.History[n-1]
		s += fmt.Sprintf(" (%d failures since %s, first: %v", n, first.Time.Format(time.TimeOnly), first.Err)
		if n > 1 {
			s += fmt.Sprintf("; last: %v", last.Err)
		}
		s += ")"
	}
	return s
}

// RejectError is a request that the target refused with a Reject PDU.
type RejectError struct {
	Reason iscsi.RejectReason
	Opcode iscsi.Opcode // of the request
}

func (e *RejectError) Error() string {
	return fmt.Sprintf("the target rejects the %v: %v", e.Opcode, e.Reason)
}

// protocolErrorf returns an error about a target's breach of the protocol.
func protocolErrorf(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrProtocol, fmt.Errorf(format, args...))
}
