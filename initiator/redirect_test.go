package initiator

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"testing"

	"github.com/bootlun/bootlun/internal/peers"
	"github.com/bootlun/bootlun/iscsi"
)

func TestRedirect(t *testing.T) {
	for _, c := range []struct {
		name  string
		hops  []iscsi.Access
		dials []string
	}{
		{"none", nil, []string{"fake:3260"}},
		{"temporary", []iscsi.Access{
			{Status: iscsi.StatusMovedTemporarily, Redirect: iscsi.TargetAddress{Host: "192.0.2.7", Port: 3261, Tag: iscsi.NoTag}},
		}, []string{"fake:3260", "192.0.2.7:3261"}},
		{"permanent, IPv6", []iscsi.Access{
			{Status: iscsi.StatusMovedPermanently, Redirect: iscsi.TargetAddress{Host: "2001:db8::7", Port: 3260, Tag: 1}},
		}, []string{"fake:3260", "[2001:db8::7]:3260"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			targets := newFakes(t, (*fake).rest)
			targets.access = func(iscsi.LoginInfo) iscsi.Access {
				targets.mu.Lock()
				defer targets.mu.Unlock()
				if n := len(targets.dials); n <= len(c.hops) {
					return c.hops[n-1]
				}
				return iscsi.Access{}
			}
			s := dial(t, targets.config())
			if !slices.Equal(targets.dials, c.dials) || s.Portal() != c.dials[len(c.dials)-1] {
				t.Errorf("dialled %q, ended at %q", targets.dials, s.Portal())
			}
		})
	}
}

func TestRedirectLoop(t *testing.T) {
	targets := newFakes(t)
	targets.access = func(iscsi.LoginInfo) iscsi.Access {
		return iscsi.Access{Status: iscsi.StatusMovedTemporarily, Redirect: iscsi.TargetAddress{Host: "again", Port: 1, Tag: iscsi.NoTag}}
	}
	for name, do := range map[string]func(Config) error{
		"session":   func(c Config) error { _, err := Dial(t.Context(), c); return err },
		"discovery": func(c Config) error { _, err := Discover(t.Context(), c); return err },
	} {
		targets.dials = nil
		var e *Error
		if err := do(targets.config()); !errors.As(err, &e) || e.Portal != "again:1" || len(targets.dials) != maxRedirects+1 {
			t.Errorf("%s: %v after %d logins", name, err, len(targets.dials))
		}
	}
}

// A long answer comes in parts, with a ping between them.
func TestDiscoverParts(t *testing.T) {
	var records []iscsi.TargetRecord
	for i := range 500 {
		records = append(records, iscsi.TargetRecord{Name: fmt.Sprintf("iqn.2026-01.org.bootlun:disk-%d", i)})
	}
	targets := newFakes(t, func(f *fake) error {
		parts := iscsi.NewTextSplitter(iscsi.AppendTargets(nil, records), 4096)
		for {
			b, _, err := f.next()
			if err != nil {
				return err
			}
			part, more := parts.Next()
			r := iscsi.TextResponse{Final: !more, Continue: more, ITT: b.ITT(), TTT: 3}
			if !more {
				r.TTT = iscsi.ReservedTag
			}
			if err := f.reply(&iscsi.NOPIn{ITT: iscsi.ReservedTag, TTT: 9}, false); err != nil {
				return err
			}
			if _, _, err := f.next(); err != nil { // its answer
				return err
			}
			if err := f.reply(&r, true, part); err != nil {
				return err
			}
			if !more {
				return f.rest()
			}
		}
	})
	got, err := Discover(soon(t), targets.config())
	if err != nil || len(got) != len(records) || got[499].Name != records[499].Name || got[0].Addresses[0].HostPort() != "fake:3260" {
		t.Errorf("%d targets, %v", len(got), err)
	}
}

func TestDiscoverFaults(t *testing.T) {
	for name, reply := range map[string]iscsi.PDU{
		"wrong tag":   &iscsi.TextResponse{Final: true, ITT: 77, TTT: iscsi.ReservedTag},
		"no way on":   &iscsi.TextResponse{ITT: firstCmdSN, TTT: iscsi.ReservedTag},
		"rejected":    &iscsi.Reject{Reason: iscsi.RejectNotSupported},
		"another PDU": &iscsi.R2T{},
	} {
		targets := newFakes(t, func(f *fake) error {
			if _, _, err := f.next(); err != nil {
				return err
			}
			return f.reply(reply, true)
		})
		var e *Error
		if records, err := Discover(soon(t), targets.config()); !errors.As(err, &e) || e.Op != "discover targets" {
			t.Errorf("%s: %v, %v", name, records, err)
		}
	}
}

func TestConfigErrors(t *testing.T) {
	for name, cfg := range map[string]Config{
		"no initiator": {Target: fakeTarget, Portal: "a"},
		"no target":    {Initiator: testInitiator, Portal: "a"},
		"no portal":    {Initiator: testInitiator, Target: fakeTarget},
		"bad portal":   {Initiator: testInitiator, Target: fakeTarget, Portal: "a:b"},
	} {
		cfg.Dialer = newFakes(t)
		var e *Error
		if _, err := Dial(t.Context(), cfg); !errors.As(err, &e) {
			t.Errorf("%s: %v", name, err)
		}
	}
	var refused *net.OpError
	cfg := Config{Initiator: testInitiator, Target: fakeTarget, Portal: "127.0.0.1:" + peers.FreePort(t)}
	if _, err := Dial(t.Context(), cfg); !errors.As(err, &refused) {
		t.Error(err)
	}
}
