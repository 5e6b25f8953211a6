package control

import (
	"cmp"
	"context"
	"net"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/bootlun/bootlun/iscsi"
	"github.com/bootlun/bootlun/target"
)

// Announcement is what somebody has been told of the targets.
type Announcement struct {
	By      string    `json:"by"`             // iSNS or SLP
	To      string    `json:"to"`             // the iSNS server, or the address that answers
	Targets int       `json:"targets"`        // that are told of
	Since   time.Time `json:"since,omitzero"` // of the last success
	Error   string    `json:"error,omitempty"`
}

// retryInterval is how long after a failure an announcement is tried again.
const retryInterval = 30 * time.Second

// announced is a target as others are told of it.
type announced struct {
	name, alias string
	portals     []Portal
	initiators  []string // names that may use it; none: not only names say who
}

// announcedTargets are the targets that others are to be told of, and where they are
// reached. One that is hidden, or reached by no portal, is not among them.
func (m *Manager) announcedTargets() (all []announced) {
	groups := m.server.Portals()
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, info := range m.server.Targets() {
		e := m.find(info.Name)
		if e == nil || e.spec.Hidden {
			continue
		}
		a := announced{name: info.Name, alias: info.Alias, initiators: exactNames(info.Access)}
		for _, g := range groups {
			if len(info.PortalGroups) > 0 && !slices.Contains(info.PortalGroups, g.Tag) {
				continue
			}
			for _, p := range g.Portals {
				for _, at := range reachable(p) {
					a.portals = append(a.portals, Portal{at, g.Tag})
				}
			}
		}
		if len(a.portals) > 0 {
			all = append(all, a)
		}
	}
	return all
}

// exactNames are the initiators that may use a target, if names alone say who.
func exactNames(a *target.Access) (names []string) {
	if a == nil {
		return nil
	}
	for _, r := range a.Rules {
		if r != (target.Rule{Initiator: r.Initiator}) || strings.ContainsAny(r.Initiator, `*?[\`) {
			return nil
		}
		names = append(names, r.Initiator)
	}
	return names
}

// reachable are the addresses by which a portal can be reached: its own or, if it
// is at every address, those of this machine that others can know.
func reachable(p netip.AddrPort) (all []netip.AddrPort) {
	if !p.Addr().IsUnspecified() {
		return []netip.AddrPort{p}
	}
	addrs, _ := net.InterfaceAddrs() // without them there are none
	for _, a := range addrs {
		prefix, err := netip.ParsePrefix(a.String())
		if err != nil || !prefix.Addr().IsGlobalUnicast() || p.Addr().Is4() && !prefix.Addr().Is4() {
			continue
		}
		all = append(all, netip.AddrPortFrom(prefix.Addr(), p.Port()))
	}
	return all
}

// address is the portal as initiators are told of it.
func (p Portal) address() iscsi.TargetAddress {
	return iscsi.TargetAddress{Host: p.Addr.Addr().WithZone("").String(), Port: int(p.Addr.Port()), Tag: int(p.Tag)}
}

// names is what the configuration says of who is told of the targets.
type names struct {
	isns *ISNS
	slp  *SLP
}

// announcer tells others of the targets.
type announcer struct {
	m *Manager

	mu      sync.Mutex
	want    names
	changed chan struct{} // closed when want is another
	state   []Announcement
}

// set has other settings hold from now on.
func (a *announcer) set(want names) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !reflect.DeepEqual(a.want, want) {
		a.want = want
		close(a.changed)
		a.changed = make(chan struct{})
	}
}

// tell notes how an announcement went, of so many targets.
func (a *announcer) tell(by, to string, targets int, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	i := slices.IndexFunc(a.state, func(s Announcement) bool { return s.By == by && s.To == to })
	if i < 0 {
		i = len(a.state)
		a.state = append(a.state, Announcement{By: by, To: to})
	}
	s := &a.state[i]
	s.Error = ""
	if err != nil {
		s.Error = err.Error()
		return
	}
	s.Targets, s.Since = targets, time.Now().Round(0)
}

// count notes of how many targets is told where an announcement stands.
func (a *announcer) count(by, to string, targets int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for i := range a.state {
		if s := &a.state[i]; s.By == by && s.To == to && s.Error == "" {
			s.Targets = targets
		}
	}
}

// Announce tells iSNS servers and, by SLP, everybody of the targets, as the
// configuration says, and of every change until ctx ends; then it takes back what it
// has told. Failures are logged and tried again.
func (m *Manager) Announce(ctx context.Context) {
	a := &m.announcer
	for ctx.Err() == nil {
		a.mu.Lock()
		want, changed := a.want, a.changed
		a.state = nil
		a.mu.Unlock()
		inner, cancel := context.WithCancel(ctx)
		var parts sync.WaitGroup
		if want.isns != nil {
			parts.Go(func() { a.serveISNS(inner, want.isns) })
		}
		if want.slp != nil {
			parts.Go(func() { a.serveSLP(inner, want.slp) })
		}
		select {
		case <-ctx.Done():
		case <-changed:
		}
		cancel()
		parts.Wait()
	}
}

// pause waits for a time, and reports whether ctx has not ended meanwhile.
func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// status returns how the announcements stand.
func (a *announcer) status() []Announcement {
	a.mu.Lock()
	defer a.mu.Unlock()
	all := slices.Clone(a.state)
	slices.SortFunc(all, func(a, b Announcement) int { return cmp.Or(cmp.Compare(a.By, b.By), cmp.Compare(a.To, b.To)) })
	return all
}
