package target

import (
	"cmp"
	"fmt"
	"maps"
	"path"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bootlun/bootlun/iscsi"
)

// target is a Target being served. What can change meanwhile is replaced whole,
// so that those who read it need no lock.
type target struct {
	name     string // normalised
	port     *port
	settings atomic.Pointer[targetSettings]
	units    atomic.Pointer[unitSet]

	// changing is held while units changes, and while a session joins or leaves
	// them. It comes before Server.mu.
	changing sync.Mutex
	past     map[int]Counts // of nexuses that are no more, by LUN; guarded by changing
}

// targetSettings are what logins ask of a target. Nobody changes one.
type targetSettings struct {
	alias    string
	chap     *iscsi.CHAPServer
	allowed  []string // patterns of initiators; none: all are
	draining bool     // takes no logins; set under Server.mu
}

// unitSet is a target's units. Nobody changes one.
type unitSet struct {
	byNumber map[int]*unit
	luns     []uint64 // of the units, in the coding of REPORT LUNS, ascending
}

// targetSet is a server's targets. Nobody changes one.
type targetSet struct {
	byName map[string]*target // by normalised name
	names  []string           // in the order in which they came
}

func (s *Server) newTarget(cfg *Target) (*target, error) {
	name, _ := iscsi.ParseName(cfg.Name) // checked before
	t := &target{name: name, past: make(map[int]Counts), port: s.devices.addPort(portID{name, s.cfg.PortalGroupTag}, cmp.Or(cfg.PortGroup, defaultPortGroup))}
	t.settings.Store(newSettings(cfg))
	units := make(map[int]*unit)
	t.units.Store(newUnitSet(units))
	for _, l := range cfg.LUNs {
		u, err := s.devices.open(l, location{t, l.Number})
		if err != nil {
			s.devices.closeAll(t)
			return nil, fmt.Errorf("target %s: LUN %d: %w", name, l.Number, err)
		}
		units[l.Number] = u
		t.units.Store(newUnitSet(units))
	}
	return t, nil
}

func newSettings(cfg *Target) *targetSettings {
	s := &targetSettings{alias: cfg.Alias, allowed: slices.Clone(cfg.AllowedInitiators)}
	if cfg.CHAP != nil {
		chap := *cfg.CHAP
		chap.Users = slices.Clone(chap.Users)
		s.chap = &chap
	}
	return s
}

// newUnitSet takes the map over.
func newUnitSet(units map[int]*unit) *unitSet {
	set := &unitSet{byNumber: units}
	for number := range units {
		lun, _ := iscsi.MakeLUN(number) // checked before
		set.luns = append(set.luns, uint64(lun))
	}
	slices.Sort(set.luns)
	return set
}

// each returns the units, each once though it may have several numbers.
func (set *unitSet) each() map[*unit]struct{} {
	all := make(map[*unit]struct{})
	for _, u := range set.byNumber {
		all[u] = struct{}{}
	}
	return all
}

// with returns the set with one more target.
func (set *targetSet) with(t *target) *targetSet {
	byName := maps.Clone(set.byName)
	byName[t.name] = t
	return &targetSet{byName, append(slices.Clone(set.names), t.name)}
}

// without returns the set with one target less.
func (set *targetSet) without(t *target) *targetSet {
	byName := maps.Clone(set.byName)
	delete(byName, t.name)
	return &targetSet{byName, slices.DeleteFunc(slices.Clone(set.names), func(n string) bool { return n == t.name })}
}

// target returns the target of a normalised name, nil if there is none.
func (s *Server) target(name string) *target { return s.targets.Load().byName[name] }

// sessionsOf returns the sessions of a target.
func (s *Server) sessionsOf(t *target) []*session {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []*session
	for _, sess := range s.sessions {
		if sess.target == t {
			all = append(all, sess)
		}
	}
	return all
}

// allows tells whether the target exists for an initiator.
func (t *target) allows(initiator string) bool {
	allowed := t.settings.Load().allowed
	if len(allowed) == 0 {
		return true
	}
	return slices.ContainsFunc(allowed, func(pattern string) bool {
		ok, _ := path.Match(pattern, initiator) // checked before
		return ok
	})
}

// join makes the session an I_T nexus of each of its target's units.
func (s *session) join() {
	if s.target == nil {
		return
	}
	s.target.changing.Lock()
	defer s.target.changing.Unlock()
	units := s.target.units.Load().byNumber
	nexuses := make(map[int]*nexus, len(units))
	for number, u := range units {
		nexuses[number] = u.join(s)
	}
	s.nexuses.Store(&nexuses)
}

// leave is join's opposite.
func (s *session) leave() {
	if s.target == nil {
		return
	}
	s.target.changing.Lock()
	defer s.target.changing.Unlock()
	if nexuses := s.nexuses.Swap(nil); nexuses != nil {
		for number, n := range *nexuses {
			n.leave()
			past, counts := s.target.past[number], n.meter.counts()
			past.add(&counts)
			s.target.past[number] = past
		}
	}
}

// nexus returns what the session is to a unit of its target, nil if there is no
// such unit.
func (s *session) nexus(number int) *nexus {
	nexuses := s.nexuses.Load()
	if nexuses == nil {
		return nil
	}
	return (*nexuses)[number]
}

// askToLogOut asks the session's initiator to end it.
func (s *session) askToLogOut(within time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.conns {
		c.spawn(func() { c.askToLogOut(within) })
	}
}
