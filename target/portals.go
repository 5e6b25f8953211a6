package target

import (
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/bootlun/bootlun/iscsi"
)

// PortalGroup is a set of addresses by which a session's connections may come
// (RFC 7143, 4.4.1): all connections of a session come by portals of one group.
type PortalGroup struct {
	// Tag names the group, from 1 on.
	Tag uint16

	// Portals are the addresses that discovery tells of. None means those that
	// the group's listeners have, or if they listen on every address the one
	// that the asking initiator has connected to; that is right unless there is
	// address translation.
	Portals []netip.AddrPort
}

func checkPortalGroups(groups []PortalGroup) error {
	seen := make(map[uint16]bool)
	for i, g := range groups {
		if g.Tag == 0 {
			return fmt.Errorf("target: PortalGroups[%d] has no tag", i)
		}
		if seen[g.Tag] {
			return fmt.Errorf("target: there are two portal groups with tag %d", g.Tag)
		}
		seen[g.Tag] = true
		if slices.ContainsFunc(g.Portals, func(p netip.AddrPort) bool { return !p.IsValid() || p.Port() == 0 }) {
			return fmt.Errorf("target: portal group %d has a portal without address or port", g.Tag)
		}
	}
	return nil
}

// group returns a portal group of the configuration.
func (c *Config) group(tag uint16) (*PortalGroup, error) {
	for i := range c.PortalGroups {
		if c.PortalGroups[i].Tag == tag {
			return &c.PortalGroups[i], nil
		}
	}
	return nil, fmt.Errorf("target: there is no portal group %d", tag)
}

// listen notes that a listener serves a portal group, until the returned
// function is called.
func (s *Server) listen(l net.Listener, tag uint16) (done func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.listeners[l] = tag
	s.tellChanged()
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.listeners, l)
		s.tellChanged()
	}
}

// addressesOf are the portals by which a target can be reached, to tell the
// initiator of a connection.
func (c *conn) addressesOf(t *target) []iscsi.TargetAddress {
	var all []iscsi.TargetAddress
	for _, g := range c.srv.config().PortalGroups {
		if !t.settings.Load().in(g.Tag) {
			continue
		}
		for _, p := range c.portals(&g) {
			all = append(all, iscsi.TargetAddress{
				Host: p.Addr().WithZone("").Unmap().String(), Port: int(p.Port()), Tag: int(g.Tag),
			})
		}
	}
	return all
}

// portals are the addresses of a portal group.
func (c *conn) portals(g *PortalGroup) []netip.AddrPort {
	if len(g.Portals) > 0 {
		return g.Portals
	}
	var all []netip.AddrPort
	if own, err := addrPort(c.nc.LocalAddr()); err == nil && c.v.group.Tag == g.Tag {
		all = append(all, own)
	}
	c.srv.mu.Lock()
	defer c.srv.mu.Unlock()
	for l, tag := range c.srv.listeners {
		p, err := addrPort(l.Addr())
		if err == nil && tag == g.Tag && !p.Addr().IsUnspecified() && !slices.Contains(all, p) {
			all = append(all, p)
		}
	}
	own := min(1, len(all))
	slices.SortFunc(all[own:], netip.AddrPort.Compare)
	return all
}

// Portals returns the portal groups that are served now, with the addresses of their
// listeners where the configuration does not say which to tell of.
func (s *Server) Portals() (groups []PortalGroup) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, g := range s.config().PortalGroups {
		own, served := PortalGroup{Tag: g.Tag, Portals: g.Portals}, false
		for l, tag := range s.listeners {
			if tag != g.Tag {
				continue
			}
			served = true
			if p, err := addrPort(l.Addr()); err == nil && len(g.Portals) == 0 {
				own.Portals = append(own.Portals, p)
			}
		}
		if !served {
			continue
		}
		if len(g.Portals) == 0 {
			slices.SortFunc(own.Portals, netip.AddrPort.Compare)
		}
		groups = append(groups, own)
	}
	return groups
}

// Changed returns a channel that is closed when, from now on, a target comes, goes or
// gets other settings, or a listener begins or ends to be served: for those who tell
// others where the targets are.
func (s *Server) Changed() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed
}

// tellChanged wakes those who wait for a change. The caller holds s.mu.
func (s *Server) tellChanged() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// addrPort is an address of the Internet.
func addrPort(a net.Addr) (netip.AddrPort, error) {
	p, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return netip.AddrPort{}, err
	}
	return netip.AddrPortFrom(p.Addr().Unmap(), p.Port()), nil
}

// in reports whether the target can be reached by a portal group.
func (s *targetSettings) in(tag uint16) bool {
	return len(s.portalGroups) == 0 || slices.Contains(s.portalGroups, tag)
}
