package target

import (
	"cmp"
	"fmt"
	"iter"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bootlun/bootlun/iscsi"
)

// target is a Target being served. What can change meanwhile is replaced whole,
// so that those who read it need no lock.
type target struct {
	name     string  // normalised
	ports    []*port // one for each of the server's portal groups
	settings atomic.Pointer[targetSettings]
	units    atomic.Pointer[unitSet]

	// changing is held while units changes, and while a session joins or leaves
	// them. It comes before Server.mu.
	changing sync.Mutex
	past     map[int]Counts // of nexuses that are no more, by LUN; guarded by changing
}

// targetSettings are what logins ask of a target. Nobody changes one.
type targetSettings struct {
	alias         string
	chap          *iscsi.CHAPServer
	initiatorCHAP []InitiatorCHAP // exceptions from chap
	allowed       []string        // patterns of initiators, for people; access has them too
	access        *Access
	portalGroups  []uint16 // none: all
	redirect      *Redirect

	tellsAttentions bool
	draining        bool // takes no logins; set under Server.mu
}

// unitSet is a target's units. Nobody changes one.
type unitSet struct {
	byNumber map[int]*unit
	access   map[int]*Access // who may use a unit
}

// targetSet is a server's targets. Nobody changes one.
type targetSet struct {
	byName map[string]*target // by normalised name
	names  []string           // in the order in which they came
}

func (s *Server) newTarget(cfg *Target) (*target, error) {
	name, _ := iscsi.ParseName(cfg.Name) // checked before
	t := &target{name: name, past: make(map[int]Counts)}
	for _, g := range s.config().PortalGroups {
		t.ports = append(t.ports, s.devices.addPort(portID{name, g.Tag}, cmp.Or(cfg.PortGroup, defaultPortGroup)))
	}
	t.settings.Store(newSettings(cfg))
	units, rules := make(map[int]*unit), make(map[int]*Access)
	t.units.Store(newUnitSet(units, rules))
	for _, l := range cfg.LUNs {
		u, err := s.devices.open(l, location{t, l.Number})
		if err != nil {
			s.devices.closeAll(t)
			return nil, fmt.Errorf("target %s: LUN %d: %w", name, l.Number, err)
		}
		units[l.Number], rules[l.Number] = u, l.Access.clone()
		t.units.Store(newUnitSet(units, rules))
	}
	return t, nil
}

func newSettings(cfg *Target) *targetSettings {
	s := &targetSettings{
		alias: cfg.Alias, chap: cloneCHAP(cfg.CHAP), allowed: slices.Clone(cfg.AllowedInitiators), access: accessOf(cfg),
		portalGroups: slices.Clone(cfg.PortalGroups), tellsAttentions: cfg.TellAttentions,
	}
	for _, i := range cfg.InitiatorCHAP {
		s.initiatorCHAP = append(s.initiatorCHAP, InitiatorCHAP{i.Initiator, cloneCHAP(i.CHAP)})
	}
	if cfg.Redirect != nil {
		redirect := *cfg.Redirect
		s.redirect = &redirect
	}
	return s
}

// cloneCHAP returns a copy that nobody else has.
func cloneCHAP(cfg *iscsi.CHAPServer) *iscsi.CHAPServer {
	if cfg == nil {
		return nil
	}
	chap := *cfg
	chap.Users = slices.Clone(chap.Users)
	return &chap
}

// newUnitSet takes the maps over.
func newUnitSet(units map[int]*unit, access map[int]*Access) *unitSet {
	return &unitSet{byNumber: units, access: access}
}

// reachable yields the ports by which the target can be reached.
func (t *target) reachable() iter.Seq[*port] {
	return func(yield func(*port) bool) {
		settings := t.settings.Load()
		for _, p := range t.ports {
			if settings.in(p.tag) && !yield(p) {
				return
			}
		}
	}
}

// portOf returns the port of a portal group.
func (t *target) portOf(tag uint16) *port {
	return t.ports[slices.IndexFunc(t.ports, func(p *port) bool { return p.tag == tag })]
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

// allows tells whether the target exists for an initiator that comes by a portal
// group.
func (t *target) allows(who *identity, tag uint16) bool {
	settings := t.settings.Load()
	return settings.in(tag) && settings.access.admits(who)
}

// join makes the session an I_T nexus of each of its target's units that it may
// use.
func (s *session) join() {
	if s.target == nil {
		return
	}
	s.target.changing.Lock()
	defer s.target.changing.Unlock()
	units := s.target.units.Load()
	nexuses := make(map[int]*nexus, len(units.byNumber))
	for number, u := range units.byNumber {
		if units.access[number].admits(&s.who) {
			nexuses[number] = u.join(s)
		}
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

// luns returns the units that the session has, in the coding of REPORT LUNS,
// ascending.
func (s *session) luns() []uint64 {
	var luns []uint64
	for number := range *s.nexuses.Load() {
		lun, _ := iscsi.MakeLUN(number) // checked before
		luns = append(luns, uint64(lun))
	}
	slices.Sort(luns)
	return luns
}

// askToLogOut asks the session's initiator to end it.
func (s *session) askToLogOut(within time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.conns {
		c.spawn(func() { c.askToLogOut(within) })
	}
}
