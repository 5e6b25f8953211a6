package bootserver

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"

	"github.com/bootlun/bootlun/iscsi"
	"github.com/bootlun/bootlun/netboot"
	"github.com/bootlun/bootlun/target"
	"github.com/bootlun/bootlun/target/control"
	"golang.org/x/sync/errgroup"
)

// Server serves machines from their first DHCP request to their disk.
type Server struct {
	cfg     Config
	log     *slog.Logger
	boot    *netboot.Server
	targets *control.Manager
	ready   chan struct{}
}

// New checks a configuration and opens its disks. Close the server if it is
// not run.
func New(c Config) (*Server, error) {
	s := &Server{cfg: c, log: c.Logger, ready: make(chan struct{})}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	var err error
	if s.boot, err = netboot.New(c.Config); err != nil {
		return nil, err
	}
	s.targets, err = control.New(c.target())
	return s, err
}

// target is what the iSCSI target is to be.
func (c *Config) target() control.Config {
	state := c.TargetState
	if state == none {
		state = ""
	}
	return control.Config{
		Targets: c.Targets, Disks: c.Disks, ISCSI: c.ISCSI, PortGroups: c.PortGroups, ISNS: c.ISNS, SLP: c.SLP,
		Where: c.where, StateFile: state, Server: target.Config{Logger: c.Logger},
	}
}

// none is what a setting says that is to have no default.
const none = "none"

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
	serve := func(what string, l net.Listener, err error, f func(net.Listener) error) {
		group.Go(func() error { // also where it fails, as that ends the others
			if err == nil {
				err = f(l)
			}
			if err != nil {
				return fmt.Errorf("%s: %w", what, err)
			}
			return nil
		})
	}
	for _, p := range s.portals() {
		l, err := network.Listen(ctx, "tcp", p.Addr.String())
		serve("iSCSI target", l, err, func(l net.Listener) error {
			if err := s.targets.Server().ServePortal(ctx, l, p.Tag); !errors.Is(err, target.ErrServerClosed) || errors.Is(err, target.ErrStoreHangs) {
				return err
			}
			return nil
		})
	}
	group.Go(func() error {
		s.targets.Announce(ctx)
		return nil
	})
	if s.cfg.Control != "" && s.cfg.Control != none {
		l, err := listenControl(s.cfg.Control)
		serve("control socket", l, err, func(l net.Listener) error { return serveHTTP(ctx, l, s.targets.Handler(s.Reload)) })
	}
	if s.cfg.Metrics != "" {
		l, err := network.Listen(ctx, "tcp", s.cfg.Metrics)
		serve("metrics", l, err, func(l net.Listener) error { return serveHTTP(ctx, l, s.targets.MetricsHandler()) })
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

// portals are where the target listens: nowhere, if nothing is to be served and no
// address is named.
func (s *Server) portals() []control.Portal {
	if s.cfg.ISCSIPort == 0 && len(s.cfg.ISCSI.Portals) == 0 && len(s.targets.Server().Targets()) == 0 {
		return nil
	}
	return s.cfg.ISCSI.Listeners(netip.AddrPortFrom(s.cfg.Addr.Addr(), cmp.Or(s.cfg.ISCSIPort, iscsi.DefaultPort)))
}

// Reload reads the configuration file again and makes the iSCSI target what it says
// now, without touching sessions that are not concerned. What else the file says
// takes effect with the next start: that is returned and logged if it has changed.
func (s *Server) Reload(ctx context.Context) (control.Reloaded, error) {
	var r control.Reloaded
	if s.cfg.path == "" {
		return r, errors.New("there is no configuration file to be read again")
	}
	next, err := Load(s.cfg.path)
	if err != nil {
		s.log.Error("reload failed", "error", err)
		return r, err
	}
	next.Logger = s.cfg.Logger
	if r.Restart = changedKeys(&s.cfg, &next); len(r.Restart) > 0 {
		s.log.Warn("restart the server for the changes of these settings", "settings", r.Restart, "file", s.cfg.path)
	}
	if err := s.targets.Reload(ctx, next.target()); err != nil {
		s.log.Error("reload is not complete", "error", err)
		return r, err
	}
	s.log.Info("reloaded", "file", s.cfg.path)
	return r, nil
}

// Close flushes and closes the disks.
func (s *Server) Close() error {
	if s.targets == nil {
		return nil
	}
	return s.targets.Close()
}
