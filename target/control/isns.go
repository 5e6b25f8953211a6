package control

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/bootlun/bootlun/iscsi/isns"
)

// ISNS says which iSNS servers are told of the targets (RFC 4171).
type ISNS struct {
	// Servers are their addresses, HOST or HOST:PORT.
	Servers []string `yaml:"servers" json:"servers"`
	// Entity is the name under which the targets are registered, which no other
	// machine has; without it, this machine's host name.
	Entity string `yaml:"entity,omitempty" json:"entity"`
	// Period is how long a server keeps the registration unless it is renewed,
	// which happens twice in that time; 0 means 10 minutes.
	Period Duration `yaml:"period,omitempty" json:"period"`
	// EventPort is the TCP port, at the addresses of the portals, at which servers
	// may inquire whether the machine still is there; 0 means none.
	EventPort uint16 `yaml:"eventPort,omitempty" json:"eventPort,omitempty"`
}

const (
	defaultISNSPeriod = 10 * time.Minute
	// inquiryInterval is how often servers are to inquire.
	inquiryInterval = 30 * time.Second
	// farewell is how long taking back what was told may take.
	farewell = 3 * time.Second
	// isnsTimeout is how long one exchange with a server may take.
	isnsTimeout = 10 * time.Second
)

// withDefaults returns a copy without zeros that mean something else, or what is
// wrong.
func (c *ISNS) withDefaults() (*ISNS, error) {
	if c == nil {
		return nil, nil
	}
	n := *c
	n.Servers = slices.Clone(c.Servers)
	if len(n.Servers) == 0 {
		return nil, inField("servers", errors.New("name the iSNS servers by address, such as [192.0.2.1]"))
	}
	n.Period = cmp.Or(n.Period, Duration(defaultISNSPeriod))
	if n.Period < Duration(2*time.Second) {
		return nil, inField("period", fmt.Errorf("%v is too short: set it to 2s or more", time.Duration(n.Period)))
	}
	if n.Entity == "" {
		var err error
		if n.Entity, err = os.Hostname(); err != nil {
			return nil, inField("entity", fmt.Errorf("this machine has no name: set one (%w)", err))
		}
	}
	if len(n.Entity) > 255 {
		return nil, inField("entity", fmt.Errorf("%d characters are too long: use at most 255", len(n.Entity)))
	}
	return &n, nil
}

// serveISNS keeps all servers up to date until ctx ends.
func (a *announcer) serveISNS(ctx context.Context, cfg *ISNS) {
	var parts sync.WaitGroup
	defer parts.Wait()
	events := &eventPorts{a: a, port: cfg.EventPort, open: make(map[netip.Addr]bool)}
	parts.Go(func() { events.run(ctx) })
	for _, server := range cfg.Servers {
		r := &registration{a: a, cfg: cfg, server: server}
		parts.Go(func() { r.run(ctx) })
	}
}

// registration is what one server knows, in one goroutine.
type registration struct {
	a      *announcer
	cfg    *ISNS
	server string

	nodes   []string // that are registered, or may be
	portals []isns.Portal
}

func (r *registration) run(ctx context.Context) {
	log := r.a.m.log.With("server", r.server)
	for {
		changed := r.a.m.server.Changed() // before it is looked what there is
		targets := r.a.m.announcedTargets()
		next, err := r.update(ctx, targets)
		if ctx.Err() == nil {
			r.a.tell("iSNS", r.server, len(targets), err)
			if err != nil {
				log.Warn("iSNS registration failed", "error", err, "again in", retryInterval)
				next = retryInterval
			} else {
				log.Debug("registered", "by", "iSNS", "entity", r.cfg.Entity, "targets", len(targets))
			}
		}
		timer := time.NewTimer(next)
		select {
		case <-changed:
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), farewell)
			defer cancel()
			if _, err := r.update(last, nil); err != nil {
				log.Warn("iSNS server keeps the registration until its period ends", "error", err)
			}
			return
		}
		timer.Stop()
	}
}

