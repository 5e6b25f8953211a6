package control

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/bootlun/bootlun/internal/bytesize"
	"github.com/bootlun/bootlun/iscsi"
	"github.com/bootlun/bootlun/target"
)

// Settings are those of the whole server ("iscsi:" in the configuration file). Zero
// values mean the defaults of [target.Config] and [iscsi.Offer]. All but Portals can
// be changed while it serves.
type Settings struct {
	// Portals are the portal groups and where they listen. Without any, the server
	// has one portal, in group 1.
	Portals []PortalGroup `yaml:"portals" json:"portals,omitempty"`

	// What the server agrees to in a login (RFC 7143, 13), for later logins.
	MaxConnections     int    `yaml:"maxConnections" json:"maxConnections"`
	ErrorRecoveryLevel int    `yaml:"errorRecoveryLevel" json:"errorRecoveryLevel"`
	HeaderDigest       Digest `yaml:"headerDigest" json:"headerDigest"`
	DataDigest         Digest `yaml:"dataDigest" json:"dataDigest"`
	InitialR2T         bool   `yaml:"initialR2T" json:"initialR2T"`
	ImmediateData      *bool  `yaml:"immediateData" json:"immediateData"` // nil: true
	MaxOutstandingR2T  int    `yaml:"maxOutstandingR2T" json:"maxOutstandingR2T"`
	MaxBurstLength     Size   `yaml:"maxBurstLength" json:"maxBurstLength"`
	FirstBurstLength   Size   `yaml:"firstBurstLength" json:"firstBurstLength"`
	MaxRecvDataSegment Size   `yaml:"maxRecvDataSegmentLength" json:"maxRecvDataSegmentLength"`
	DefaultTime2Retain int    `yaml:"defaultTime2Retain" json:"defaultTime2Retain"` // seconds

	// Bounds.
	QueueDepth       int  `yaml:"queueDepth" json:"queueDepth"` // commands of a session, for later logins
	MaxSessions      int  `yaml:"maxSessions" json:"maxSessions"`
	MaxPendingLogins int  `yaml:"maxPendingLogins" json:"maxPendingLogins"`
	MemoryLimit      Size `yaml:"memoryLimit" json:"memoryLimit"` // of the data of commands

	// Times.
	LoginTimeout  Duration `yaml:"loginTimeout" json:"loginTimeout"`
	StallTimeout  Duration `yaml:"stallTimeout" json:"stallTimeout"`
	NOPInterval   Duration `yaml:"nopInterval" json:"nopInterval"` // 0: never pinged
	LogoutTimeout Duration `yaml:"logoutTimeout" json:"logoutTimeout"`

	// DiscoveryCHAP is what discovery sessions must prove.
	DiscoveryCHAP *CHAP `yaml:"discoveryChap" json:"discoveryChap,omitempty"`
}

// PortalGroup is a portal group: the portals by which one session can come.
type PortalGroup struct {
	Tag uint16 `yaml:"tag" json:"tag"`
	// Listen are where the group's listeners are.
	Listen []netip.AddrPort `yaml:"listen" json:"listen"`
	// Advertise are, in place of them, the portals that initiators are told of:
	// where address translation is between.
	Advertise []netip.AddrPort `yaml:"advertise" json:"advertise,omitempty"`
}

// Digest is off, allow, prefer or require: allow, which is also what nothing means,
// has digests for initiators that prefer them.
type Digest string

// choice is the wire packages' form.
func (d Digest) choice() (iscsi.DigestChoice, error) {
	switch d {
	case "", "allow":
		return iscsi.DigestAllow, nil
	case "prefer":
		return iscsi.DigestPrefer, nil
	case "require":
		return iscsi.DigestRequire, nil
	}
	return 0, fmt.Errorf("%q: set it to allow, prefer or require", string(d))
}

// digestOf is choice's opposite.
func digestOf(d iscsi.DigestChoice) Digest {
	switch d {
	case iscsi.DigestPrefer:
		return "prefer"
	case iscsi.DigestRequire:
		return "require"
	default:
		return "allow"
	}
}

// Size is a number of bytes, which people write as 1048576 or as 1M.
type Size int64

// UnmarshalYAML reads a size. In JSON it is a number.
func (s *Size) UnmarshalYAML(scalar func(any) error) error {
	var text string
	if err := scalar(&text); err != nil {
		return err
	}
	n, err := bytesize.Parse(text)
	*s = Size(n)
	return err
}

// Duration is a time that people write as 30s.
type Duration time.Duration

// UnmarshalText reads a time.
func (d *Duration) UnmarshalText(text []byte) error {
	t, err := time.ParseDuration(string(text))
	if err != nil || t < 0 {
		return fmt.Errorf("%q is no time: write it as 30s, 500ms or 5m", text)
	}
	*d = Duration(t)
	return nil
}

// MarshalText writes a time.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// Listeners returns the portals to listen at, one for each listener, with the tags of
// their groups; without settings, that at def.
func (s *Settings) Listeners(def netip.AddrPort) (all []Portal) {
	for _, g := range s.groups(def) {
		for _, at := range g.Listen {
			all = append(all, Portal{at, g.Tag})
		}
	}
	return all
}

// Portal is where one listener is, and the tag of its portal group.
type Portal struct {
	Addr netip.AddrPort
	Tag  uint16
}

