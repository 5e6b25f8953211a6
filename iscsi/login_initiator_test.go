package iscsi_test

import (
	"encoding/binary"
	"errors"
	"strings"
	"testing"

	"github.com/bootlun/bootlun/iscsi"
)

// TestInitiatorLogin plays targets of all manners to an initiator.
func TestInitiatorLogin(t *testing.T) {
	type reply struct {
		stages string
		cont   bool
		text   string
		change func(*iscsi.LoginResponse)
	}
	first := reply{stages: "0>1", text: "TargetPortalGroupTag=1 AuthMethod=None"}
	tests := []struct {
		name    string
		offer   iscsi.Offer
		replies []reply
		err     error // of the last reply
		status  iscsi.LoginStatus
		want    func(iscsi.InitiatorResult) bool
	}{
		{name: "no keys answered", replies: []reply{first, {stages: "1>3"}}, want: func(r iscsi.InitiatorResult) bool {
			p := r.Params
			return p.InitialR2T && p.ImmediateData && p.MaxBurstLength == 262144 && p.FirstBurstLength == 65536 &&
				p.MaxSendDataSegmentLength == 8192 && p.DefaultTime2Wait == 2 && p.DefaultTime2Retain == 0
		}},
		{name: "keys refused", replies: []reply{first, {
			stages: "1>3",
			text:   "MaxBurstLength=Reject FirstBurstLength=NotUnderstood InitialR2T=Irrelevant HeaderDigest=Reject",
		}}, want: func(r iscsi.InitiatorResult) bool {
			return r.Params.InitialR2T && r.Params.MaxBurstLength == 262144 && r.Params.FirstBurstLength == 65536
		}},
		{
			name: "answers outside of the offer", offer: iscsi.Offer{InitialR2T: true, NoImmediateData: true, MaxBurstLength: 4096},
			replies: []reply{first, {stages: "1>3", text: "MaxBurstLength=1048576 InitialR2T=No ImmediateData=Yes"}},
			want: func(r iscsi.InitiatorResult) bool {
				p := r.Params
				return p.InitialR2T && !p.ImmediateData && p.MaxBurstLength == 4096 && p.FirstBurstLength == 4096
			},
		},
		{
			name: "the target negotiates too", replies: []reply{
				first,
				{stages: "1", text: "X-vendor=1 IFMarker=No TaskReporting=RFC3720"},
				{stages: "1>3", text: "TargetAlias=disk"},
			},
			want: func(r iscsi.InitiatorResult) bool { return r.TargetAlias == "disk" && r.PortalGroupTag == 1 },
		},
		{
			name: "security stage drawn out", replies: []reply{{stages: "0", text: "AuthMethod=None"}, {stages: "0>1"}, {stages: "1>3"}},
			want: func(r iscsi.InitiatorResult) bool { return r.PortalGroupTag == iscsi.NoTag },
		},
		{name: "C bit", replies: []reply{
			{stages: "0", cont: true, text: "TargetAlias=a di"},
			{stages: "0", text: "sk"},
			{stages: "0>1"},
			{stages: "1>3"},
		}, want: func(r iscsi.InitiatorResult) bool { return r.TargetAlias == "a disk" }},

		{name: "moved", replies: []reply{{
			stages: "0", text: "TargetAddress=storage.example",
			change: func(r *iscsi.LoginResponse) { r.Status = iscsi.StatusMovedPermanently },
		}}, status: iscsi.StatusMovedPermanently},
		{name: "moved to nowhere", replies: []reply{{
			stages: "0", change: func(r *iscsi.LoginResponse) { r.Status = iscsi.StatusMovedPermanently },
		}}, err: iscsi.ErrLoginProtocol},
		{name: "refused", replies: []reply{{
			stages: "0", change: func(r *iscsi.LoginResponse) { r.Status = 0x0233 },
		}}, status: 0x0233},
		{name: "method not offered", replies: []reply{{stages: "0", text: "AuthMethod=CHAP"}}, err: iscsi.ErrLoginProtocol},
		{name: "method rejected", replies: []reply{{stages: "0", text: "AuthMethod=Reject"}}, status: iscsi.StatusAuthenticationFailed},
		{name: "challenge out of the blue", replies: []reply{{stages: "0", text: "CHAP_A=5 CHAP_I=1 CHAP_C=0x00"}}, err: iscsi.ErrLoginProtocol},
		{name: "response out of the blue", replies: []reply{{stages: "0", text: "CHAP_N=x CHAP_R=0x00"}}, err: iscsi.ErrLoginProtocol},
		{name: "key twice", replies: []reply{first, {stages: "1", text: "MaxBurstLength=512"}, {stages: "1>3", text: "MaxBurstLength=512"}}, err: iscsi.ErrBadText},
		{name: "number out of range", replies: []reply{first, {stages: "1>3", text: "MaxBurstLength=1"}}, err: iscsi.ErrBadText},
		{name: "no boolean", replies: []reply{first, {stages: "1>3", text: "InitialR2T=maybe"}}, err: iscsi.ErrBadText},
		{name: "tag out of range", replies: []reply{{stages: "0", text: "TargetPortalGroupTag=65536"}}, err: iscsi.ErrLoginProtocol},
		{
			name: "digest refused", offer: iscsi.Offer{DataDigest: iscsi.DigestRequire},
			replies: []reply{first, {stages: "1>3", text: "DataDigest=None"}}, err: iscsi.ErrDigestRequired,
		},
		{
			name: "digest not answered", offer: iscsi.Offer{DataDigest: iscsi.DigestRequire},
			replies: []reply{first, {stages: "1>3"}}, err: iscsi.ErrDigestRequired,
		},
		{name: "another stage", replies: []reply{{stages: "1"}}, err: iscsi.ErrLoginProtocol},
		{name: "skips a stage", replies: []reply{{stages: "0>3"}}, err: iscsi.ErrLoginProtocol},
		{name: "T and C", replies: []reply{{stages: "0>1", cont: true}}, err: iscsi.ErrLoginProtocol},
		{name: "version", replies: []reply{{
			stages: "0", change: func(r *iscsi.LoginResponse) { r.VersionActive = 1 },
		}}, err: iscsi.ErrLoginProtocol},
		{name: "no form", replies: []reply{{stages: "0", text: "x"}}, err: iscsi.ErrBadText},
		{name: "after the end", replies: []reply{first, {stages: "1>3"}, {stages: "1>3"}}, err: iscsi.ErrLoginProtocol},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := newInitiator(t, iscsi.InitiatorConfig{Offer: tt.offer})
			var err error
			for n, s := range tt.replies {
				if err != nil {
					t.Fatalf("reply %d: %v", n-1, err)
				}
				var req iscsi.LoginRequest
				l.Next(&req)
				resp := iscsi.LoginResponse{Continue: s.cont, StatSN: uint32(n), CurrentStage: iscsi.Stage(s.stages[0] - '0')}
				if len(s.stages) == 3 {
					resp.Transit, resp.NextStage = true, iscsi.Stage(s.stages[2]-'0')
				}
				if s.change != nil {
					s.change(&resp)
				}
				data := []byte(strings.ReplaceAll(s.text, " ", "\x00"))
				if tt.name == "C bit" {
					data = []byte(s.text)
				}
				_, err = l.Receive(&resp, data)
			}
			var le *iscsi.LoginError
			switch {
			case tt.status != 0:
				if !errors.As(err, &le) || le.Status != tt.status {
					t.Errorf("error %v, want %v", err, tt.status)
				}
				if tt.name == "moved" && le.Redirect.HostPort() != "storage.example:3260" {
					t.Errorf("redirected to %+v", le.Redirect)
				}
			case !errors.Is(err, tt.err):
				t.Errorf("error %v, want %v", err, tt.err)
			case tt.err == nil && (!l.Done() || !tt.want(l.Result())):
				t.Errorf("done %v, %+v", l.Done(), l.Result())
			}
		})
	}
}

