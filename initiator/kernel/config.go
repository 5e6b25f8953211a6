//go:build linux && !386

package kernel

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

// Config says what to log in to, as whom and how. Initiator, Target and Portal must be given; zero values of the rest are the
// defaults that their comments name.
type Config struct {
	// Initiator and Target are iSCSI names.
	Initiator, Target string
	// Portal is the target's address as "host:port"; IPv6 in brackets. Without a port it is 3260.
	Portal string
	// ISID identifies the session among those of this initiator; a live session with the same one is replaced at the target.
	// Zero is a random one.
	ISID iscsi.ISID
	// LUN is the one logical unit that Session.Disk scans for.
	LUN iscsi.LUN
	// CHAP proves the initiator and, with a Target in it, has the target prove itself; nil logs in without.
	CHAP *iscsi.CHAPClient

	// Interface tells of the NIC in use.
	Interface Interface
	// Boot names the boot firmware's entries in sysfs.
	Boot Boot
	// Timeouts are what their comments say.
	Timeouts Timeouts
	// Offer is what to negotiate. MaxConnections, ErrorRecoveryLevel and ProtocolLevel are always what the kernel can do.
	Offer iscsi.Offer

	// Dialer connects; nil is a net.Dialer without keep-alives, bound to Interface.NetDev. What it returns must be a TCP
	// connection of this kernel, with a SyscallConn method; Login closes it.
	Dialer Dialer
	// Logger hears of redirects and of what is odd; nil discards. Secrets are never logged.
	Logger *slog.Logger
	// Roots are where the kernel shows itself.
	Roots Roots

	// openLink opens the netlink socket; tests put their own kernel here.
	openLink func() (link, error)
}

// Dialer makes TCP connections, as net.Dialer does.
type Dialer interface {
	DialContext(ctx context.Context, network, address string) (net.Conn, error)
}

// Interface names the NIC that a session goes through, as open-iscsi's iface records do.
type Interface struct {
	// Name is the iface record's name, "default" if empty.
	Name string
	// NetDev is the network device, such as "eth0"; the connection is bound to it. Empty leaves it to routing.
	NetDev string
	// HWAddress is its MAC address. iscsid binds by it when it logs in again, so it should be set where NetDev is: the
	// device's name may change.
	HWAddress net.HardwareAddr
}

// Roots are the directories in which the kernel shows devices and mounts. Empty ones are /sys, /dev and /proc.
type Roots struct{ Sys, Dev, Proc string }

func (r Roots) withDefaults() Roots {
	return Roots{cmp.Or(r.Sys, "/sys"), cmp.Or(r.Dev, "/dev"), cmp.Or(r.Proc, "/proc")}
}

// Boot names where the firmware's table appears in sysfs, for example Root "ibft", NIC "ethernet0", Target "target0".
// Linux's iscsi_tcp stores these but shows them in sysfs only from some later version on.
type Boot struct{ Root, NIC, Target string }

// Timeouts of a session.
type Timeouts struct {
	// Login bounds connecting and logging in at one portal; 0 is 15 s.
	Login time.Duration
	// Replacement is how long the kernel holds I/O back when the connection is lost, before it fails; 0 is 86400 s, what a
	// root disk wants; negative is for ever, and less than a second fails at once. For ever is also how long the kernel repeats
	// what waited, which it otherwise fails when it is three minutes old.
	Replacement time.Duration
	// NOPInterval and NOPTimeout have the kernel probe an idle connection and give up on it. 0, their default, is off: a root
	// disk is better off waiting.
	NOPInterval, NOPTimeout time.Duration
}

// Defaults of Timeouts.
const (
	defaultLoginTimeout       = 15 * time.Second
	defaultReplacementTimeout = 86400 * time.Second
)

// withDefaults fills in what zero values mean and checks what must be given.
func (c Config) withDefaults() (Config, error) {
	var errs []error
	name, err := iscsi.ParseName(c.Initiator)
	if err != nil {
		errs = append(errs, fmt.Errorf("initiator name: %w", err))
	}
	c.Initiator, c.Target = name, strings.ToLower(c.Target) // the login checks the target's
	if _, err := iscsi.ParseTargetAddress(c.Portal); err != nil {
		errs = append(errs, fmt.Errorf("portal: %w", err))
	}
	if c.ISID == (iscsi.ISID{}) {
		c.ISID = iscsi.RandomISID(0)
	}
	c.Interface.Name = cmp.Or(c.Interface.Name, "default")
	c.Timeouts.Login = cmp.Or(c.Timeouts.Login, defaultLoginTimeout)
	c.Timeouts.Replacement = cmp.Or(c.Timeouts.Replacement, defaultReplacementTimeout)
	c.Offer.MaxConnections, c.Offer.ErrorRecoveryLevel, c.Offer.ProtocolLevel = 1, 0, 1
	c.Roots = c.Roots.withDefaults()
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Dialer == nil {
		c.Dialer = boundDialer(c.Interface.NetDev)
	}
	if c.openLink == nil {
		c.openLink = openNetlink
	}
	return c, errors.Join(errs...)
}
