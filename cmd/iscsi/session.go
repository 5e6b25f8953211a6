package main

import (
	"context"
	"errors"

	"github.com/bootlun/bootlun/initiator"
	"github.com/bootlun/bootlun/internal/cli"
)

// maxConnections is how many connections a session may have.
const maxConnections = 32

// reach is how a command that works on a session gets it.
type reach struct {
	loginFlags
	traceFlags
	location
	connections, level int
}

func (r *reach) define(c *cli.Command) {
	c.Group(loginGroup, func() {
		r.defineAll(c)
		c.IntVar(&r.connections, "connections", 1, "`NUMBER` of connections in the session, if the target allows as many (1)")
		c.IntVar(&r.level, "recovery-level", 0, "error recovery `LEVEL` to ask for: 1 asks again for what is lost or damaged, 2 also makes lost connections good (0)")
	})
	r.traceFlags.define(c)
}

// config makes the settings to reach a URL, which must have a LUN if wantLUN.
func (r *reach) config(c *cli.Command, args []string, wantLUN bool) (cfg initiator.Config, err error) {
	if len(args) == 0 {
		return cfg, c.Misused("no URL given")
	}
	if r.location, err = parseLocation(args[0]); err != nil {
		return cfg, c.Misused("%w", err)
	}
	if wantLUN && !r.hasLUN {
		return cfg, c.Misused("the URL names no LUN: iscsi info lists a target's LUNs")
	}
	if cfg, err = r.loginFlags.config(c, r.user); err != nil {
		return cfg, err
	}
	switch {
	case r.connections < 1 || r.connections > maxConnections:
		return cfg, c.Misused("--connections is from 1 to %d", maxConnections)
	case r.level < 0 || r.level > 2:
		return cfg, c.Misused("--recovery-level is 0, 1 or 2")
	}
	cfg.Connections, cfg.Offer.ErrorRecoveryLevel = r.connections, r.level
	cfg.Portal, cfg.Target = r.portal, r.location.target
	return cfg, nil
}

// withSession does something in a session.
func (r *reach) withSession(ctx context.Context, cfg initiator.Config, std cli.IO, do func(*initiator.Session) error) (err error) {
	tap, stop, err := r.traceFlags.start(std)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop()) }()
	cfg.Tap = tap
	s, err := initiator.Dial(ctx, cfg)
	if err != nil {
		return err
	}
	defer s.Close() // whether the target confirms the logout does not matter
	return do(s)
}

// withLUN does something with the disk of the URL, in a session of its own.
func (r *reach) withLUN(ctx context.Context, cfg initiator.Config, std cli.IO, do func(*initiator.LUN) error) error {
	return r.withSession(ctx, cfg, std, func(s *initiator.Session) error {
		lun, err := s.OpenLUN(ctx, r.lun)
		if err != nil {
			return err
		}
		return do(lun)
	})
}
