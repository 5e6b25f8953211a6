package bootserver

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/bootlun/bootlun/iscsi"
	"github.com/bootlun/bootlun/netboot"
	"github.com/bootlun/bootlun/target"
	"github.com/bootlun/bootlun/target/store"
	"golang.org/x/sync/errgroup"
)

// Server serves machines from their first DHCP request to their disk.
type Server struct {
	cfg    Config
	boot   *netboot.Server
	target *target.Server
	disks  disks
	ready  chan struct{}
}

// New checks a configuration and opens its disks. Close the server if it is
// not run.
func New(c Config) (_ *Server, err error) {
	s := &Server{
		cfg: c, ready: make(chan struct{}),
		disks: disks{cfg: c.Disks, shared: make(map[string]store.Store), log: c.Logger},
	}
	defer func() {
		if err != nil {
			s.Close()
		}
	}()
	if s.boot, err = netboot.New(c.Config); err != nil {
		return nil, err
	}
	targets := make([]*target.Target, len(c.Targets))
	for i, t := range c.Targets {
		if targets[i], err = s.disks.target(t); err != nil {
			return nil, err
		}
	}
	groups := make([]target.PortGroup, len(c.PortGroups))
	for i, g := range c.PortGroups {
		groups[i] = target.PortGroup(g)
	}
	s.target, err = target.New(target.Config{Targets: targets, PortGroups: groups, Logger: c.Logger})
	return s, err
}

// Ready is closed when every socket is bound.
func (s *Server) Ready() <-chan struct{} { return s.ready }

// Run serves until ctx ends, which is no error, or a part fails, which ends
// the others. It closes the disks.
func (s *Server) Run(ctx context.Context, network netboot.Network) (err error) {
	defer func() {
		if !errors.Is(err, target.ErrStoreHangs) {
			err = errors.Join(err, s.Close())
		}
	}()
	group, ctx := errgroup.WithContext(ctx)
	if len(s.cfg.Targets) > 0 {
		port := cmp.Or(s.cfg.ISCSIPort, iscsi.DefaultPort)
		listener, err := network.Listen(ctx, "tcp", netip.AddrPortFrom(s.cfg.Addr.Addr(), port).String())
		if err != nil {
			return fmt.Errorf("iSCSI target: %w", err)
		}
		group.Go(func() error {
			if err := s.target.Serve(ctx, listener); !errors.Is(err, target.ErrServerClosed) || errors.Is(err, target.ErrStoreHangs) {
				return err
			}
			return nil
		})
	}
	group.Go(func() error { return s.boot.Run(ctx, network) })
	group.Go(func() error {
		select {
		case <-s.boot.Ready():
			close(s.ready)
		case <-ctx.Done():
		}
		return nil
	})
	return group.Wait()
}

// Close flushes and closes the disks, the last opened first: an overlay before its base.
func (s *Server) Close() error {
	var errs []error
	for _, s := range slices.Backward(s.disks.opened) {
		errs = append(errs, s.Flush(), s.Close())
	}
	s.disks.opened = nil
	return errors.Join(errs...)
}
