//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/bootlun/bootlun/initramfs"
	"github.com/bootlun/bootlun/internal/bench/bare"
	"github.com/bootlun/bootlun/qemu"
	"github.com/bootlun/bootlun/qemu/lan"
	"github.com/bootlun/bootlun/qemu/scenario"
	"github.com/bootlun/bootlun/target"
	"github.com/bootlun/bootlun/target/store"
)

var kernelWorkloads = []bare.Workload{
	{Name: "4k read, depth 1", Size: 4096, Depth: 1},
	{Name: "4k write, depth 1", Size: 4096, Depth: 1, Write: true},
	{Name: "4k read, depth 32", Size: 4096, Depth: 32},
	{Name: "4k write, depth 32", Size: 4096, Depth: 32, Write: true},
	{Name: "256k read, depth 8", Size: 256 << 10, Depth: 8},
	{Name: "256k write, depth 8", Size: 256 << 10, Depth: 8, Write: true},
}

// The host beside the guest, whose address the guest knows.
const (
	kernelHost   = "10.78.0.2"
	kernelTarget = "iqn.2026-11.org.bootlun:bench"
	kernelLimit  = 15 * time.Minute
)

// compareKernel measures, in a guest, a session of its kernel with our target against bare TCP to the same host.
func compareKernel(ctx context.Context, l *lab) error {
	ctx, cancel := context.WithTimeout(ctx, kernelLimit)
	defer cancel()
	network, err := lan.New(lan.Config{})
	if err != nil {
		return err
	}
	l.later(func() { network.Close() })
	order := bare.Order{
		Target: kernelTarget, Portal: kernelHost + ":3260", Bare: kernelHost + ":5001", Rounds: l.rounds, Seconds: l.seconds.Seconds(),
	}
	for _, w := range kernelWorkloads {
		if strings.Contains(w.Name, l.only) {
			order.Workloads = append(order.Workloads, w)
		}
	}
	if err := l.serveGuest(ctx, network, &order); err != nil {
		return err
	}
	machine, err := l.guestMachine(ctx, network, &order)
	if err != nil {
		return err
	}
	vm, err := machine.Start(ctx)
	if err != nil {
		return err
	}
	defer vm.Stop()
	if err := vm.Wait(); err != nil {
		return err
	}
	return printKernel(vm.Console.Lines())
}

// serveGuest has a target and bare TCP on the LAN.
func (l *lab) serveGuest(ctx context.Context, network *lan.LAN, order *bare.Order) error {
	host, err := network.Host(lan.HostConfig{Name: "host", Addrs: []netip.Prefix{netip.MustParsePrefix(kernelHost + "/24")}})
	if err != nil {
		return err
	}
	server, err := target.New(target.Config{Targets: []*target.Target{{Name: kernelTarget, LUNs: []target.LUN{{Store: store.NewMemory(256 << 20)}}}}})
	if err != nil {
		return err
	}
	portal, err := host.Listen(ctx, "tcp", order.Portal)
	if err != nil {
		return err
	}
	plain, err := host.Listen(ctx, "tcp", order.Bare)
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = server.Serve(ctx, portal) // what fails, the guest tells
	}()
	l.later(func() {
		stop()
		plain.Close()
		<-ended
	})
	go serveBare(plain)
	return nil
}

// serveBare answers until its listener is closed, as one connection after the other.
func serveBare(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		_ = bare.Serve(c) // the guest hangs up in the middle
	}
}

// guestMachine boots Debian's kernel with the program that measures.
func (l *lab) guestMachine(ctx context.Context, network *lan.LAN, order *bare.Order) (m qemu.Machine, err error) {
	kernel, err := scenario.Images{}.KernelOf(ctx)
	if err != nil {
		return m, err
	}
	text, err := json.Marshal(order)
	if err != nil {
		return m, err
	}
	image := filepath.Join(l.dir, "guest.img")
	_, err = initramfs.Build(ctx, initramfs.Config{
		Kernel: kernel, Output: image, Init: "github.com/bootlun/bootlun/internal/bench/guest", Commands: []string{},
		Files: []initramfs.File{{Name: "order.json", Mode: 0o600, Data: text}},
	})
	return qemu.Machine{
		Name: "bench", Memory: 512, NoReboot: true, Kernel: kernel.Image, Initrd: image, Append: "console=ttyS0,115200 quiet net.ifnames=0",
		NICs: []qemu.NIC{{LAN: network.Socket()}},
	}, err
}

// printKernel prints medians and ratios of what the guest said.
func printKernel(lines []qemu.Line) error {
	rates := make(map[string]map[bool][]float64)
	var end string
	for _, line := range lines {
		if text, ok := strings.CutPrefix(line.Text, bare.Mark); ok {
			var r bare.Result
			if err := json.Unmarshal([]byte(text), &r); err != nil {
				return fmt.Errorf("the guest said %q: %w", text, err)
			}
			if rates[r.Name] == nil {
				rates[r.Name] = make(map[bool][]float64)
			}
			rates[r.Name][r.TCP] = append(rates[r.Name][r.TCP], float64(r.Ops)/r.Seconds)
		}
		if text, ok := strings.CutPrefix(line.Text, bare.EndMark); ok {
			end = text
		}
	}
	if end != "<nil>" {
		var last bytes.Buffer
		for _, line := range lines[max(0, len(lines)-20):] {
			fmt.Fprintln(&last, line.Text)
		}
		return errors.New("the guest: " + end + "\n" + last.String())
	}
	out := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(out, "workload\tkernel's session\tbare TCP\tratio")
	for _, w := range kernelWorkloads {
		if r := rates[w.Name]; r != nil {
			disk, tcp := median(r[false]), median(r[true])
			as := workload{kind: "randread", size: w.Size}
			if w.Size >= 64<<10 {
				as.kind = "read"
			}
			fmt.Fprintf(out, "%s\t%s\t%s\t%.2f\n", w.Name, amount(&as, disk), amount(&as, tcp), disk/tcp)
		}
	}
	return out.Flush()
}
