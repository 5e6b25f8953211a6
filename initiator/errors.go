package initiator

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"

	"github.com/bootlun/bootlun/iscsi"
)

var (
	// ErrClosed means that the session was used after Close, or closed under a
	// call.
	ErrClosed = errors.New("the session is closed")
	// ErrConnectionLost is in every error that comes from the loss of the
	// connection, for whatever reason: log in again to go on.
	ErrConnectionLost = errors.New("the connection is lost")
	// ErrProtocol means that the target broke the rules of iSCSI. The connection
	// is then given up.
	ErrProtocol = errors.New("the target breaks the protocol")
	// ErrNoLUN means that there is no disk at the LUN.
	ErrNoLUN = errors.New("no disk at this LUN")
	// ErrWriteProtected means that the LUN does not take writes.
	ErrWriteProtected = errors.New("the LUN is write-protected")
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
