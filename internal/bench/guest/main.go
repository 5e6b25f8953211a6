//go:build linux && !386

// Command guest is the init of the virtual machine in which "bench kernel" measures: it has the machine's kernel log in to a target,
// and puts the disk and a bare TCP connection to the same host under the same loads, in turn.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/bootlun/bootlun/initiator/kernel"
	"github.com/bootlun/bootlun/initramfs/modules"
	"github.com/bootlun/bootlun/internal/bench/bare"
)

// OrderFile is what to do; the address is the machine's.
const (
	orderFile = "/order.json"
	address   = "10.78.0.1/24"
)

func main() {
	err := run(context.Background())
	fmt.Printf("\n%s%v\n", bare.EndMark, err)
	unix.Sync()
	_ = unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
}

func run(ctx context.Context) error {
	for _, m := range [][2]string{{"proc", "/proc"}, {"sysfs", "/sys"}, {"devtmpfs", "/dev"}} {
		if err := unix.Mount(m[0], m[1], m[0], 0, ""); err != nil && !errors.Is(err, unix.EBUSY) {
			return fmt.Errorf("mount %s: %w", m[1], err)
		}
	}
	text, err := os.ReadFile(orderFile)
	if err != nil {
		return err
	}
	var order bare.Order
	if err := json.Unmarshal(text, &order); err != nil {
		return err
	}
	if err := hardware(ctx); err != nil {
		return err
	}
	device, err := attach(ctx, &order)
	if err != nil {
		return err
	}
	for range order.Rounds {
		for _, w := range order.Workloads {
			for _, tcp := range []bool{true, false} {
				if err := measure(ctx, &order, w, tcp, device); err != nil {
					return fmt.Errorf("%s: %w", w.Name, err)
				}
			}
		}
	}
	return nil
}

// hardware loads the drivers and gives the network card its address.
func hardware(ctx context.Context) error {
	loader, err := modules.Open("/")
	if err != nil {
		return err
	}
	if _, err := loader.LoadForDevices(ctx); err != nil {
		return err
	}
	for _, name := range []string{"iscsi_tcp", "sd_mod"} {
		if err := loader.Load(ctx, name); err != nil {
			return err
		}
	}
	link, err := netlink.LinkByName("eth0")
	if err != nil {
		return err
	}
	addr, err := netlink.ParseAddr(address)
	if err != nil {
		return err
	}
	return errors.Join(netlink.AddrAdd(link, addr), netlink.LinkSetUp(link))
}

func attach(ctx context.Context, order *bare.Order) (device string, err error) {
	s, err := kernel.Login(ctx, kernel.Config{Initiator: "iqn.2026-11.org.bootlun:bench", Target: order.Target, Portal: order.Portal})
	if err != nil {
		return "", err
	}
	disk, err := s.Disk(ctx)
	return disk.Device, err
}

// measure puts one of the two under load for a while and tells of it.
func measure(ctx context.Context, order *bare.Order, w bare.Workload, tcp bool, device string) error {
	var counted, over atomic.Bool
	var ops atomic.Int64
	done := func() bool {
		if counted.Load() {
			ops.Add(1)
		}
		return over.Load()
	}
	ended := make(chan error, 1)
	go func() {
		if tcp {
			ended <- loadTCP(ctx, order.Bare, w, done)
		} else {
			ended <- loadDisk(device, w, done)
		}
	}()
	time.Sleep(time.Second) // to be warm
	counted.Store(true)
	began := time.Now()
	time.Sleep(time.Duration(order.Seconds * 1e9))
	counted.Store(false)
	r := bare.Result{Workload: w, TCP: tcp, Ops: int(ops.Load()), Seconds: time.Since(began).Seconds()}
	over.Store(true)
	if err := <-ended; err != nil {
		return err
	}
	line, err := json.Marshal(r)
	fmt.Printf("\n%s%s\n", bare.Mark, line)
	return err
}

func loadTCP(ctx context.Context, address string, w bare.Workload, done func() bool) error {
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	defer c.Close()
	return bare.Load(c, w, done)
}

// loadDisk reads or writes past the page cache, in as many threads as commands are to be outstanding.
func loadDisk(device string, w bare.Workload, done func() bool) error {
	f, err := os.OpenFile(device, os.O_RDWR|unix.O_DIRECT, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	size, err := f.Seek(0, 2)
	if err != nil {
		return err
	}
	var next atomic.Int64
	var wg sync.WaitGroup
	failed := make([]error, w.Depth)
	for i := range w.Depth {
		wg.Go(func() { failed[i] = diskThread(f, w, size/int64(w.Size), &next, done) })
	}
	wg.Wait()
	return errors.Join(failed...)
}

func diskThread(f *os.File, w bare.Workload, places int64, next *atomic.Int64, done func() bool) error {
	p, err := unix.Mmap(-1, 0, w.Size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE) // on a page's boundary
	if err != nil {
		return err
	}
	defer func() { _ = unix.Munmap(p) }()
	for {
		at := next.Add(1) % places
		if w.Size < 64<<10 {
			at = rand.Int64N(places)
		}
		if w.Write {
			_, err = f.WriteAt(p, at*int64(w.Size))
		} else {
			_, err = f.ReadAt(p, at*int64(w.Size))
		}
		if err != nil || done() {
			return err
		}
	}
}
