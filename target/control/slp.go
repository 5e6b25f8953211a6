package control

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"

	"github.com/bootlun/bootlun/iscsi/slp"
)

// SLP says where the targets can be found by the Service Location Protocol
// (RFC 4018).
type SLP struct {
	// Addresses are those of this machine, one of each network on which initiators
	// look for targets; without any, those of the portals.
	Addresses []netip.Addr `yaml:"addresses" json:"addresses,omitempty"`
	// Scopes are those in which the targets are; none means DEFAULT.
	Scopes []string `yaml:"scopes" json:"scopes,omitempty"`
	// DirectoryAgents, HOST or HOST:PORT, are told beside those that make themselves
	// known.
	DirectoryAgents []string `yaml:"directoryAgents" json:"directoryAgents,omitempty"`
	// Port is the agent's port; 0 means SLP's own, 427.
	Port uint16 `yaml:"port" json:"port,omitempty"`
}

func (c *SLP) check() error {
	if c == nil {
		return nil
	}
	for i, a := range c.Addresses {
		if a.IsUnspecified() || a.IsMulticast() {
			return inField(fmt.Sprintf("addresses[%d]", i), errors.New(a.String()+" is no address of this machine: name one of the network on which initiators look"))
		}
	}
	return nil
}

// serveSLP has an agent at each address until ctx ends.
func (a *announcer) serveSLP(ctx context.Context, cfg *SLP) {
	var parts sync.WaitGroup
	defer parts.Wait()
	begun := make(map[netip.Addr]bool)
	for {
		changed := a.m.server.Changed()
		addrs := cfg.Addresses
		if len(addrs) == 0 {
			addrs = portalAddresses(a.m.announcedTargets())
		}
		for _, at := range addrs {
			if !begun[at] {
				begun[at] = true
				parts.Go(func() { a.serveAgent(ctx, cfg, at) })
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-changed:
		}
	}
}

func portalAddresses(targets []announced) (all []netip.Addr) {
	for _, t := range targets {
		for _, p := range t.portals {
			if at := p.Addr.Addr(); !slices.Contains(all, at) {
				all = append(all, at)
			}
		}
	}
	return all
}

// serveAgent runs an agent, again after each failure.
func (a *announcer) serveAgent(ctx context.Context, cfg *SLP, at netip.Addr) {
	agent := &slp.Agent{Addr: at, Scopes: cfg.Scopes, DirectoryAgents: cfg.DirectoryAgents, Logger: a.m.log}
	var parts sync.WaitGroup
	defer parts.Wait()
	parts.Go(func() { a.keepServices(ctx, agent) })
	for {
		sockets, err := slp.Listen(ctx, at, cfg.Port)
		if err == nil {
			a.tell("SLP", at.String(), len(a.m.announcedTargets()), nil)
			err = agent.Serve(ctx, sockets)
		}
		if ctx.Err() != nil {
			return
		}
		a.tell("SLP", at.String(), 0, err)
		a.m.log.Warn("SLP agent failed", "address", at, "error", err, "again in", retryInterval)
		if !pause(ctx, retryInterval) {
			return
		}
	}
}

// keepServices has an agent know the targets.
func (a *announcer) keepServices(ctx context.Context, agent *slp.Agent) {
	for {
		changed := a.m.server.Changed()
		targets := a.m.announcedTargets()
		var services []slp.Service
		for _, t := range targets {
			for _, p := range t.portals {
				services = append(services, slp.Target(t.name, t.alias, p.address(), t.initiators...))
			}
		}
		agent.Set(services)
		a.count("SLP", agent.Addr.String(), len(targets))
		select {
		case <-ctx.Done():
			return
		case <-changed:
		}
	}
}
