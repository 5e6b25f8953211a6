package iscsi_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/bootlun/bootlun/iscsi"
)

// logins returns the login PDUs of a transcript, in turns.
func logins(t testing.TB, name string) (requests, responses []recorded) {
	t.Helper()
	for _, c := range captures {
		if c.name == name {
			tr := readTranscript(t, transcriptPath(name))
			n := countLogins(t, tr)
			requests = split(t, tr.stream(true), n, c.headerDigest, c.dataDigest)
			responses = split(t, tr.stream(false), n, c.headerDigest, c.dataDigest)
			return requests[:n], responses[:n]
		}
	}
	t.Fatalf("no transcript %q", name)
	return nil, nil
}

// TestRecordedRequests gives libiscsi's recorded login requests to a TargetLogin.
func TestRecordedRequests(t *testing.T) {
	tests := []struct {
		name   string
		access iscsi.Access
		want   func(iscsi.Params) bool
	}{
		{
			name: "libiscsi-inquiry",
			want: func(p iscsi.Params) bool {
				return !p.HeaderDigest && !p.InitialR2T && p.ImmediateData && p.MaxSendDataSegmentLength == 262144
			},
		},
		{
			name:   "libiscsi-headerdigest",
			access: iscsi.Access{Offer: iscsi.Offer{HeaderDigest: iscsi.DigestRequire, InitialR2T: true}},
			want:   func(p iscsi.Params) bool { return p.HeaderDigest && p.InitialR2T },
		},
		{
			name: "libiscsi-discovery",
			want: func(p iscsi.Params) bool { return p.MaxBurstLength == iscsi.DefaultParams().MaxBurstLength },
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			requests, _ := logins(t, tt.name)
			l := iscsi.NewTargetLogin(targetConfig(tt.access))
			for _, r := range requests {
				var resp iscsi.LoginResponse
				_, err := l.Receive(r.pdu.(*iscsi.LoginRequest), r.data, &resp)
				if err != nil {
					t.Fatal(err)
				}
			}
			if !l.Done() || !tt.want(l.Result().Params) {
				t.Errorf("done %v, %+v", l.Done(), l.Result())
			}
		})
	}
}

