package main

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/bootlun/bootlun/internal/bootserver"
)

type serveCommand struct {
	Config string `required:"" type:"existingfile" help:"YAML file that says what to serve to whom; docs/fleet.md explains it."`
}

// Run serves on the operating system's network until a signal ends it.
func (s *serveCommand) Run(ctx context.Context, log *slog.Logger) error {
	cfg, err := bootserver.Load(s.Config)
	if err != nil {
		return err
	}
	cfg.Logger = log
	network, err := cfg.HostNetwork()
	if err != nil {
		return err
	}
	server, err := bootserver.New(cfg)
	if err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Run(ctx, network) }()
	select {
	case <-server.Ready():
		fmt.Printf("serving at %s; Ctrl-C ends\n", cfg.Addr)
		return <-ended
	case err := <-ended:
		return err
	}
}
