package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/bootlun/bootlun/internal/bootserver"
)

type serveCommand struct {
	Config string `required:"" type:"existingfile" help:"YAML file that says what to serve to whom; docs/fleet.md and docs/target.md explain it."`
}

// Run serves on the operating system's network until a signal ends it. SIGHUP has
// it read its configuration again.
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
	case err := <-ended:
		return err
	}
	reload := make(chan os.Signal, 1)
	signal.Notify(reload, syscall.SIGHUP)
	defer signal.Stop(reload)
	for {
		select {
		case err := <-ended:
			return err
		case <-reload:
			_, _ = server.Reload(ctx) // which logs what is wrong
		}
	}
}
