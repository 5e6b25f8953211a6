package initiator

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"time"

	"github.com/bootlun/bootlun/iscsi"
)

// Config says what to log in to, as whom and how. Initiator, Target and Portal must
// be given, for Discover all but Target. Zero values of the rest are the defaults
// that their comments name.
type Config struct {
	// Initiator and Target are iSCSI names.
	Initiator, Target string
	// Portal is the target's address as "host:port", an IPv6 address in brackets.
	// Without a port it is 3260.
	Portal string
	// Portals are further ones of the same target, to be tried in order when the
	// login at Portal fails.
	Portals []string
	// ISID identifies the session among those of this initiator; a live session
	// with the same one is replaced at the target. Zero is a random one.
	ISID iscsi.ISID
	// CHAP proves the initiator and, with a Target in it, has the target prove
	// itself; nil logs in without.
	CHAP *iscsi.CHAPClient
	// Offer is what to negotiate. ProtocolLevel is always what this package can do,
	// MaxConnections follows Connections, and MaxOutstandingR2T is at most 64. With
	// an ErrorRecoveryLevel of 2 a DefaultTime2Retain of 0 is 20 s.
	Offer iscsi.Offer
	// Connections is how many connections the session is to have, if the target
	// allows as many: 0 is 1, and the most is 32. The others are made at the next
	// of the portals each.
	Connections int
	// MaxCommands is how many commands may be in flight in the session, if the
	// target allows as many; 0 is 128, and the most is 1024.
	MaxCommands int
	Timeouts    Timeouts
	Recovery    Recovery

	// Dialer connects; nil is a net.Dialer. The session takes the connection over: on
	// Linux a *net.TCPConn is closed when it has logged in, and the session goes on
	// with its socket. Who wants to keep a hand on it returns another type.
	Dialer Dialer
	// Tap, unless nil, is asked for what is to see a new connection's PDUs, from the
	// first on. It sees CHAP responses, too.
	Tap func(net.Conn) iscsi.Tap
	// Logger hears of redirects and of what is odd; nil discards. Secrets are
	// never logged.
	Logger *slog.Logger
}

// Dialer makes connections, as net.Dialer does.
type Dialer interface {
	DialContext(ctx context.Context, network, address string) (net.Conn, error)
}

// Timeouts of a session. Contexts bound everything else.
type Timeouts struct {
	// Login bounds connecting and logging in at one portal; 0 is 15 s.
	Login time.Duration
	// Abort is how long the target may take to abort the commands of a context
	// that ended; 0 is 5 s. Then the connection is given up.
	Abort time.Duration
	// Logout is how long the target may take to answer a logout; 0 is 2 s.
	Logout time.Duration
	// Send is how long the target may refuse to take what is sent before the
	// connection is given up; 0 is 30 s.
	Send time.Duration
	// Ping is how often to ask the target whether it is there. If it has said
	// nothing at all a period later, the connection is given up. 0 is never, with
	// Recovery 5 s; negative is never.
	Ping time.Duration
}

// Recovery says what becomes of a session whose connection is lost. The zero value
// gives the session up.
type Recovery struct {
	// Limit is how long after the loss calls wait for the connection to be back;
	// negative is as long as their contexts let them. Logging in again goes on
	// beyond it, until Close. 0 is not to log in again.
	Limit time.Duration
	// MaxDelay bounds the pauses between failed logins, which begin short and
	// double; 0 is 5 s.
	MaxDelay time.Duration
	// Repeats is how often one call sends a command again; 0 is 8.
	Repeats int
}

const (
	defaultCommands = 128
	maxCommands     = 1 << tagIndexBits
	maxR2Ts         = 64
	defaultRetain   = 20 // seconds
)

// withDefaults fills in what zero values mean and checks what must be given. For
// discovery the target is left out.
func (c Config) withDefaults(discovery bool) (Config, error) {
	var errs []error
	name, err := iscsi.ParseName(c.Initiator)
	if err != nil {
		errs = append(errs, fmt.Errorf("initiator name: %w", err))
	}
	c.Initiator, c.Target = name, strings.ToLower(c.Target)
	if discovery {
		c.Target = ""
	} else if c.Target == "" {
		errs = append(errs, errors.New("no target name given"))
	}
	for _, p := range c.portals() {
		if _, err := iscsi.ParseTargetAddress(p); err != nil {
			errs = append(errs, fmt.Errorf("portal: %w", err))
		}
	}
	if c.ISID == (iscsi.ISID{}) {
		c.ISID = iscsi.RandomISID(0)
	}
	c.Connections = max(1, min(c.Connections, maxConnections))
	c.Offer.MaxConnections, c.Offer.ProtocolLevel = c.Connections, 1
	if c.Offer.ErrorRecoveryLevel >= 2 {
		c.Offer.DefaultTime2Retain = cmp.Or(c.Offer.DefaultTime2Retain, defaultRetain)
	}
	c.Offer.MaxOutstandingR2T = min(c.Offer.MaxOutstandingR2T, maxR2Ts)
	c.MaxCommands = max(1, min(cmp.Or(c.MaxCommands, defaultCommands), maxCommands))
	t := &c.Timeouts
	t.Login = cmp.Or(t.Login, 15*time.Second)
	t.Abort = cmp.Or(t.Abort, 5*time.Second)
	t.Logout = cmp.Or(t.Logout, 2*time.Second)
	t.Send = cmp.Or(t.Send, 30*time.Second)
	if c.Recovery.Limit != 0 || c.Offer.ErrorRecoveryLevel > 0 {
		t.Ping = cmp.Or(t.Ping, 5*time.Second)
	}
	c.Recovery.MaxDelay = cmp.Or(c.Recovery.MaxDelay, 5*time.Second)
	c.Recovery.Repeats = cmp.Or(c.Recovery.Repeats, 8)
	if c.Dialer == nil {
		c.Dialer = &net.Dialer{}
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c, errors.Join(errs...)
}

// portals returns all addresses of the target.
func (c *Config) portals() []string { return append([]string{c.Portal}, c.Portals...) }
