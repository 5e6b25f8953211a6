package target

import (
	"errors"
	"fmt"
	"log/slog"
	"path"
	"reflect"
	"slices"
	"time"

	"github.com/bootlun/bootlun/iscsi"
	"github.com/bootlun/bootlun/scsi"
	"github.com/bootlun/bootlun/target/store"
)

// Config is what a [Server] serves and within which bounds. The zero value of
// every field but Targets is a good choice.
type Config struct {
	// Targets are what initiators can log in to. Names must differ.
	Targets []*Target

	// PortalGroups are the groups that the server's listeners are in; none means
	// one, with tag 1. The first is that of [Server.Serve].
	PortalGroups []PortalGroup

	// PortGroups are the states in which target port groups begin. Those that are
	// not listed are active and optimized.
	PortGroups []PortGroup

	// DiscoveryCHAP, if set, is what discovery sessions must prove.
	DiscoveryCHAP *iscsi.CHAPServer

	// Offer is what the target is ready to agree to in a login. Its zero value
	// is for speed: 256 KiB segments and first bursts, 1 MiB bursts, immediate
	// and unsolicited data, sessions of up to 8 connections for initiators that
	// want several (at most 32 can be), error recovery level 0 and protocol level
	// 2. Whatever it says, digests are on for initiators that prefer or require
	// them, and data may come in any order if they want it so. With error
	// recovery level 2, DefaultTime2Retain 0 means 20 s: for so long the tasks of
	// a lost connection wait for their initiator.
	Offer iscsi.Offer

	// QueueDepth is how many commands a session may have outstanding, at most
	// 4096; 0 means 128.
	QueueDepth int

	// MaxSessions bounds the sessions; 0 means 4096. MaxPendingLogins bounds
	// the connections that have not logged in; 0 means 256. When there is one
	// more, the oldest goes of the address that has most of them.
	MaxSessions      int
	MaxPendingLogins int

	// MemoryLimit bounds the data of commands that the server holds, in bytes; 0
	// means 1 GiB. Beyond it a session has one command carried out at a time, and
	// gets TASK SET FULL for others; data is asked for and sent in small pieces.
	// What a connection needs to go on at all, up to one segment, is not refused.
	MemoryLimit int64

	// LoginTimeout is how long a login may take; 0 means 15 s.
	LoginTimeout time.Duration

	// StallTimeout is how long an initiator may leave a PDU unfinished, an R2T
	// unanswered or replies unread; 0 means 60 s. An initiator that is idle
	// between PDUs is never too slow.
	StallTimeout time.Duration

	// NOPInterval is how long a session is idle before it is pinged; 0 means
	// never, and dead initiators are found by TCP keep-alive alone. A session
	// that has answered a ping once must answer every later one within
	// StallTimeout; one that never has, such as iPXE's, is left alone.
	NOPInterval time.Duration

	// LogoutTimeout is how long Serve, when its context ends, waits for
	// sessions to log out as they are then asked to; 0 means 2 s, less than 0
	// not at all.
	LogoutTimeout time.Duration

	// StopTimeout is how long Serve then waits for commands that hang in their
	// stores before it returns without them; 0 means 30 s, less than 0 for
	// ever.
	StopTimeout time.Duration

	// Logger takes the server's log; nil means none.
	Logger *slog.Logger

	// Events, if set, is called when a session begins and when it ends. It runs
	// on that session's own goroutine and holds it up: it must be quick and may
	// be called for several sessions at once.
	Events func(Event)
}

