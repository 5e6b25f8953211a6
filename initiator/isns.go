package initiator

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/bootlun/bootlun/iscsi"
	"github.com/bootlun/bootlun/iscsi/isns"
)

// ISNS finds targets by an iSNS server (RFC 4171).
type ISNS struct {
	// Server is HOST or HOST:PORT; the port is 3205 if left out.
	Server string
	// Initiator is the iSCSI name of who asks; the server tells of the targets in its
	// discovery domains.
	Initiator string
}

// Targets asks the server.
func (s ISNS) Targets(ctx context.Context) ([]iscsi.TargetRecord, error) {
	c, err := isns.Dial(ctx, s.Server, s.Initiator)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	return c.Targets(ctx)
}

// isnsRenewal is how often a registration is renewed if the server keeps it for ever:
// it may have lost it.
const isnsRenewal = time.Hour

// Watch registers the initiator with the server, has it tell of changes (State Change
// Notifications), and calls changed with the targets that there are, at first and
// after each change, one call after the other. It returns when ctx ends, having taken
// the registration back, or with the error of the server; who wants to go on then
// calls it again.
func (s ISNS) Watch(ctx context.Context, changed func([]iscsi.TargetRecord)) error {
	nc, err := new(net.Dialer).DialContext(ctx, "tcp", isns.WithPort(s.Server))
	if err != nil {
		return fmt.Errorf("iSNS server %s: %w", s.Server, err)
	}
	c := isns.NewClient(nc, s.Initiator)
	defer c.Close()
	local, err := netip.ParseAddrPort(nc.LocalAddr().String())
	if err != nil {
		return fmt.Errorf("iSNS server %s: own address: %w", s.Server, err)
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", netip.AddrPortFrom(local.Addr(), 0).String())
	if err != nil {
		return fmt.Errorf("iSNS: listen for events: %w", err)
	}
	w := &isnsWatch{c: c, name: s.Initiator, events: make(chan struct{}, 1), changed: changed}
	port := uint16(l.Addr().(*net.TCPAddr).Port)
	w.entity = isns.Entity{
		ID:      s.Initiator,
		Portals: []isns.Portal{{Addr: netip.AddrPortFrom(local.Addr().Unmap(), port), EventPort: port}},
		Nodes:   []isns.Node{{Name: s.Initiator, Type: isns.InitiatorNode}},
	}
	return w.run(ctx, l)
}

// isnsWatch is one registration.
type isnsWatch struct {
	c       *isns.Client
	name    string
	entity  isns.Entity
	events  chan struct{}
	changed func([]iscsi.TargetRecord)
}

func (w *isnsWatch) run(ctx context.Context, l net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	served := make(chan error, 1)
	wg.Go(func() {
		served <- isns.ServeEvents(ctx, l, nil, func(isns.Event) { signal(w.events) })
	})
	err := w.follow(ctx, served)
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		err = nil
	}
	bye, stop := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer stop()
	if derr := w.c.Deregister(bye, w.entity.ID); err == nil {
		err = derr
	}
	return err
}

// follow registers, and asks for targets whenever there is a reason.
func (w *isnsWatch) follow(ctx context.Context, served <-chan error) error {
	period, err := w.c.Register(ctx, &w.entity, true)
	if err != nil {
		return err
	}
	const wanted = isns.ChangesOfTargets | isns.Removed | isns.Added | isns.Updated | isns.LeftDomain | isns.JoinedDomain
	if err := w.c.Watch(ctx, wanted); err != nil {
		return err
	}
	renewal := isnsRenewal
	if period > 0 {
		renewal = period / 2
	}
	renew := time.NewTicker(max(renewal, time.Second))
	defer renew.Stop()
	for {
		targets, err := w.c.Targets(ctx)
		if err != nil {
			return err
		}
		w.changed(targets)
		select {
		case <-w.events:
		case <-renew.C:
			if _, err := w.c.Register(ctx, &w.entity, false); err != nil {
				return err
			}
		case err := <-served:
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
