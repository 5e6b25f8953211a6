package iscsi

import "fmt"

// LoginStatus is the outcome of a login request: Status-Class in the high
// byte, Status-Detail in the low one (RFC 7143, 11.13.5).
type LoginStatus uint16

// Login statuses.
const (
	StatusSuccess                 LoginStatus = 0x0000
	StatusMovedTemporarily        LoginStatus = 0x0101
	StatusMovedPermanently        LoginStatus = 0x0102
	StatusInitiatorError          LoginStatus = 0x0200
	StatusAuthenticationFailed    LoginStatus = 0x0201
	StatusAuthorizationFailed     LoginStatus = 0x0202
	StatusTargetNotFound          LoginStatus = 0x0203
	StatusTargetRemoved           LoginStatus = 0x0204
	StatusUnsupportedVersion      LoginStatus = 0x0205
	StatusTooManyConnections      LoginStatus = 0x0206
	StatusMissingParameter        LoginStatus = 0x0207
	StatusCannotIncludeInSession  LoginStatus = 0x0208
	StatusSessionTypeNotSupported LoginStatus = 0x0209
	StatusSessionDoesNotExist     LoginStatus = 0x020a
	StatusInvalidDuringLogin      LoginStatus = 0x020b
	StatusTargetError             LoginStatus = 0x0300
	StatusServiceUnavailable      LoginStatus = 0x0301
	StatusOutOfResources          LoginStatus = 0x0302
)

// Class returns the status class: 0 success, 1 redirection, 2 initiator error,
// 3 target error.
func (s LoginStatus) Class() uint8 { return uint8(s >> 8) }

// Retry reports whether the same login can succeed later without a change on
// the initiator's side: the target could not serve it now (class 3), or the
// initiator is sent elsewhere.
func (s LoginStatus) Retry() bool { return s.Class() == 3 || s.Class() == 1 }

// String names the status with its number, as in "authentication failed
// (0x0201)".
func (s LoginStatus) String() string {
	if t := s.text(); t.name != "" {
		return fmt.Sprintf("%s (0x%04x)", t.name, uint16(s))
	}
	class := [...]string{"success", "redirection", "initiator error", "target error"}
	return fmt.Sprintf("%s, unknown detail (0x%04x)", nameOr(class[:], s.Class(), "status class"), uint16(s))
}

// Advice returns what a person can do about the status, or "" where there is
// nothing to do.
func (s LoginStatus) Advice() string {
	if t := s.text(); t.advice != "" || t.name != "" {
		return t.advice
	}
	if s.Class() == 3 {
		return "the target has a problem of its own: try again, and see the target's log"
	}
	return "see the target's log for the reason"
}

type statusText struct{ name, advice string }

func (s LoginStatus) text() statusText {
	if s.Class() == 3 {
		return s.targetErrorText()
	}
	switch s {
	case StatusSuccess:
		return statusText{"success", ""}
	case StatusMovedTemporarily:
		return statusText{"target moved temporarily", "log in at the address that the target gave"}
	case StatusMovedPermanently:
		return statusText{"target moved permanently", "log in at the address that the target gave and keep it"}
	case StatusInitiatorError:
		return statusText{"initiator error", "the target refused what it was sent: see its log"}
	case StatusAuthenticationFailed:
		return statusText{"authentication failed", "check CHAP name and secret on both sides, and whether the target wants CHAP at all"}
	case StatusAuthorizationFailed:
		return statusText{"authorization failed", "allow this initiator name in the target's access list"}
	case StatusTargetNotFound:
		return statusText{"target not found", "check the target name, and that this portal serves it"}
	case StatusTargetRemoved:
		return statusText{"target removed", "the target is gone for good and gave no new address"}
	case StatusUnsupportedVersion:
		return statusText{"unsupported version", "the two sides speak different versions of iSCSI"}
	case StatusTooManyConnections:
		return statusText{"too many connections", "log out of another connection of this session first"}
	case StatusMissingParameter:
		return statusText{"missing parameter", "a name is missing: give an initiator name, and a target name unless discovering"}
	case StatusCannotIncludeInSession:
		return statusText{"cannot include in session", "the target cannot add a connection to this session here"}
	case StatusSessionTypeNotSupported:
		return statusText{"session type not supported", "use a discovery session for discovery only, or the other portal"}
	case StatusSessionDoesNotExist:
		return statusText{"session does not exist", "log in anew, with TSIH zero"}
	case StatusInvalidDuringLogin:
		return statusText{"invalid request during login", "the two sides disagree on the login protocol: report this"}
	}
	return statusText{}
}

func (s LoginStatus) targetErrorText() statusText {
	switch s {
	case StatusTargetError:
		return statusText{"target error", "the target has a problem of its own: see its log"}
	case StatusServiceUnavailable:
		return statusText{"service unavailable", "try again later: the target does not serve now"}
	case StatusOutOfResources:
		return statusText{"out of resources", "try again later, or free sessions on the target"}
	}
	return statusText{}
}