// TestInitiatorLoginEnds: a target that never lets on is given up.
func TestInitiatorLoginEnds(t *testing.T) {
	l := newInitiator(t, iscsi.InitiatorConfig{})
	for range 1000 {
		var req iscsi.LoginRequest
		l.Next(&req)
		if _, err := l.Receive(&iscsi.LoginResponse{}, nil); err != nil {
			if !errors.Is(err, iscsi.ErrLoginProtocol) {
				t.Error(err)
			}
			return
		}
	}
	t.Error("a thousand requests in vain")
}

// TestWeakChallengeOfTarget: an initiator answers no challenge but one that is due
// and well-formed.
func TestWeakChallengeOfTarget(t *testing.T) {
	user := iscsi.CHAPUser{Name: "boot", Secret: "initiator secret"}
	for _, text := range []string{
		"CHAP_A=7 CHAP_I=1 CHAP_C=0x00", // not offered
		"CHAP_A=5 CHAP_I=256 CHAP_C=0x00",
		"CHAP_A=5 CHAP_I=x CHAP_C=0x00",
		"CHAP_A=5 CHAP_I=1 CHAP_C=0x",
		"CHAP_A=5 CHAP_I=1 CHAP_C=12",
		"CHAP_A=5 CHAP_I=1",
		"CHAP_A=5 CHAP_I=1 CHAP_C=0x" + strings.Repeat("ab", 1025),
		"CHAP_N=storage CHAP_R=0x00", // the answer to nothing
	} {
		l := newInitiator(t, iscsi.InitiatorConfig{
			CHAP: &iscsi.CHAPClient{User: user, Algorithms: []iscsi.CHAPAlgorithm{iscsi.CHAPMD5}},
		})
		var req iscsi.LoginRequest
		l.Next(&req)
		if _, err := l.Receive(&iscsi.LoginResponse{}, []byte("AuthMethod=CHAP\x00")); err != nil {
			t.Fatal(err)
		}
		if got := string(l.Next(&req)); got != "CHAP_A=5\x00" || req.Transit {
			t.Fatalf("%q", got)
		}
		_, err := l.Receive(&iscsi.LoginResponse{}, []byte(strings.ReplaceAll(text, " ", "\x00")))
		if !errors.Is(err, iscsi.ErrLoginProtocol) {
			t.Errorf("%.60q: %v", text, err)
		}
	}
}

