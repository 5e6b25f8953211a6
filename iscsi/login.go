package iscsi

import (
	"errors"
	"fmt"
	"strings"
)

// Errors of a login that this side found, as opposed to a status that the other
// side sent.
var (
	// ErrLoginProtocol is wrapped by errors about a peer that breaks the rules
	// of the login phase.
	ErrLoginProtocol = errors.New("iscsi: login protocol error")
	// ErrPeerNotAuthenticated: the target did not prove who it is, though mutual
	// CHAP was asked for.
	ErrPeerNotAuthenticated = errors.New("iscsi: the target did not prove its identity")
	// ErrDigestRequired: the other side refuses the digest that this side
	// requires.
	ErrDigestRequired = errors.New("iscsi: the other side refuses the digest that is required here")
)

// LoginError is a login that ended with a status other than success: sent by
// the target, or decided upon as the target.
type LoginError struct {
	Status LoginStatus
	Reason string // the particulars, where they are known
	// Redirect is where to log in instead; its Host is empty unless the status
	// is StatusMovedTemporarily or StatusMovedPermanently.
	Redirect TargetAddress
}

// Error says what happened and what to do.
func (e *LoginError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "iscsi: login refused: %v", e.Status)
	if e.Reason != "" {
		b.WriteString(": " + e.Reason)
	}
	if e.Redirect.Host != "" {
		b.WriteString(": go to " + e.Redirect.String())
	} else if advice := e.Status.Advice(); advice != "" {
		b.WriteString("; " + advice)
	}
	return b.String()
}

func loginErrorf(s LoginStatus, format string, args ...any) *LoginError {
	return &LoginError{Status: s, Reason: fmt.Sprintf(format, args...)}
}

func protocolErrorf(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrLoginProtocol, fmt.Errorf(format, args...))
}

// maxLoginRounds bounds the requests of one login. A login with mutual CHAP takes
// five; the rest is room for text that is split by the C bit.
const maxLoginRounds = 64

// maxLoginData is the longest data segment of a login PDU: the default
// MaxRecvDataSegmentLength holds until the login is over (RFC 7143, 13.12).
const maxLoginData = DefaultMaxRecvDataSegmentLength

// maxLoginText is the most text that is taken from the other side at a time. Two
// full PDUs leave room for long challenges and for keys not thought of yet.
const maxLoginText = 2 * maxLoginData

// Keys that the login code handles itself.
const (
	keyInitiatorName  = "InitiatorName"
	keyInitiatorAlias = "InitiatorAlias"
	keyTargetName     = "TargetName"
	keyTargetAlias    = "TargetAlias"
	keyTargetAddress  = "TargetAddress"
	keyPortalGroup    = "TargetPortalGroupTag"
	keySessionType    = "SessionType"
	keyAuthMethod     = "AuthMethod"
	keyCHAPAlgorithm  = "CHAP_A"
	keyCHAPIdentifier = "CHAP_I"
	keyCHAPChallenge  = "CHAP_C"
	keyCHAPName       = "CHAP_N"
	keyCHAPResponse   = "CHAP_R"

	sessionNormal    = "Normal"
	sessionDiscovery = "Discovery"
	authNone         = "None"
	authCHAP         = "CHAP"
)
