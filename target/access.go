package target

import (
	"fmt"
	"net"
	"net/netip"
	"path"
	"slices"

	"github.com/bootlun/bootlun/iscsi"
)

// Access says who may use a target or a LUN: an initiator that one of the rules
// admits. For any other it does not exist. Without rules nobody may.
type Access struct {
	Rules []Rule
}

// Rule admits initiators. All of its fields that are set must hold.
type Rule struct {
	// Initiator is a pattern of initiator names, in the syntax of [path.Match]
	// (iqn.2001-04.com.example:*).
	Initiator string

	// Network has the initiator's address in it: 192.0.2.0/24 or 2001:db8::/32,
	// or one address with all of its bits.
	Network netip.Prefix

	// User is the CHAP name that the initiator has proven. A discovery session
	// that has proven none sees also what is for a user.
	User string
}

// InitiatorCHAP is what some initiators must prove.
type InitiatorCHAP struct {
	// Initiator is a pattern of initiator names, in the syntax of [path.Match].
	Initiator string

	// CHAP is what they must prove, and what the target proves to them; nil lets
	// them in unproven.
	CHAP *iscsi.CHAPServer
}

// Redirect sends initiators to another place (RFC 7143, 11.13.5).
type Redirect struct {
	// To is the address to log in at. Its tag is not sent. It may be another portal of
	// the same server: initiators that come by it are let in.
	To iscsi.TargetAddress

	// Permanent says that the target has moved for good.
	Permanent bool
}

// check finds what is wrong with the rules.
func (a *Access) check() error {
	if a == nil {
		return nil
	}
	for i, r := range a.Rules {
		if _, err := path.Match(r.Initiator, ""); err != nil {
			return fmt.Errorf("access rule %d: initiator %q: %w", i, r.Initiator, err)
		}
		if r == (Rule{}) {
			return fmt.Errorf("access rule %d is empty: to admit everybody, leave Access out", i)
		}
	}
	return nil
}

// clone returns a copy that nobody else has.
func (a *Access) clone() *Access {
	if a == nil {
		return nil
	}
	return &Access{slices.Clone(a.Rules)}
}

// identity is who an initiator is, as far as it is known.
type identity struct {
	name   string     // its iSCSI name
	addr   netip.Addr // the zero Addr where it is unknown
	user   string     // proven by CHAP
	anyone bool       // user is not known, or not yet: it may be any
}

// admits reports whether one of the rules admits an initiator. A nil Access
// admits everybody.
func (a *Access) admits(who *identity) bool {
	return a == nil || slices.ContainsFunc(a.Rules, func(r Rule) bool { return r.admits(who) })
}

func (r *Rule) admits(who *identity) bool {
	if r.Initiator != "" {
		if ok, _ := path.Match(r.Initiator, who.name); !ok { // checked before
			return false
		}
	}
	if r.Network.IsValid() && !r.Network.Contains(who.addr) {
		return false
	}
	return r.User == "" || who.anyone || r.User == who.user
}

// initiatorAddr is the address of a connection's other end.
func initiatorAddr(nc net.Conn) netip.Addr {
	a, err := netip.ParseAddrPort(nc.RemoteAddr().String())
	if err != nil { // not of the Internet
		return netip.Addr{}
	}
	return a.Addr().Unmap().WithZone("")
}

// accessOf joins the two forms in which a target says who may use it.
func accessOf(cfg *Target) *Access {
	if len(cfg.AllowedInitiators) == 0 {
		return cfg.Access.clone()
	}
	a := cfg.Access.clone()
	if a == nil {
		a = new(Access)
	}
	for _, pattern := range cfg.AllowedInitiators {
		a.Rules = append(a.Rules, Rule{Initiator: pattern})
	}
	return a
}

// chapFor is what an initiator must prove.
func (s *targetSettings) chapFor(initiator string) *iscsi.CHAPServer {
	for _, i := range s.initiatorCHAP {
		if ok, _ := path.Match(i.Initiator, initiator); ok { // checked before
			return i.CHAP
		}
	}
	return s.chap
}
