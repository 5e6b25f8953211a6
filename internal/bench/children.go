//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime/pprof"

	"github.com/bootlun/bootlun/target"
	"github.com/bootlun/bootlun/target/store"
)

// children are what this program runs as processes of its own.
var children = map[string]func(context.Context, []string) error{
	"serve": serve,
	"load":  loadOurs,
	"spin":  spin,
}

// serve serves a disk until its input ends: serve DISK [PROFILE].
func serve(ctx context.Context, args []string) error {
	if len(args) != 2 {
		return errors.New("serve wants a disk and where to write a profile, or nothing")
	}
	if args[1] != "" {
		f, err := os.Create(args[1])
		if err != nil {
			return err
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	disk, err := store.OpenFile(args[0], store.FileOptions{})
	if err != nil {
		return err
	}
	defer disk.Close()
	srv, err := target.New(target.Config{Targets: []*target.Target{{Name: lunName, LUNs: []target.LUN{{Store: disk}}}}})
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(l.Addr())
	ctx, stop := context.WithCancel(ctx)
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		stop()
	}()
	return srv.Serve(ctx, l)
}
