//go:build linux && !386

package kernel

import (
	"context"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bootlun/bootlun/iscsi"
)

// keeperTest is a keeper of session 7 of a fake kernel.
type keeperTest struct {
	k      *fakeKernel
	roots  Roots
	states chan KeptState
	opened chan struct{} // one for each link
}

// startKeeper keeps session 7, first by a portal where nobody listens. It ends with the test.
func startKeeper(t *testing.T, look time.Duration, prepare func(Roots)) *keeperTest {
	t.Helper()
	kt := &keeperTest{
		k: newFakeKernel(t), roots: fakeSysfs(t),
		states: make(chan KeptState, 1000), opened: make(chan struct{}, 1000),
	}
	put(t, kt.roots.Proc+"/net/netlink", "sk Eth Pid Groups\n0 15 77 00000001\n0 8 78 00000000\n")
	prepare(kt.roots)
	kt.k.sessions[7] = &fakeSession{conn: true}
	cfg := kt.k.testConfig(deadPortal(t))
	cfg.ISID[5] = 1
	keep := KeeperConfig{
		Sessions: []Kept{{SID: 7, Config: cfg, Portals: []string{serveTarget(t, "tcp4", "127.0.0.1", open)}}},
		Roots:    kt.roots, Look: look, MinPause: time.Millisecond, MaxPause: time.Millisecond, Patience: time.Hour,
		Changed: func(all []KeptState) { kt.states <- all[0] },
		openLink: func() (link, error) {
			l, err := kt.k.open()
			kt.opened <- struct{}{}
			return l, err
		},
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	var ended sync.WaitGroup
	ended.Go(func() {
		if err := Keep(ctx, keep); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() { stop(); ended.Wait(); kt.k.shut() })
	return kt
}

// deadPortal is an address where nobody listens.
func deadPortal(t *testing.T) string {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	return l.Addr().String()
}

// await waits for a state of the session.
func (kt *keeperTest) await(t *testing.T, wanted func(KeptState) bool) KeptState {
	t.Helper()
	for {
		select {
		case s := <-kt.states:
			if wanted(s) {
				return s
			}
		case <-time.After(30 * time.Second):
			t.Fatal("the session does not get there")
		}
	}
}

func setState(t *testing.T, r Roots, state string) {
	t.Helper()
	put(t, r.Sys+"/devices/platform/host4/session7/iscsi_session/session7/state", state+"\n")
}

func TestKeeperReconnects(t *testing.T) {
	kt := startKeeper(t, time.Hour, func(r Roots) {
		setState(t, r, "FAILED")
		put(t, r.Sys+"/devices/platform/host4/session7/iscsi_session/session7/recovery_tmo", "120\n")
	})
	s := kt.await(t, func(s KeptState) bool { return s.Recoveries == 1 })
	if s.State != stateLoggedIn || s.InCharge.ISCSID != 0 || s.LastError != "" || s.LastOutage <= 0 {
		t.Errorf("state after the recovery: %+v", s)
	}
	calls := kt.k.called()
	var order []string
	for _, c := range calls {
		kind, _, _ := strings.Cut(c, " ")
		if kind != "SET_PARAM" && kind != "SET_HOST_PARAM" && kind != "SEND_PDU" {
			order = append(order, kind)
		}
	}
	if want := []string{"STOP_CONN", "BIND_CONN", "START_CONN"}; !slices.Equal(slices.Compact(order), want) {
		t.Errorf("calls %q, want %q", order, want)
	}
	if got := kt.k.params[uint32(paramRecoveryTimeout)]; got != "86400" {
		t.Errorf("recovery timeout %q", got)
	}
	b, err := os.ReadFile(kt.roots.Sys + "/class/iscsi_session/session7/recovery_tmo")
	if err != nil || string(b) != "86400" {
		t.Errorf("recovery timeout in sysfs: %q, %v", b, err)
	}
}

func TestKeeperHearsOfLoss(t *testing.T) {
	kt := startKeeper(t, time.Hour, func(Roots) {})
	<-kt.opened // the listener's
	kt.k.event(evConnError, 8, 0, 1011, nil)
	kt.k.event(evConnError, 7, 0, 1020, nil)
	kt.await(t, func(s KeptState) bool { return s.Recoveries == 1 })
}

func TestKeeperStandsBy(t *testing.T) {
	const listening = "sk Eth Pid Groups\n0 8 312 00000001\n"
	kt := startKeeper(t, time.Millisecond, func(r Roots) {
		put(t, r.Proc+"/net/netlink", listening)
		put(t, r.Proc+"/312/comm", "iscsid\n")
		setState(t, r, "FAILED")
	})
	s := kt.await(t, func(s KeptState) bool { return s.State == "FAILED" })
	if s.InCharge.String() != "iscsid (pid 312)" {
		t.Errorf("in charge: %v", s.InCharge)
	}
	if calls := kt.k.called(); len(calls) != 0 {
		t.Errorf("the keeper does %q beside iscsid", calls)
	}
	put(t, kt.roots.Proc+"/312/comm", "something-else\n")
	s = kt.await(t, func(s KeptState) bool { return s.Recoveries == 1 })
	if s.InCharge.String() != "keeper" {
		t.Errorf("in charge after iscsid's end: %v", s.InCharge)
	}
}

func TestKeeperEndsWithItsSessions(t *testing.T) {
	kt := startKeeper(t, time.Millisecond, func(Roots) {})
	if err := os.Remove(kt.roots.Sys + "/class/iscsi_session/session7"); err != nil {
		t.Fatal(err)
	}
	kt.await(t, func(s KeptState) bool { return s.State == stateGone })
}

func TestReconnectFollowsRedirect(t *testing.T) {
	k := newFakeKernel(t)
	to, err := iscsi.ParseTargetAddress(serveTarget(t, "tcp4", "127.0.0.1", open))
	if err != nil {
		t.Fatal(err)
	}
	cfg := k.testConfig(serveTarget(t, "tcp4", "127.0.0.1", func(iscsi.LoginInfo) iscsi.Access {
		return iscsi.Access{Status: iscsi.StatusMovedTemporarily, Redirect: to}
	}))
	cfg.Roots = fakeSysfs(t)
	k.sessions[7] = &fakeSession{conn: true}
	defer k.shut()
	// The target ends the connection after the redirect, and the kernel says so while the next one is being prepared.
	stops := 0
	k.before = func(call string) {
		if call == "STOP_CONN" {
			if stops++; stops == 3 {
				k.event(evConnError, 7, 0, 1020, nil)
			}
		}
	}
	if err := Reconnect(t.Context(), 7, cfg); err != nil {
		t.Fatal(err)
	}
	if stops != 3 || !k.sessions[7].started {
		t.Errorf("after %d stops: started is %v", stops, k.sessions[7].started)
	}
}