// Target is one iSCSI target: a name and the LUNs behind it.
type Target struct {
	// Name is the target's iSCSI name, such as iqn.2001-04.com.example:disk1.
	Name string

	// Alias is a name for people, told to initiators; empty is none.
	Alias string

	// LUNs are its logical units, with different numbers.
	LUNs []LUN

	// PortGroup is the target port group that the target is in, from 1 on; 0
	// means 1. Targets that serve the same disk are in different ones if they
	// are not always as good a path as each other. See [PortGroup].
	PortGroup uint16

	// CHAP, if set, is what an initiator must prove to log in, and what the
	// target proves to it. Nil lets initiators in unproven.
	CHAP *iscsi.CHAPServer

	// AllowedInitiators are patterns of initiator names, in the syntax of
	// [path.Match] (iqn.2001-04.com.example:*): short for rules of Access that
	// have nothing else. Without patterns and Access everybody may log in.
	AllowedInitiators []string

	// Access says who may use the target; nil leaves that to AllowedInitiators.
	Access *Access

	// InitiatorCHAP are exceptions from CHAP: the first whose pattern matches
	// counts in its place.
	InitiatorCHAP []InitiatorCHAP

	// PortalGroups are the tags of the portal groups by which the target can be
	// reached; none means all.
	PortalGroups []uint16

	// TellAttentions has initiators told of unit attention conditions, such as a
	// resized disk, by asynchronous messages, at most a second later. Without it
	// they find out by their next command.
	TellAttentions bool

	// Redirect, if set, sends initiators to another address in place of letting
	// them in.
	Redirect *Redirect
}

// LUN is one logical unit: a disk.
type LUN struct {
	// Number is its LUN, 0 to [iscsi.MaxLUN]. Every target should have a LUN 0.
	Number int

	// Store holds its bytes. It stays the caller's: it must stay open until
	// Serve has returned, and the caller then closes it, unless Serve has left
	// a command in it ([ErrStoreHangs]).
	//
	// LUNs with the same store, of one target or of several, are one disk that
	// is reached by several paths: reservations, write protection, unit
	// attentions and identifiers are in common. Such LUNs must not differ in
	// anything but their number. Stores are told apart by ==.
	Store store.Store

	// Identity is what the disk's NAA identifier is derived from: a text that no
	// other disk in the world has and that stays. Empty means the target's name
	// and the LUN; of a disk with several LUNs, those of the first.
	Identity string

	// Access says which of the target's initiators may use the LUN; nil means all.
	Access *Access

	// ReadOnly refuses writes. It is implied by a store that is read-only.
	ReadOnly bool

	// WriteThrough answers a write only when it is on the medium. Without it
	// the LUN has a write cache, which initiators flush and bypass.
	WriteThrough bool

	// Removable makes the medium one that initiators can eject and load again.
	Removable bool

	// CDROM makes the LUN a CD-ROM drive with the store, an ISO image, as its disc:
	// read-only, removable, with blocks of 2048 bytes. A disc that is larger than
	// a CD is a DVD.
	CDROM bool

	// BlockSize is the logical block's size in bytes, 512 or 4096; 0 means 512.
	// Bytes of the store after its last whole block are not used.
	BlockSize int

	// PhysicalBlockSize is what initiators are told to align to: a power of two,
	// from the block size up; 0 means 4096.
	PhysicalBlockSize int

	// ReservationFile is where persistent reservations are kept that are to
	// outlive the server (APTPL): a file that no other disk has, and that is there
	// only while there are some. Empty means that none can be kept.
	ReservationFile string

	// Vendor (8 characters), Product (16), Revision (4) and Serial (32) say in
	// INQUIRY data what the disk is, in printable ASCII. Empty ones get values
	// of this package; Serial gets one that, like the disk's NAA identifier, is
	// derived from Identity.
	Vendor, Product, Revision, Serial string
}

// maxConnections bounds the connections of a session.
const maxConnections = 32

// maxQueueDepth bounds what a session can hold by commands alone.
const maxQueueDepth = 4096