func (s *Settings) groups(def netip.AddrPort) []PortalGroup {
	if len(s.Portals) > 0 {
		return s.Portals
	}
	return []PortalGroup{{Tag: 1, Listen: []netip.AddrPort{def}}}
}

// apply puts the settings into the target server's form.
func (s *Settings) apply(c *target.Config) error {
	if err := s.check(); err != nil {
		return err
	}
	o := &c.Offer
	o.HeaderDigest, _ = s.HeaderDigest.choice() // checked
	o.DataDigest, _ = s.DataDigest.choice()
	o.MaxConnections, o.ErrorRecoveryLevel = s.MaxConnections, s.ErrorRecoveryLevel
	o.InitialR2T, o.NoImmediateData = s.InitialR2T, s.ImmediateData != nil && !*s.ImmediateData
	o.MaxOutstandingR2T, o.DefaultTime2Retain = s.MaxOutstandingR2T, s.DefaultTime2Retain
	o.MaxBurstLength, o.FirstBurstLength = int(s.MaxBurstLength), int(s.FirstBurstLength)
	o.MaxRecvDataSegmentLength = int(s.MaxRecvDataSegment)
	c.QueueDepth, c.MaxSessions, c.MaxPendingLogins = s.QueueDepth, s.MaxSessions, s.MaxPendingLogins
	c.MemoryLimit = int64(s.MemoryLimit)
	c.LoginTimeout, c.StallTimeout = time.Duration(s.LoginTimeout), time.Duration(s.StallTimeout)
	c.NOPInterval, c.LogoutTimeout = time.Duration(s.NOPInterval), time.Duration(s.LogoutTimeout)
	c.DiscoveryCHAP, c.PortalGroups = nil, nil
	for _, g := range s.Portals {
		c.PortalGroups = append(c.PortalGroups, target.PortalGroup{Tag: g.Tag, Portals: g.Advertise})
	}
	if s.DiscoveryCHAP != nil {
		var err error
		if c.DiscoveryCHAP, err = s.DiscoveryCHAP.server(); err != nil {
			return inField("discoveryChap", err)
		}
	}
	return nil
}

// check finds what would otherwise be taken for something else.
func (s *Settings) check() error {
	for _, n := range []struct {
		field               string
		value, least, most  int64
		what                string
		zeroMeansTheDefault bool
	}{
		{"maxConnections", int64(s.MaxConnections), 1, 32, "connections of a session", true},
		{"errorRecoveryLevel", int64(s.ErrorRecoveryLevel), 0, 2, "levels", false},
		{"maxOutstandingR2T", int64(s.MaxOutstandingR2T), 1, 65535, "R2Ts of a command", true},
		{"maxBurstLength", int64(s.MaxBurstLength), 512, 1<<24 - 1, "bytes", true},
		{"firstBurstLength", int64(s.FirstBurstLength), 512, cmp.Or(min(int64(s.MaxBurstLength), 1<<20), 1<<20), "bytes, and no more than maxBurstLength", true},
		{"maxRecvDataSegmentLength", int64(s.MaxRecvDataSegment), 512, 1 << 20, "bytes", true},
		{"defaultTime2Retain", int64(s.DefaultTime2Retain), 0, 3600, "seconds", false},
		{"queueDepth", int64(s.QueueDepth), 1, 4096, "commands of a session", true},
		{"maxSessions", int64(s.MaxSessions), 1, 65535, "sessions", true},
		{"maxPendingLogins", int64(s.MaxPendingLogins), 1, 1 << 20, "connections", true},
		{"memoryLimit", int64(s.MemoryLimit), 1 << 20, 1 << 50, "bytes", true},
	} {
		if n.zeroMeansTheDefault && n.value == 0 {
			continue
		}
		if n.value < n.least || n.value > n.most {
			return inField(n.field, fmt.Errorf("%d cannot be: set it to %d to %d %s", n.value, n.least, n.most, n.what))
		}
	}
	for field, d := range map[string]Digest{"headerDigest": s.HeaderDigest, "dataDigest": s.DataDigest} {
		if _, err := d.choice(); err != nil {
			return inField(field, err)
		}
	}
	return s.checkPortals()
}

func (s *Settings) checkPortals() error {
	tags, addrs := make(map[uint16]bool), make(map[netip.AddrPort]bool)
	for i, g := range s.Portals {
		at := func(field string, err error) error {
			return inField(fmt.Sprintf("portals[%d]", i), inField(field, err))
		}
		switch {
		case g.Tag == 0:
			return at("tag", errors.New("a portal group needs a tag, 1 to 65535"))
		case tags[g.Tag]:
			return at("tag", fmt.Errorf("there are two portal groups with tag %d: join them, or give one another tag", g.Tag))
		case len(g.Listen) == 0:
			return at("listen", errors.New("a portal group needs an address to listen at, such as 192.0.2.1:3260"))
		}
		tags[g.Tag] = true
		for _, a := range slices.Concat(g.Listen, g.Advertise) {
			if a.Port() == 0 {
				return at("listen", fmt.Errorf("%s has no port: iSCSI's is 3260", a))
			}
		}
		for _, a := range g.Listen {
			if addrs[a] {
				return at("listen", fmt.Errorf("%s is listened at twice", a))
			}
			addrs[a] = true
		}
		for _, a := range g.Advertise {
			if a.Addr().IsUnspecified() {
				return at("advertise", fmt.Errorf("%s is no address that initiators can connect to", a))
			}
		}
	}
	return nil
}
