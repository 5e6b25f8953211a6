package scenario_test

import (
	"context"
	"fmt"
	"net/netip"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bootlun/bootlun/internal/bootserver"
	"github.com/bootlun/bootlun/iscsi"
	"github.com/bootlun/bootlun/netboot"
	"github.com/bootlun/bootlun/qemu"
	"github.com/bootlun/bootlun/qemu/lan"
	"github.com/bootlun/bootlun/target/control"
)

// The targets of a served disk: the second is the same disk by another portal, in a port group of its own.
const secondTarget = survivalTarget + "-2"

// shortLease is the shortest that a server gives.
const shortLease = time.Minute

// served is a disk as an operator serves it: by the boot server, which lends the machine its address for a minute at a time.
type served struct {
	t      *testing.T
	lan    *lan.LAN
	socket string        // where the server takes commands
	leases chan struct{} // one for each that it has granted
}

// startServed serves an image, whose writes stay in memory, by that many targets.
func startServed(t *testing.T, image string, targets int) *served {
	t.Helper()
	s := &served{t: t, socket: filepath.Join(t.TempDir(), "control"), leases: make(chan struct{}, 1000)}
	var err error
	if s.lan, err = lan.New(lan.Config{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.lan.Close() })
	config := s.config(image)
	var addrs []netip.Prefix
	for i, name := range []string{survivalTarget, secondTarget}[:targets] {
		n := uint16(i + 1)
		addr := netip.AddrFrom4([4]byte{10, 76, 0, byte(n)})
		addrs = append(addrs, netip.PrefixFrom(addr, 24))
		config.ISCSI.Portals = append(config.ISCSI.Portals, control.PortalGroup{Tag: n, Listen: []netip.AddrPort{netip.AddrPortFrom(addr, iscsi.DefaultPort)}})
		config.Targets = append(config.Targets, bootserver.Target{
			Name: name, PortGroup: n, PortalGroups: []uint16{n}, LUNs: []bootserver.LUN{{Shared: "root"}},
		})
		config.Machines[0].RootPaths = append(config.Machines[0].RootPaths, fmt.Sprintf("iscsi:%s:::0:%s", addr, name))
	}
	host, err := s.lan.Host(lan.HostConfig{Name: "server", Addrs: addrs})
	if err != nil {
		t.Fatal(err)
	}
	s.run(config, host)
	return s
}

func (s *served) config(image string) bootserver.Config {
	s.t.Helper()
	kernel, netbootImage, err := images(s.t).Netboot(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	return bootserver.Config{
		Config: netboot.Config{
			Addr: netip.MustParsePrefix("10.76.0.1/24"),
			DHCP: netboot.DHCP{LeaseTime: shortLease},
			Boot: netboot.Boot{Kernel: kernel.Image, Initramfs: netbootImage},
			Machines: []netboot.Machine{{
				Name: "survivor", MAC: survivalGuest, IP: survivalAddr, InitiatorName: "iqn.2026-11.org.bootlun:survivor",
			}},
			Events: func(e netboot.Event) {
				if e.Kind == netboot.DHCPAck && e.Client == survivalAddr {
					s.leases <- struct{}{}
				}
			},
		},
		Disks:   map[string]bootserver.Medium{"root": {Path: image, Overlay: true}},
		Control: s.socket,
	}
}

// run runs the server until the test ends.
func (s *served) run(config bootserver.Config, host *lan.Host) {
	s.t.Helper()
	server, err := bootserver.New(config)
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(s.t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- server.Run(ctx, host) }()
	s.t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			s.t.Error(err)
		}
	})
	select {
	case <-server.Ready():
	case err := <-ended:
		ended <- nil
		s.t.Fatal(err)
	}
}

// machine boots from the disk by a lease.
func (s *served) machine(cmdline string) qemu.Machine {
	s.t.Helper()
	return survivorMachine(s.t, s.lan, "bootlun.source=dhcp "+keeperInCharge+" "+cmdline)
}

// renews waits until the server has granted the lease some more times, and looks whether the machine still has its address and
// its session.
func (s *served) renews(g *survivor, times int) {
	g.t.Helper()
	for len(s.leases) > 0 {
		<-s.leases
	}
	for i := range times {
		select {
		case <-s.leases:
		case <-time.After(10 * shortLease):
			g.t.Fatalf("the lease was renewed %d times and no more\n%s", i, strings.Join(g.run("cat /run/bootlun/keeper.log"), "\n"))
		}
	}
	g.t.Logf("the lease of %v was renewed %d times", shortLease, times)
	g.keepsAddress()
}

// keepsAddress looks whether the machine still has its address, for ever.
func (g *survivor) keepsAddress() {
	g.t.Helper()
	if out := strings.Join(g.run(fmt.Sprintf("ip -o -4 addr show to %s/32", survivalAddr)), "\n"); !strings.Contains(out, "valid_lft forever") {
		g.t.Errorf("the address is now %q\n%s", out, strings.Join(g.run("ip addr; cat /run/bootlun/keeper.log"), "\n"))
	}
}

// The paths of a disk have the states that an operator gives their port groups while the machine runs, on an address that is
// renewed all the while.
func TestSurvivalServed(t *testing.T) {
	needThorough(t)
	s := startServed(t, workbenchRoot(t), 2)
	bootlun := buildCommand(t, "bootlun")
	command := func(args ...string) {
		t.Helper()
		args = append([]string{"target"}, append(args, "--socket", s.socket)...)
		if out, err := exec.CommandContext(t.Context(), bootlun, args...).CombinedOutput(); err != nil {
			t.Fatalf("bootlun %q: %v\n%s", args, err, out)
		}
	}
	g := startSurvivor(t, s.machine(""))
	g.hasPaths("sda  sdb")
	g.load()
	first, second := g.diskOf(survivalTarget), g.diskOf(secondTarget)
	g.writesByAll(first, second)

	command("port-group", "1", "active/non-optimized")
	g.writesBy(second, first)
	command("drain", secondTarget)
	g.writesBy(first, second)
	command("resume", secondTarget)
	g.writesBy(second, first)
	command("port-group", "1", "active/optimized")
	g.writesByAll(first, second)
	command("port-group", "2", "standby")
	g.writesBy(first, second)
	command("port-group", "2", "active/optimized")
	command("port-group", "1", "unavailable")
	g.writesBy(second, first)
	command("port-group", "1", "active/optimized")
	g.writesByAll(first, second)

	s.renews(g, 4)
	g.passes()
	g.unharmedByPaths()
	t.Log(strings.Join(g.run("cat /run/bootlun/keeper.log"), "\n"))
	g.ends("poweroff")
}

// diskOf is the disk that a session with a target has.
func (g *survivor) diskOf(target string) string {
	g.t.Helper()
	return strings.Join(g.run(fmt.Sprintf("basename $(readlink -f /dev/disk/by-path/*-iscsi-%s-lun-0)", target)), "")
}
