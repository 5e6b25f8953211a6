package slp

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"
)

const (
	defaultLifetime = time.Hour
	// maxLifetime is what a URL entry can say.
	maxLifetime = 65535 * time.Second
	// maxDirectories bounds how many an agent registers with: anybody can say that
	// it is one.
	maxDirectories = 16
	// retryInterval is how long after a failure a directory agent is told again.
	retryInterval = 30 * time.Second
	// farewell is how long services may take to be taken away at the end.
	farewell = 3 * time.Second
)

func (a *Agent) lifetime() time.Duration {
	return min(cmp.Or(a.Lifetime, defaultLifetime), maxLifetime)
}

// directories keeps directory agents up to date, in one goroutine.
type directories struct {
	agent *Agent
	known map[string]*directory // by address
}

// directory is a directory agent.
type directory struct {
	boot       uint32
	registered map[string]bool // the URLs that it has
}

func newDirectory(boot uint32) *directory { return &directory{boot, make(map[string]bool)} }

func (d *directories) run(ctx context.Context, adverts <-chan *DirectoryAgent) {
	for _, address := range d.agent.DirectoryAgents {
		d.known[withPort(address, Port)] = newDirectory(0)
	}
	next := time.Now()
	for {
		services, changed := d.agent.current()
		renew := time.NewTimer(time.Until(next))
		select {
		case <-ctx.Done():
			renew.Stop()
			d.leave(context.WithoutCancel(ctx))
			return
		case <-renew.C:
			next = time.Now().Add(d.renew(ctx, services))
		case <-changed:
			next = time.Now()
		case advert := <-adverts:
			if d.heard(ctx, advert) {
				next = time.Now()
			}
		}
		renew.Stop()
	}
}

// heard takes in what a directory agent says of itself, and reports whether it must
// be told of the services.
func (d *directories) heard(ctx context.Context, advert *DirectoryAgent) bool {
	address, ok := strings.CutPrefix(advert.URL, directoryType+"://")
	if !ok || address == "" || advert.Code != CodeOK || d.agent.check(advert.Scopes, "") != CodeOK {
		return false
	}
	address = withPort(strings.TrimSuffix(address, "/"), Port)
	known := d.known[address]
	switch {
	case advert.Boot == 0: // it ends
		delete(d.known, address)
		return false
	case known != nil && known.boot == advert.Boot, known == nil && len(d.known) >= maxDirectories:
		return false
	}
	d.agent.log().InfoContext(ctx, "SLP directory agent", "address", address)
	d.known[address] = newDirectory(advert.Boot) // one that has started again knows nothing
	return true
}

// renew tells all of all services, and returns when to do so again.
func (d *directories) renew(ctx context.Context, services []Service) time.Duration {
	next := d.agent.lifetime() / 2
	for address, known := range d.known {
		if err := d.update(ctx, address, known, services); err != nil && ctx.Err() == nil {
			d.agent.log().WarnContext(ctx, "SLP registration failed", "directory", address, "error", err)
			next = min(next, retryInterval)
		}
	}
	return next
}

// update makes what a directory agent knows of the services what they are.
func (d *directories) update(ctx context.Context, address string, known *directory, services []Service) error {
	wanted := make(map[string]bool)
	for _, s := range services {
		wanted[s.URL] = true
	}
	for url := range known.registered {
		if wanted[url] {
			continue
		}
		if err := d.tell(ctx, address, &Deregister{Scopes: d.agent.scopes(), URL: URL{URL: url}}); err != nil {
			return err
		}
		delete(known.registered, url)
	}
	for _, s := range services {
		err := d.tell(ctx, address, &Register{
			URL: URL{s.URL, d.agent.lifetime()}, Type: s.Type, Scopes: d.agent.scopes(), Attributes: s.Attributes.String(),
		})
		if err != nil {
			return err
		}
		known.registered[s.URL] = true
	}
	return nil
}

// leave takes the services away from all.
func (d *directories) leave(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, farewell)
	defer cancel()
	for address, known := range d.known {
		if err := d.update(ctx, address, known, nil); err != nil {
			d.agent.log().WarnContext(ctx, "SLP services stay registered until their lifetime ends", "directory", address, "error", err)
		}
	}
}

// tell sends a registration and takes its acknowledgement.
func (d *directories) tell(ctx context.Context, address string, body Body) error {
	flags := uint16(0)
	if _, ok := body.(*Register); ok {
		flags = FlagFresh
	}
	m, err := exchange(ctx, address, flags, body)
	if err != nil {
		return err
	}
	ack, ok := m.Body.(*Ack)
	switch {
	case !ok:
		return fmt.Errorf("SLP agent %s: %w: a registration is answered by %T", address, ErrBadMessage, m.Body)
	case ack.Code != CodeOK:
		return fmt.Errorf("SLP agent %s: %w", address, ack.Code)
	}
	return nil
}