// Defaults of Config and LUN.
const (
	defaultQueueDepth    = 128
	defaultConnections   = 8
	defaultTime2Retain   = 20
	defaultProtocolLevel = 2 // RFC 7144
	defaultSessions      = 4096
	defaultPendingLogins = 256
	defaultMemoryLimit   = 1 << 30
	defaultLoginTimeout  = 15 * time.Second
	defaultStallTimeout  = 60 * time.Second
	defaultLogoutTimeout = 2 * time.Second
	defaultStopTimeout   = 30 * time.Second
	defaultBlockSize     = 512
	defaultPhysicalBlock = 4096
	defaultPortGroup     = 1
)

// withDefaults returns a copy in which no zero is left that means something
// else.
func (c Config) withDefaults() Config {
	if len(c.PortalGroups) == 0 {
		c.PortalGroups = []PortalGroup{{Tag: 1}}
	}
	setDefault(&c.QueueDepth, defaultQueueDepth)
	setDefault(&c.MaxSessions, defaultSessions)
	setDefault(&c.MaxPendingLogins, defaultPendingLogins)
	setDefault(&c.MemoryLimit, defaultMemoryLimit)
	setDefault(&c.LoginTimeout, defaultLoginTimeout)
	setDefault(&c.StallTimeout, defaultStallTimeout)
	setDefault(&c.LogoutTimeout, defaultLogoutTimeout)
	setDefault(&c.StopTimeout, defaultStopTimeout)
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Events == nil {
		c.Events = func(Event) {}
	}
	if c.Offer.HeaderDigest == iscsi.DigestOff {
		c.Offer.HeaderDigest = iscsi.DigestAllow
	}
	if c.Offer.DataDigest == iscsi.DigestOff {
		c.Offer.DataDigest = iscsi.DigestAllow
	}
	setDefault(&c.Offer.MaxConnections, defaultConnections)
	c.Offer.MaxConnections = min(c.Offer.MaxConnections, maxConnections)
	if c.Offer.ErrorRecoveryLevel >= 2 {
		setDefault(&c.Offer.DefaultTime2Retain, defaultTime2Retain)
	}
	c.Offer.DataPDUAnyOrder, c.Offer.DataSequenceAnyOrder = true, true
	setDefault(&c.Offer.ProtocolLevel, defaultProtocolLevel)
	c.Offer.ProtocolLevel = min(c.Offer.ProtocolLevel, defaultProtocolLevel)
	c.Offer.MaxRecvDataSegmentLength = min(c.Offer.MaxRecvDataSegmentLength, maxBuffer)
	c.Offer.FirstBurstLength = min(c.Offer.FirstBurstLength, maxBuffer)
	return c
}

func setDefault[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}

// check finds what no server can be made of.
func (c *Config) check() error {
	if c.QueueDepth < 0 || c.MaxSessions < 0 || c.MaxPendingLogins < 0 || c.MemoryLimit < 0 {
		return errors.New("target: QueueDepth, MaxSessions, MaxPendingLogins and MemoryLimit must not be negative")
	}
	if c.QueueDepth > maxQueueDepth {
		return fmt.Errorf("target: QueueDepth is %d, at most %d can be", c.QueueDepth, maxQueueDepth)
	}
	if c.MaxSessions > maxTSIH {
		return fmt.Errorf("target: MaxSessions is %d, at most %d sessions can be told apart", c.MaxSessions, maxTSIH)
	}
	for _, g := range c.PortGroups {
		if err := g.check(); err != nil {
			return fmt.Errorf("target: %w", err)
		}
	}
	if err := checkPortalGroups(c.PortalGroups); err != nil {
		return err
	}
	seen := make(map[string]bool)
	for i, t := range c.Targets {
		if t == nil {
			return fmt.Errorf("target: Targets[%d] is nil", i)
		}
		if err := t.check(); err != nil {
			return fmt.Errorf("target %s: %w", t.Name, err)
		}
		name, _ := iscsi.ParseName(t.Name)
		if seen[name] {
			return fmt.Errorf("target %s: there are two of this name", t.Name)
		}
		seen[name] = true
	}
	return nil
}

