package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/bootlun/bootlun/internal/peers"
	"github.com/bootlun/bootlun/iscsi"
	"github.com/bootlun/bootlun/iscsi/slp"
)

// advertise has an agent of SLP answer at loopback's address for the length of a test; port 0 is the protocol's own.
func advertise(t *testing.T, port string, services []slp.Service) (agent string) {
	t.Helper()
	a := &slp.Agent{Addr: netip.MustParseAddr("127.0.0.1")}
	a.Set(services)
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		t.Fatal(err)
	}
	s, err := slp.Listen(t.Context(), a.Addr, uint16(number))
	if errors.Is(err, os.ErrPermission) || errors.Is(err, syscall.EADDRINUSE) {
		t.Skipf("SKIP: needs port 427 of 127.0.0.1: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	agent = s.Unicast.LocalAddr().String()
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error)
	go func() { ended <- a.Serve(ctx, s) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return agent
}

// Discovery by SLP: of an agent at its address, of more targets than a datagram takes, and of whoever hears a multicast.
func TestDiscoverSLP(t *testing.T) {
	at := func(host string, tag int) iscsi.TargetAddress {
		return iscsi.TargetAddress{Host: host, Port: 3260, Tag: tag}
	}
	const disk, second = "iqn.2026-01.com.example:disk", "iqn.2026-01.com.example:second"
	services := []slp.Service{slp.Target(disk, "a disk", at("192.0.2.1", 1)), slp.Target(disk, "a disk", at("2001:db8::1", 1)), slp.Target(second, "", at("192.0.2.1", 2))}
	const want = "192.0.2.1:3260 " + disk + "\n[2001:db8::1]:3260 " + disk + "\n192.0.2.1:3260 " + second + "\n"

	agent := advertise(t, peers.FreePort(t), services)
	if out := succeed(t, "", "discover --slp "+agent); out != want {
		t.Errorf("discover of an agent:\n%swant\n%s", out, want)
	}
	if code, _, errout := runIn(t, "", "discover --slp --timeout 2s 127.0.0.1:1"); code != exitNoConnection && code != exitTimeout {
		t.Errorf("discover of an agent that is not there: exit %d, %s", code, errout)
	}
	t.Run("by TCP", func(t *testing.T) {
		var many []slp.Service
		for i := range 200 {
			many = append(many, slp.Target(fmt.Sprintf("%s-%d", disk, i), "", at("192.0.2.1", 1)))
		}
		out := succeed(t, "", "discover --slp "+advertise(t, peers.FreePort(t), many))
		if n := strings.Count(out, "\n"); n != len(many) || !strings.Contains(out, disk+"-199\n") {
			t.Errorf("%d targets of %d", n, len(many))
		}
	})
	t.Run("by multicast", func(t *testing.T) {
		advertise(t, "0", services)
		if out := succeed(t, "", "discover --slp --slp-interface 127.0.0.1"); out != want {
			t.Errorf("discover by multicast:\n%swant\n%s", out, want)
		}
	})
}
