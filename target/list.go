package target

import (
	"cmp"
	"encoding/hex"
	"slices"
)

// TargetInfo describes a target at one moment.
type TargetInfo struct {
	Name              string
	Alias             string
	CHAPUsers         []string // the names that may log in; none: without CHAP
	CHAPTarget        string   // the name by which it proves itself; may be empty
	AllowedInitiators []string
	Access            *Access  // who may use it, AllowedInitiators included; nil: everybody
	PortalGroups      []uint16 // by which it can be reached; none: all
	Draining          bool     // refuses logins
	LUNs              []LUNInfo
}

// LUNInfo describes a LUN at one moment.
type LUNInfo struct {
	Number       int
	Size         int64 // in bytes, as initiators see it
	BlockSize    int
	ReadOnly     bool
	WriteThrough bool
	Removable    bool
	Thin         bool // gives back space that initiators discard
	Vendor       string
	Product      string
	Serial       string
	NAA          string // the identifier in VPD page 83h, in hexadecimal
	Sessions     int    // of the target
	Counts       Counts // commands so far, of all sessions with the target
	Tasks        int    // commands under way
}

// Targets returns the targets that there are now, in the order in which they
// came, with their LUNs by number.
func (s *Server) Targets() []TargetInfo {
	set := s.targets.Load()
	infos := make([]TargetInfo, 0, len(set.names))
	for _, name := range set.names {
		infos = append(infos, s.targetInfo(set.byName[name]))
	}
	return infos
}

func (s *Server) targetInfo(t *target) TargetInfo {
	settings := t.settings.Load()
	info := TargetInfo{
		Name: t.name, Alias: settings.alias, AllowedInitiators: slices.Clone(settings.allowed), Draining: settings.draining,
		Access: settings.access.clone(), PortalGroups: slices.Clone(settings.portalGroups),
	}
	if settings.chap != nil {
		info.CHAPTarget = settings.chap.Target.Name
		for _, u := range settings.chap.Users {
			info.CHAPUsers = append(info.CHAPUsers, u.Name)
		}
	}
	t.changing.Lock()
	defer t.changing.Unlock()
	sessions := s.sessionsOf(t)
	for number, u := range t.units.Load().byNumber {
		l := u.info(number)
		l.Counts = t.past[number]
		for _, sess := range sessions {
			if n := sess.nexus(number); n != nil {
				counts := n.meter.counts()
				l.Counts.add(&counts)
				l.Tasks += int(n.meter.underway.Load())
				l.Sessions++
			}
		}
		info.LUNs = append(info.LUNs, l)
	}
	slices.SortFunc(info.LUNs, func(a, b LUNInfo) int { return cmp.Compare(a.Number, b.Number) })
	return info
}

// info describes the unit as a LUN, but for what sessions do to it.
func (u *unit) info(number int) LUNInfo {
	return LUNInfo{
		Number: number, Size: int64(u.blocks.Load()) << u.shift, BlockSize: int(u.blockSize()),
		ReadOnly: u.readOnly, WriteThrough: u.writeThrough, Removable: u.removable, Thin: u.thin,
		Vendor: u.inquiry.Vendor, Product: u.inquiry.Product, Serial: u.serial, NAA: hex.EncodeToString(u.naa[:]),
	}
}

// counts returns what the session's commands have come to, LUNs that it has no
// more included.
func (s *session) counts() Counts {
	if s.target == nil {
		return Counts{}
	}
	s.target.changing.Lock()
	defer s.target.changing.Unlock()
	all := s.past
	if nexuses := s.nexuses.Load(); nexuses != nil {
		for _, n := range *nexuses {
			counts := n.meter.counts()
			all.add(&counts)
		}
	}
	return all
}
