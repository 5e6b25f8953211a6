package control_test

import (
	"context"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"

	"github.com/bootlun/bootlun/target/control"
)

// A target of a configuration is served, and another one added by the API while it is.
func Example() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	disk := filepath.Join(dir, "disk.img")
	if err := os.WriteFile(disk, make([]byte, 1<<20), 0o600); err != nil {
		log.Fatal(err)
	}
	m, err := control.New(control.Config{
		Targets: []control.Target{{
			Name:              "iqn.2026-11.com.example:one",
			AllowedInitiators: []string{"iqn.2026-11.com.example:*"},
			LUNs:              []control.LUN{{Medium: control.Medium{Path: disk}}},
		}},
		StateFile: filepath.Join(dir, "targets.yaml"),
		ISCSI:     control.Settings{QueueDepth: 64, ErrorRecoveryLevel: 2},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()

	// Initiators log in at m.Server().Serve's listener; commands come by this one.
	socket := filepath.Join(dir, "control.sock")
	l, err := net.Listen("unix", socket)
	if err != nil {
		log.Fatal(err)
	}
	api := &http.Server{Handler: m.Handler(nil)}
	go api.Serve(l)
	defer api.Close()

	c := control.NewClient(socket)
	defer c.Close()
	ctx := context.Background()
	if err := c.AddTarget(ctx, control.Target{Name: "iqn.2026-11.com.example:two"}); err != nil {
		log.Fatal(err)
	}
	status, err := c.Status(ctx)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("queue depth", status.Settings.QueueDepth)
	for _, t := range status.Targets {
		fmt.Println(t.Name, "with", len(t.LUNs), "LUNs")
	}
	// Output:
	// queue depth 64
	// iqn.2026-11.com.example:one with 1 LUNs
	// iqn.2026-11.com.example:two with 0 LUNs
}