// TestLoginWireFormat pins the first request's bytes.
func TestLoginWireFormat(t *testing.T) {
	l := newInitiator(t, iscsi.InitiatorConfig{ISID: iscsi.ISID{0x80, 1, 2, 3, 4, 5}, TSIH: 6, CID: 7, CmdSN: 8, ExpStatSN: 9})
	var req iscsi.LoginRequest
	data := l.Next(&req)
	var b, want iscsi.BHS
	req.Encode(&b)
	copy(want[:], "\x43\x81\x00\x00\x00\x00\x00\x00\x80\x01\x02\x03\x04\x05\x00\x06\x00\x00\x00\x01\x00\x07")
	binary.BigEndian.PutUint32(want[24:], 8)
	binary.BigEndian.PutUint32(want[28:], 9)
	if b != want {
		t.Errorf("% x", b)
	}
	text := "InitiatorName=" + testInitiator + "\x00TargetName=" + tgtName + "\x00SessionType=Normal\x00AuthMethod=None\x00"
	if string(data) != text {
		t.Errorf("%q", data)
	}
}

// TestNamesAsGiven: names go out as they are, and come in normalised.
func TestNamesAsGiven(t *testing.T) {
	const name, target = "iqn.2010-04.org.ipxe:My_Host", "IQN.2001-04.com.example:Disk"
	i := newInitiator(t, iscsi.InitiatorConfig{InitiatorName: name, TargetName: target})
	var req iscsi.LoginRequest
	text, err := iscsi.ParseText(i.Next(&req))
	if err != nil {
		t.Fatal(err)
	}
	if got, _ := text.Get("InitiatorName"); got != name {
		t.Error(got)
	}
	if got, _ := text.Get("TargetName"); got != target {
		t.Error(got)
	}
	tg := iscsi.NewTargetLogin(targetConfig(iscsi.Access{}))
	if _, ierr, terr := exchange(t, newInitiator(t, iscsi.InitiatorConfig{InitiatorName: name, TargetName: target}), tg); ierr != nil || terr != nil {
		t.Fatalf("initiator %v, target %v", ierr, terr)
	}
	if info := tg.Info(); info.InitiatorName != strings.ToLower(name) || info.TargetName != strings.ToLower(target) {
		t.Errorf("%+v", info)
	}
}