// update makes what the server knows what there is, and returns when to do so again.
func (r *registration) update(ctx context.Context, targets []announced) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, isnsTimeout)
	defer cancel()
	period := time.Duration(r.cfg.Period)
	if len(targets) == 0 {
		return period / 2, r.forget(ctx)
	}
	e := r.entity(targets)
	c, err := isns.Dial(ctx, r.server, e.Nodes[0].Name)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	var names, gone []string
	for _, n := range e.Nodes {
		names = append(names, n.Name)
	}
	for _, name := range r.nodes {
		if !slices.Contains(names, name) {
			gone = append(gone, name)
		}
	}
	// As a whole only where that is needed: it is as if all were away for a moment.
	replace := !slices.Equal(r.portals, e.Portals)
	r.nodes, r.portals = append(gone, names...), nil // until it is known
	if period, err = c.Register(ctx, e, replace); err != nil {
		return 0, err
	}
	if len(gone) > 0 && !replace {
		if err := c.DeregisterNodes(ctx, gone...); err != nil {
			return 0, err
		}
	}
	r.nodes, r.portals = names, e.Portals
	if period <= 0 { // for ever, but the server may lose what it knows
		period = time.Duration(r.cfg.Period)
	}
	return max(period/2, time.Second), nil
}

// forget takes everything away from the server.
func (r *registration) forget(ctx context.Context) error {
	if len(r.nodes) == 0 {
		return nil
	}
	c, err := isns.Dial(ctx, r.server, r.nodes[0])
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.Deregister(ctx, r.cfg.Entity); err != nil {
		return err
	}
	r.nodes, r.portals = nil, nil
	return nil
}

// entity is what is registered.
func (r *registration) entity(targets []announced) *isns.Entity {
	e := &isns.Entity{ID: r.cfg.Entity, Period: time.Duration(r.cfg.Period)}
	seen := make(map[netip.AddrPort]bool)
	for _, t := range targets {
		n := isns.Node{Name: t.name, Type: isns.TargetNode, Alias: t.alias}
		for _, p := range t.portals {
			n.Groups = append(n.Groups, isns.Group{Addr: p.Addr, Tag: p.Tag})
			if seen[p.Addr] {
				continue
			}
			seen[p.Addr] = true
			portal := isns.Portal{Addr: p.Addr}
			if r.cfg.EventPort != 0 {
				portal.EventPort, portal.ESIInterval = r.cfg.EventPort, inquiryInterval
			}
			e.Portals = append(e.Portals, portal)
		}
		e.Nodes = append(e.Nodes, n)
	}
	slices.SortFunc(e.Portals, func(a, b isns.Portal) int { return a.Addr.Compare(b.Addr) })
	return e
}

// eventPorts answers servers that inquire, at the address of every portal.
type eventPorts struct {
	a    *announcer
	port uint16
	open map[netip.Addr]bool
}

func (e *eventPorts) run(ctx context.Context) {
	if e.port == 0 {
		return
	}
	var parts sync.WaitGroup
	defer parts.Wait()
	for {
		changed := e.a.m.server.Changed()
		for _, t := range e.a.m.announcedTargets() {
			for _, p := range t.portals {
				if at := p.Addr.Addr(); !e.open[at] {
					e.open[at] = true
					parts.Go(func() { e.serve(ctx, at) })
				}
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-changed:
		}
	}
}

func (e *eventPorts) serve(ctx context.Context, at netip.Addr) {
	address := net.JoinHostPort(at.String(), strconv.Itoa(int(e.port)))
	for {
		l, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
		if err == nil {
			err = isns.ServeEvents(ctx, l, e.a.m.log, nil)
		}
		if ctx.Err() != nil {
			return
		}
		e.a.m.log.Warn("iSNS servers cannot inquire", "address", address, "error", err, "again in", retryInterval)
		if !pause(ctx, retryInterval) {
			return
		}
	}
}