// TestReplayRefused gives the recorded requests of a login that was proven by CHAP
// to a target with the same secrets: an eavesdropper's attempt.
func TestReplayRefused(t *testing.T) {
	for _, name := range []string{"libiscsi-chap", "libiscsi-mutual"} {
		requests, _ := logins(t, name)
		l := iscsi.NewTargetLogin(targetConfig(iscsi.Access{
			CHAP: &iscsi.CHAPServer{Users: []iscsi.CHAPUser{captureUser}, Target: captureTarget},
		}))
		var err error
		for _, r := range requests {
			var resp iscsi.LoginResponse
			if _, err = l.Receive(r.pdu.(*iscsi.LoginRequest), r.data, &resp); err != nil {
				break
			}
		}
		var le *iscsi.LoginError
		if !errors.As(err, &le) || le.Status != iscsi.StatusAuthenticationFailed || l.Done() {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

// TestRecordedResponses gives tgt's recorded login responses to an InitiatorLogin.
// The response to a challenge of another login proves nothing.
func TestRecordedResponses(t *testing.T) {
	digests := iscsi.Offer{HeaderDigest: iscsi.DigestPrefer, DataDigest: iscsi.DigestPrefer}
	tests := []struct {
		name string
		cfg  iscsi.InitiatorConfig
		err  error
		want func(iscsi.InitiatorResult) bool
	}{
		{
			name: "bootlun-digests",
			cfg:  iscsi.InitiatorConfig{Offer: digests},
			want: func(r iscsi.InitiatorResult) bool {
				return r.Params.HeaderDigest && r.Params.DataDigest && r.Params.MaxSendDataSegmentLength == 8192 &&
					r.PortalGroupTag == 1 && r.TSIH != 0 && r.AuthMethod == "None"
			},
		},
		{name: "bootlun-digests", err: iscsi.ErrBadText}, // a digest that was not offered
		{
			name: "libiscsi-chap",
			cfg:  iscsi.InitiatorConfig{CHAP: &iscsi.CHAPClient{User: captureUser}},
			want: func(r iscsi.InitiatorResult) bool { return r.AuthMethod == "CHAP" && !r.Params.HeaderDigest },
		},
		{name: "libiscsi-chap", err: iscsi.ErrLoginProtocol}, // CHAP was not offered
		{
			name: "libiscsi-mutual",
			cfg:  iscsi.InitiatorConfig{CHAP: &iscsi.CHAPClient{User: captureUser, Target: captureTarget}},
			err:  iscsi.ErrPeerNotAuthenticated,
		},
		{
			name: "libiscsi-chap",
			cfg:  iscsi.InitiatorConfig{CHAP: &iscsi.CHAPClient{User: captureUser, Target: captureTarget}},
			err:  iscsi.ErrPeerNotAuthenticated,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, responses := logins(t, tt.name)
			tt.cfg.InitiatorName, tt.cfg.TargetName = testInitiator, tgtName
			l, err := iscsi.NewInitiatorLogin(tt.cfg)
			if err != nil {
				t.Fatal(err)
			}
			done := false
			for _, r := range responses {
				var req iscsi.LoginRequest
				l.Next(&req)
				if done, err = l.Receive(r.pdu.(*iscsi.LoginResponse), r.data); err != nil {
					break
				}
			}
			if !errors.Is(err, tt.err) {
				t.Fatalf("error %v, want %v", err, tt.err)
			}
			if tt.err == nil && (!done || !tt.want(l.Result())) {
				t.Errorf("done %v, %+v", done, l.Result())
			}
		})
	}
}

// TestRecordedCHAP computes the CHAP responses that libiscsi and tgt sent.
func TestRecordedCHAP(t *testing.T) {
	for _, name := range []string{"libiscsi-chap", "libiscsi-mutual"} {
		requests, responses := logins(t, name)
		var keys [2]iscsi.Text // what the initiator and the target sent over the login
		for side, list := range [][]recorded{requests, responses} {
			for _, r := range list {
				text, err := iscsi.ParseText(r.data)
				if err != nil {
					t.Fatal(err)
				}
				keys[side] = append(keys[side], text...)
			}
		}
		initiator, target := keys[0], keys[1]
		checkCHAP(t, name, target, initiator, captureUser)
		if name == "libiscsi-mutual" {
			checkCHAP(t, name, initiator, target, captureTarget)
		}
	}
}

// checkCHAP compares the response to a challenge with the one computed.
func checkCHAP(t *testing.T, name string, challenger, responder iscsi.Text, user iscsi.CHAPUser) {
	t.Helper()
	get := func(text iscsi.Text, key string) string {
		v, ok := text.Get(key)
		if !ok {
			t.Fatalf("%s: no %s", name, key)
		}
		return v
	}
	id, err := iscsi.ParseNumber(get(challenger, "CHAP_I"))
	if err != nil {
		t.Fatal(err)
	}
	challenge, err := iscsi.ParseBinary(get(challenger, "CHAP_C"))
	if err != nil {
		t.Fatal(err)
	}
	response, err := iscsi.ParseBinary(get(responder, "CHAP_R"))
	if err != nil {
		t.Fatal(err)
	}
	if got := get(responder, "CHAP_N"); got != user.Name {
		t.Errorf("%s: CHAP_N=%s", name, got)
	}
	if got := iscsi.CHAPResponse(iscsi.CHAPMD5, byte(id), user.Secret, challenge); !bytes.Equal(got, response) {
		t.Errorf("%s: response %x, recorded %x", name, got, response)
	}
}

// targetConfig is a target that gives every login the same access and TSIH 1.
func targetConfig(a iscsi.Access) iscsi.TargetConfig {
	return iscsi.TargetConfig{
		Authorize: func(iscsi.LoginInfo) iscsi.Access { return a },
		Establish: func(iscsi.LoginInfo, iscsi.Params) (uint16, iscsi.LoginStatus) { return 1, iscsi.StatusSuccess },
	}
}
