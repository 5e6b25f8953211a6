//go:build linux && !386

package kernel

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"golang.org/x/sys/unix"
)

var (
	// ErrNoTransport means that the kernel has no iscsi_tcp driver loaded.
	ErrNoTransport = errors.New("the kernel has no iscsi_tcp transport")
	// ErrSessionExists means that the kernel has a session from this initiator to this target and portal already.
	ErrSessionExists = errors.New("a session exists already")
	// ErrNoLUN means that the target has no disk at the LUN.
	ErrNoLUN = errors.New("no disk at this LUN")
	// ErrInUse means that a disk of the session is mounted, swapped to or held by another device.
	ErrInUse = errors.New("the session's disk is in use")
)

// Error says which step failed, against what, and what to do about it.
type Error struct {
	// Step is what was done: "connect", "log in", "SET_PARAM tpgt" and so on.
	Step string
	// Target and Portal are whom it was done with; empty where no peer was involved.
	Target, Portal string
	// Err is the cause. Among those worth telling apart are the sentinels of this package, *iscsi.LoginError, syscall.Errno and
	// what the context gave.
	Err error
	// Remedy is what a person can do, empty if there is nothing to say.
	Remedy string
}

func (e *Error) Unwrap() error { return e.Err }

// Error is one line: step, peer, cause, remedy.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Step)
	if e.Portal != "" {
		fmt.Fprintf(&b, " to %s at %s", e.Target, e.Portal)
	}
	fmt.Fprintf(&b, ": %v", e.Err)
	if e.Remedy != "" {
		fmt.Fprintf(&b, ": %s", e.Remedy)
	}
	return b.String()
}

// at makes an *Error of err with the remedy that suits it, unless err is one already.
func at(step, target, portal string, err error) error {
	if e := (*Error)(nil); err == nil || errors.As(err, &e) {
		return err
	}
	return &Error{Step: step, Target: target, Portal: portal, Err: err, Remedy: remedy(err)}
}

func remedy(err error) string {
	switch {
	case errors.Is(err, ErrNoTransport):
		return "load module iscsi_tcp"
	case errors.Is(err, unix.EPROTONOSUPPORT):
		return "load module scsi_transport_iscsi"
	case errors.Is(err, unix.EPERM), errors.Is(err, fs.ErrPermission):
		return "run as root in the initial namespaces"
	case errors.Is(err, unix.ECONNREFUSED):
		return "no target listens there: check the address and port, and that the target runs"
	case errors.Is(err, unix.ENETUNREACH), errors.Is(err, unix.EHOSTUNREACH):
		return "there is no way to this address: check address, gateway and cable"
	case errors.Is(err, context.DeadlineExceeded):
		return "no answer in time: check address, gateway and cable, and the target's log"
	}
	return ""
}

// connError is why the kernel gave a connection up (enum iscsi_err of Linux's include/scsi/iscsi_if.h).
type connError uint32

func (e connError) Error() string {
	causes := map[connError]string{
		1003: "MaxCmdSN out of order",
		1005: "bad opcode",
		1006: "data segment longer than declared",
		1008: "protocol error",
		1010: "bad task tag",
		1011: "connection failed",
		1013: "session failed",
		1014: "header digest error",
		1015: "data digest error",
		1019: "sending failed",
		1020: "the target closed the connection",
		1021: "session reset by the SCSI error handler",
		1022: "no answer to a NOP",
	}
	if cause, ok := causes[e]; ok {
		return fmt.Sprintf("%s (kernel error %d)", cause, uint32(e))
	}
	return fmt.Sprintf("connection error %d", uint32(e))
}
