package iscsi_test

import (
	"errors"
	"testing"

	"github.com/bootlun/bootlun/iscsi"
)

const testInitiator = "iqn.2026-01.org.bootlun:tester"

// TestLoginTGT logs in to tgt in every way that it knows.
func TestLoginTGT(t *testing.T) {
	user := iscsi.CHAPUser{Name: "boot", Secret: "initiator secret"}
	mutual := iscsi.CHAPUser{Name: "storage", Secret: "target secret 12"}
	tests := []struct {
		name    string
		prepare func(*testing.T, *tgt)
		cfg     iscsi.InitiatorConfig
		check   func(*testing.T, iscsi.InitiatorResult, error)
	}{
		{name: "plain"},
		{
			name: "no immediate data, R2T first",
			cfg:  iscsi.InitiatorConfig{Offer: iscsi.Offer{InitialR2T: true, NoImmediateData: true, MaxBurstLength: 8192}},
			check: func(t *testing.T, r iscsi.InitiatorResult, err error) {
				if p := r.Params; err != nil || !p.InitialR2T || p.ImmediateData || p.MaxBurstLength != 8192 || p.FirstBurstLength > 8192 {
					t.Errorf("err %v, params %+v", err, p)
				}
			},
		},
		{name: "discovery", cfg: iscsi.InitiatorConfig{Discovery: true}},
		{
			name:    "CHAP",
			prepare: func(t *testing.T, g *tgt) { g.account(t, user.Name, user.Secret.Reveal(), false) },
			cfg:     iscsi.InitiatorConfig{CHAP: &iscsi.CHAPClient{User: user}},
			check:   wantAuth("CHAP"),
		},
		{
			name: "CHAP not wanted",
			cfg:  iscsi.InitiatorConfig{CHAP: &iscsi.CHAPClient{User: user}},
		},
		{
			name:    "CHAP, wrong secret",
			prepare: func(t *testing.T, g *tgt) { g.account(t, user.Name, user.Secret.Reveal(), false) },
			cfg:     iscsi.InitiatorConfig{CHAP: &iscsi.CHAPClient{User: iscsi.CHAPUser{Name: "boot", Secret: "wrong"}}},
			check:   wantStatus(iscsi.StatusAuthenticationFailed),
		},
		{
			name:    "CHAP missing",
			prepare: func(t *testing.T, g *tgt) { g.account(t, user.Name, user.Secret.Reveal(), false) },
			check:   wantStatus(iscsi.StatusAuthenticationFailed),
		},
		{
			name: "mutual CHAP",
			prepare: func(t *testing.T, g *tgt) {
				g.account(t, user.Name, user.Secret.Reveal(), false)
				g.account(t, mutual.Name, mutual.Secret.Reveal(), true)
			},
			cfg:   iscsi.InitiatorConfig{CHAP: &iscsi.CHAPClient{User: user, Target: mutual}},
			check: wantAuth("CHAP"),
		},
		{
			name: "mutual CHAP, the target has another secret",
			prepare: func(t *testing.T, g *tgt) {
				g.account(t, user.Name, user.Secret.Reveal(), false)
				g.account(t, mutual.Name, "another secret", true)
			},
			cfg: iscsi.InitiatorConfig{CHAP: &iscsi.CHAPClient{User: user, Target: mutual}},
			check: func(t *testing.T, _ iscsi.InitiatorResult, err error) {
				if !errors.Is(err, iscsi.ErrPeerNotAuthenticated) {
					t.Errorf("error %v", err)
				}
			},
		},
		{
			name: "digests",
			prepare: func(t *testing.T, g *tgt) {
				g.set(t, "HeaderDigest", "CRC32C")
				g.set(t, "DataDigest", "CRC32C")
			},
			cfg: iscsi.InitiatorConfig{Offer: iscsi.Offer{HeaderDigest: iscsi.DigestAllow, DataDigest: iscsi.DigestAllow}},
			check: func(t *testing.T, r iscsi.InitiatorResult, err error) {
				if err != nil || !r.Params.HeaderDigest || !r.Params.DataDigest {
					t.Errorf("err %v, params %+v", err, r.Params)
				}
			},
		},
		{
			name:  "no such target",
			cfg:   iscsi.InitiatorConfig{TargetName: "iqn.2026-01.org.bootlun:nowhere"},
			check: wantStatus(iscsi.StatusTargetNotFound),
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			g := startTGT(t)
			if tt.prepare != nil {
				tt.prepare(t, g)
			}
			tt.cfg.InitiatorName = testInitiator
			if tt.cfg.TargetName == "" && !tt.cfg.Discovery {
				tt.cfg.TargetName = tgtName
			}
			tt.cfg.ISID = iscsi.RandomISID(1)
			c := iscsi.NewConn(dial(t, g.Portal))
			r, err := iscsi.Login(t.Context(), c, tt.cfg)
			if tt.check != nil {
				tt.check(t, r, err)
			} else if err != nil {
				t.Error(err)
			}
			if err == nil {
				readBlock(t, c, r, tt.cfg.Discovery)
			}
		})
	}
}

func wantAuth(method string) func(*testing.T, iscsi.InitiatorResult, error) {
	return func(t *testing.T, r iscsi.InitiatorResult, err error) {
		if err != nil || r.AuthMethod != method {
			t.Errorf("AuthMethod %q, error %v", r.AuthMethod, err)
		}
	}
}

func wantStatus(s iscsi.LoginStatus) func(*testing.T, iscsi.InitiatorResult, error) {
	return func(t *testing.T, _ iscsi.InitiatorResult, err error) {
		var le *iscsi.LoginError
		if !errors.As(err, &le) || le.Status != s {
			t.Errorf("error %v, want status %v", err, s)
		}
	}
}