func (t *Target) check() error {
	if err := iscsi.ValidateName(t.Name); err != nil {
		return err
	}
	for _, pattern := range t.AllowedInitiators {
		if _, err := path.Match(pattern, ""); err != nil {
			return fmt.Errorf("allowed initiators: %q: %w", pattern, err)
		}
	}
	if t.CHAP != nil && len(t.CHAP.Users) == 0 {
		return errors.New("CHAP is wanted but has no user: nobody could log in")
	}
	for _, i := range t.InitiatorCHAP {
		if _, err := path.Match(i.Initiator, ""); err != nil {
			return fmt.Errorf("CHAP for initiators: %q: %w", i.Initiator, err)
		}
		if i.CHAP != nil && len(i.CHAP.Users) == 0 {
			return fmt.Errorf("CHAP for initiators %q has no user: none could log in", i.Initiator)
		}
	}
	if err := t.Access.check(); err != nil {
		return err
	}
	if t.Redirect != nil && t.Redirect.To.Host == "" {
		return errors.New("it is redirected to no address")
	}
	seen := make(map[int]bool)
	for _, l := range t.LUNs {
		if err := l.check(); err != nil {
			return fmt.Errorf("LUN %d: %w", l.Number, err)
		}
		if seen[l.Number] {
			return fmt.Errorf("LUN %d: there are two of this number", l.Number)
		}
		seen[l.Number] = true
	}
	return nil
}

// withDefaults returns a copy in which no zero is left that means something
// else, but for the identifiers.
func (l LUN) withDefaults() LUN {
	if l.CDROM {
		l.ReadOnly, l.Removable = true, true
		l.BlockSize, l.PhysicalBlockSize = scsi.BytesPerDiscBlock, scsi.BytesPerDiscBlock
		setDefault(&l.Product, defaultDiscProduct)
	}
	setDefault(&l.BlockSize, defaultBlockSize)
	setDefault(&l.PhysicalBlockSize, defaultPhysicalBlock)
	setDefault(&l.Vendor, defaultVendor)
	setDefault(&l.Product, defaultProduct)
	setDefault(&l.Revision, defaultRevision)
	return l
}

func (l *LUN) check() error {
	if _, err := iscsi.MakeLUN(l.Number); err != nil {
		return err
	}
	if l.Store == nil {
		return errors.New("it has no store")
	}
	if err := l.Access.check(); err != nil {
		return err
	}
	if !reflect.ValueOf(l.Store).Comparable() {
		return fmt.Errorf("its store is a %T, which cannot be compared: use a pointer", l.Store)
	}
	switch {
	case l.CDROM && (l.BlockSize != 0 || l.PhysicalBlockSize != 0):
		return errors.New("block sizes of a CD-ROM cannot be set")
	case l.CDROM, slices.Contains([]int{0, 512, 4096}, l.BlockSize):
	default:
		return fmt.Errorf("block size %d: must be 512 or 4096", l.BlockSize)
	}
	if p := l.PhysicalBlockSize; p != 0 && (p < max(l.BlockSize, defaultBlockSize) || p&(p-1) != 0 || p > maxBuffer) {
		return fmt.Errorf("physical block size %d: must be a power of two, from the block size to %d", p, maxBuffer)
	}
	if size := l.Store.Size(); size < int64(l.withDefaults().BlockSize) {
		return fmt.Errorf("its store has %d bytes, less than one block", size)
	}
	for _, f := range []struct {
		name, value string
		most        int
	}{{"vendor", l.Vendor, 8}, {"product", l.Product, 16}, {"revision", l.Revision, 4}, {"serial", l.Serial, 32}} {
		if len(f.value) > f.most {
			return fmt.Errorf("%s %q: longer than %d characters", f.name, f.value, f.most)
		}
		for _, c := range []byte(f.value) {
			if c < ' ' || c > '~' {
				return fmt.Errorf("%s %q: character %q is not printable ASCII", f.name, f.value, c)
			}
		}
	}
	return nil
}
