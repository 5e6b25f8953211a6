package iscsi_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/bootlun/bootlun/iscsi"
)

// step is one request of a hand-made initiator, and what the target must answer.
type step struct {
	stages string // "0", or "0>1" with the T bit set
	cont   bool   // the C bit
	text   string // pairs separated by blanks
	change func(*iscsi.LoginRequest)

	want   string // the answer's pairs; "*" for any
	to     iscsi.Stage
	status iscsi.LoginStatus
}

const (
	names     = "InitiatorName=iqn.2001-04.com.example:host TargetName=iqn.2001-04.com.example:disk"
	tagged    = "TargetPortalGroupTag=1"
	declared  = "MaxRecvDataSegmentLength=262144"
	discovery = "InitiatorName=iqn.2001-04.com.example:host SessionType=Discovery"
)

// TestTargetLogin plays initiators of all manners to a target.
func TestTargetLogin(t *testing.T) {
	user := iscsi.CHAPUser{Name: "boot", Secret: "initiator secret"}
	chap := iscsi.Access{CHAP: &iscsi.CHAPServer{
		Users: []iscsi.CHAPUser{user}, Target: iscsi.CHAPUser{Name: "storage", Secret: "target secret 12"},
	}}
	const full = iscsi.FullFeaturePhase
	tests := []struct {
		name   string
		access iscsi.Access
		steps  []step
	}{
		{name: "one request, no keys but the names", steps: []step{
			{stages: "1>3", text: names, want: tagged + " " + declared, to: full},
		}},
		{name: "straight from security to full feature", steps: []step{
			{stages: "0>3", text: names + " AuthMethod=None", want: tagged + " AuthMethod=None " + declared, to: full},
		}},
		{name: "iPXE: T in every request", steps: []step{
			{stages: "0>1", text: names + " SessionType=Normal AuthMethod=None", want: tagged + " AuthMethod=None", to: 1},
			{
				stages: "1>3", text: "HeaderDigest=None DataDigest=None MaxConnections=1 InitialR2T=Yes ImmediateData=No " +
					"MaxRecvDataSegmentLength=8192 MaxBurstLength=262144 FirstBurstLength=65536 DefaultTime2Wait=0 " +
					"DefaultTime2Retain=0 MaxOutstandingR2T=1 DataPDUInOrder=Yes DataSequenceInOrder=Yes ErrorRecoveryLevel=0",
				want: "HeaderDigest=None DataDigest=None MaxConnections=1 InitialR2T=Yes ImmediateData=No " +
					"MaxBurstLength=262144 FirstBurstLength=65536 DefaultTime2Wait=0 " +
					"DefaultTime2Retain=0 MaxOutstandingR2T=1 DataPDUInOrder=Yes DataSequenceInOrder=Yes ErrorRecoveryLevel=0 " +
					declared, to: full,
			},
		}},
		{name: "iPXE: T in every request of a CHAP exchange", access: chap, steps: []step{
			{stages: "0>1", text: names + " AuthMethod=CHAP,None", want: tagged + " AuthMethod=CHAP"},
			{stages: "0>1", text: "CHAP_A=5", want: "*"},
			{stages: "0>1", text: "CHAP_N=boot CHAP_R={CHAP}", to: 1},
			{stages: "1>3", want: declared, to: full},
		}},
		{name: "method and algorithm in one request, response and challenge in one", access: chap, steps: []step{
			{stages: "0", text: names + " AuthMethod=CHAP CHAP_A=6", want: "*"},
			{stages: "0>3", text: "CHAP_N=boot CHAP_R={CHAP} CHAP_I=1 CHAP_C=0x0102", want: "*", to: full},
		}},
		{name: "no hurry to leave a stage", steps: []step{
			{stages: "0", text: names, want: tagged},
			{stages: "0", want: ""},
			{stages: "0>1", to: 1},
			{stages: "1", text: "MaxBurstLength=1024", want: "MaxBurstLength=1024 " + declared},
			{stages: "1>3", to: full},
		}},
		{name: "C bit", steps: []step{
			{stages: "0", cont: true, text: "InitiatorName=iqn.2001-04.com.example:host TargetN", want: ""},
			{stages: "0>1", text: "ame=iqn.2001-04.com.example:disk", want: tagged, to: 1},
		}},
		{name: "discovery", steps: []step{
			{
				stages: "1>3", text: discovery + " InitialR2T=No MaxBurstLength=512 HeaderDigest=None TaskReporting=RFC3720",
				want: "InitialR2T=Irrelevant MaxBurstLength=Irrelevant HeaderDigest=None TaskReporting=Irrelevant " + declared, to: full,
			},
		}},
		{name: "keys of all manners", steps: []step{
			{
				stages: "1", text: names + " X-com.example.new=1 Bogus=2 OFMarker=No IFMarkInt=1~2 TargetAlias=x SendTargets=All " +
					"InitiatorAlias=host TaskReporting=FastAbort,RFC3720 iSCSIProtocolLevel=2 Quiet=NotUnderstood",
				want: tagged + " X-com.example.new=NotUnderstood Bogus=NotUnderstood OFMarker=No IFMarkInt=Reject TargetAlias=Reject " +
					"SendTargets=Reject TaskReporting=RFC3720 iSCSIProtocolLevel=1 " + declared,
			},
		}},
		{name: "inadmissible values", steps: []step{
			{
				stages: "1", text: names + " MaxBurstLength=511 FirstBurstLength=16777216 InitialR2T=yes ImmediateData=1 " +
					"MaxConnections=0 ErrorRecoveryLevel=3 DefaultTime2Wait=-1 HeaderDigest=CRC32 DataDigest=CRC32C TaskReporting=X",
				want: tagged + " MaxBurstLength=Reject FirstBurstLength=Reject InitialR2T=Reject ImmediateData=Reject " +
					"MaxConnections=Reject ErrorRecoveryLevel=Reject DefaultTime2Wait=Reject HeaderDigest=Reject DataDigest=Reject " +
					"TaskReporting=Reject " + declared,
			},
		}},
		{name: "session-wide keys on another connection", access: iscsi.Access{JoinSession: true}, steps: []step{
			{
				stages: "1>3", change: func(r *iscsi.LoginRequest) { r.TSIH = 9 }, text: names + " MaxBurstLength=512 HeaderDigest=None",
				want: tagged + " MaxBurstLength=Reject HeaderDigest=None " + declared, to: full,
			},
		}},

		{name: "unknown session", steps: []step{
			{stages: "1>3", change: func(r *iscsi.LoginRequest) { r.TSIH = 9 }, text: names, status: iscsi.StatusSessionDoesNotExist},
		}},
		{name: "no initiator name", steps: []step{
			{stages: "1>3", text: "TargetName=iqn.2001-04.com.example:disk", status: iscsi.StatusMissingParameter},
		}},
		{name: "nothing at all", steps: []step{{stages: "0>1", status: iscsi.StatusMissingParameter}}},
		{name: "no target name", steps: []step{
			{stages: "1>3", text: "InitiatorName=iqn.2001-04.com.example:host", status: iscsi.StatusMissingParameter},
		}},
		{name: "bad names", steps: []step{
			{stages: "1>3", text: "InitiatorName=\x01 TargetName=x", status: iscsi.StatusInitiatorError},
		}},
		{name: "another session type", steps: []step{
			{stages: "1>3", text: names + " SessionType=Other", status: iscsi.StatusSessionTypeNotSupported},
		}},
		{name: "version", steps: []step{
			{stages: "1>3", change: func(r *iscsi.LoginRequest) { r.VersionMin = 1 }, text: names, status: iscsi.StatusUnsupportedVersion},
		}},
		{name: "denied", access: iscsi.Access{Status: iscsi.StatusTargetNotFound}, steps: []step{
			{stages: "0", text: names, status: iscsi.StatusTargetNotFound},
		}},
		{
			name: "moved",
			access: iscsi.Access{
				Status: iscsi.StatusMovedTemporarily, Redirect: iscsi.TargetAddress{Host: "2001:db8::1", Port: 3261, Tag: iscsi.NoTag},
			},
			steps: []step{
				{stages: "0", text: names, status: iscsi.StatusMovedTemporarily, want: "TargetAddress=[2001:db8::1]:3261"},
			},
		},
		{name: "authentication skipped", access: chap, steps: []step{
			{stages: "1>3", text: names, status: iscsi.StatusAuthenticationFailed},
		}},
		{name: "authentication skipped, no T", access: chap, steps: []step{
			{stages: "1", text: names, status: iscsi.StatusAuthenticationFailed},
		}},
		{name: "no method offered", access: chap, steps: []step{
			{stages: "0>1", text: names, status: iscsi.StatusAuthenticationFailed},
		}},
		{name: "other methods", access: chap, steps: []step{
			{stages: "0", text: names + " AuthMethod=SRP,KRB5,None", status: iscsi.StatusAuthenticationFailed},
		}},
		{name: "only CHAP where none is wanted", steps: []step{
			{stages: "0", text: names + " AuthMethod=CHAP", status: iscsi.StatusAuthenticationFailed},
		}},
		{name: "wrong response", access: chap, steps: []step{
			{stages: "0", text: names + " AuthMethod=CHAP", want: "*"},
			{stages: "0", text: "CHAP_A=5", want: "*"},
			{stages: "0>1", text: "CHAP_N=boot CHAP_R=0x00112233445566778899aabbccddeeff", status: iscsi.StatusAuthenticationFailed},
		}},
		{name: "response without a challenge", access: chap, steps: []step{
			{stages: "0", text: names + " AuthMethod=CHAP CHAP_N=boot CHAP_R=0x00", status: iscsi.StatusAuthenticationFailed},
		}},
		{name: "challenge before the own proof", access: chap, steps: []step{
			{stages: "0", text: names + " AuthMethod=CHAP", want: "*"},
			{stages: "0", text: "CHAP_A=5 CHAP_I=1 CHAP_C=0x0102", status: iscsi.StatusAuthenticationFailed},
		}},
		{name: "the target's challenge sent back", access: chap, steps: []step{
			{stages: "0", text: names + " AuthMethod=CHAP", want: "*"},
			{stages: "0", text: "CHAP_A=5", want: "*"},
			{stages: "0>1", text: "CHAP_N=boot CHAP_R={CHAP} CHAP_I=1 CHAP_C={REFLECT}", status: iscsi.StatusAuthenticationFailed},
		}},
		{name: "challenge too long", access: chap, steps: []step{
			{stages: "0", text: names + " AuthMethod=CHAP", want: "*"},
			{stages: "0", text: "CHAP_A=5", want: "*"},
			{
				stages: "0>1", text: "CHAP_N=boot CHAP_R={CHAP} CHAP_I=1 CHAP_C=0x" + strings.Repeat("ab", 1025),
				status: iscsi.StatusAuthenticationFailed,
			},
		}},
		{name: "algorithm list again", access: chap, steps: []step{
			{stages: "0", text: names + " AuthMethod=CHAP", want: "*"},
			{stages: "0", text: "CHAP_A=5", want: "*"},
			{stages: "0", text: "CHAP_A=5", status: iscsi.StatusInitiatorError},
		}},
		{name: "unknown algorithms", access: chap, steps: []step{
			{stages: "0", text: names + " AuthMethod=CHAP", want: "*"},
			{stages: "0", text: "CHAP_A=1,x,999", status: iscsi.StatusAuthenticationFailed},
		}},
		{name: "a key twice in a request", steps: []step{
			{stages: "0", text: names + " AuthMethod=None AuthMethod=None", status: iscsi.StatusInitiatorError},
		}},
		{name: "a key twice in a login", steps: []step{
			{stages: "1", text: names + " MaxBurstLength=1024", want: "*"},
			{stages: "1>3", text: "MaxBurstLength=1024", status: iscsi.StatusInitiatorError},
		}},
		{name: "names twice", steps: []step{
			{stages: "1", text: names, want: "*"},
			{stages: "1>3", text: names, status: iscsi.StatusInitiatorError},
		}},
		{name: "session type late", steps: []step{
			{stages: "1", text: names, want: "*"},
			{stages: "1>3", text: "SessionType=Discovery", status: iscsi.StatusInitiatorError},
		}},
		{name: "declaration out of range", steps: []step{
			{stages: "1", text: names + " MaxRecvDataSegmentLength=511", status: iscsi.StatusInitiatorError},
		}},
		{name: "a digest that is required here", access: iscsi.Access{Offer: iscsi.Offer{HeaderDigest: iscsi.DigestRequire}}, steps: []step{
			{stages: "1", text: names + " HeaderDigest=None", want: tagged + " HeaderDigest=Reject " + declared},
			{stages: "1>3", status: iscsi.StatusInitiatorError},
		}},
		{name: "T and C", steps: []step{{stages: "0>1", cont: true, text: names, status: iscsi.StatusInitiatorError}}},
		{name: "backwards", steps: []step{{stages: "1>0", text: names, status: iscsi.StatusInvalidDuringLogin}}},
		{name: "to stage 2", steps: []step{{stages: "0>2", text: names, status: iscsi.StatusInvalidDuringLogin}}},
		{name: "in stage 2", steps: []step{{stages: "2>3", text: names, status: iscsi.StatusInvalidDuringLogin}}},
		{name: "in full feature phase", steps: []step{{stages: "3", text: names, status: iscsi.StatusInvalidDuringLogin}}},
		{name: "stage unasked", steps: []step{
			{stages: "0", text: names, want: "*"},
			{stages: "1>3", status: iscsi.StatusInvalidDuringLogin},
		}},
		{name: "another task tag", steps: []step{
			{stages: "0", text: names, want: "*"},
			{stages: "0>1", change: func(r *iscsi.LoginRequest) { r.ITT++ }, status: iscsi.StatusInvalidDuringLogin},
		}},
		{name: "another ISID", steps: []step{
			{stages: "0", text: names, want: "*"},
			{stages: "0>1", change: func(r *iscsi.LoginRequest) { r.ISID[0]++ }, status: iscsi.StatusInvalidDuringLogin},
		}},
		{name: "after the end", steps: []step{
			{stages: "1>3", text: names, want: "*", to: full},
			{stages: "1>3", status: iscsi.StatusInvalidDuringLogin},
		}},
		{name: "no form", steps: []step{{stages: "0", text: "InitiatorName", status: iscsi.StatusInitiatorError}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg := targetConfig(tt.access)
			cfg.PortalGroupTag = 1
			play(t, iscsi.NewTargetLogin(cfg), user, tt.steps)
		})
	}
}

// play sends the steps' requests. In texts, {CHAP} stands for the right response to
// the target's challenge and {REFLECT} for the challenge itself.
func play(t *testing.T, l *iscsi.TargetLogin, user iscsi.CHAPUser, steps []step) {
	t.Helper()
	var challenge iscsi.Text
	for n, s := range steps {
		req := iscsi.LoginRequest{Continue: s.cont, ISID: iscsi.ISID{0x80, 1}, ITT: 5, CmdSN: 10, CurrentStage: iscsi.Stage(s.stages[0] - '0')}
		if len(s.stages) == 3 {
			req.Transit, req.NextStage = true, iscsi.Stage(s.stages[2]-'0')
		}
		if s.change != nil {
			s.change(&req)
		}
		text := s.text
		if c, ok := challenge.Get("CHAP_C"); ok {
			text = strings.NewReplacer("{CHAP}", answer(t, challenge, user.Secret), "{REFLECT}", c).Replace(text)
		}
		data := []byte(strings.ReplaceAll(text, " ", "\x00"))
		if text != "" && !s.cont {
			data = append(data, 0)
		}
		var resp iscsi.LoginResponse
		got, err := l.Receive(&req, data, &resp)
		var le *iscsi.LoginError
		if s.status != 0 && (!errors.As(err, &le) || le.Status != s.status) || s.status == 0 && err != nil {
			t.Fatalf("step %d: error %v", n, err)
		}
		if resp.Status != s.status || resp.NextStage != s.to || resp.Transit != (s.to != 0) || resp.ITT != req.ITT {
			t.Errorf("step %d: %+v", n, resp)
		}
		if resp.StatSN != uint32(n) || resp.ExpCmdSN != 10 || resp.MaxCmdSN != 73 {
			t.Errorf("step %d: sequence numbers of %+v", n, resp)
		}
		if pairs := strings.TrimSuffix(strings.ReplaceAll(string(got), "\x00", " "), " "); s.want != "*" && pairs != s.want {
			t.Errorf("step %d:\nanswer %q\n  want %q", n, pairs, s.want)
		}
		if challenge, err = iscsi.ParseText(bytes.Clone(got)); err != nil {
			t.Error(err)
		}
		if l.Done() != (s.to == iscsi.FullFeaturePhase) && s.status == 0 {
			t.Errorf("step %d: done %v", n, l.Done())
		}
	}
}

// answer computes the CHAP_R for a challenge.
func answer(t *testing.T, challenge iscsi.Text, s iscsi.Secret) string {
	t.Helper()
	var numbers [2]uint64
	for i, key := range []string{"CHAP_A", "CHAP_I"} {
		v, _ := challenge.Get(key)
		n, err := iscsi.ParseNumber(v)
		if err != nil {
			t.Fatal(err)
		}
		numbers[i] = n
	}
	v, _ := challenge.Get("CHAP_C")
	c, err := iscsi.ParseBinary(v)
	if err != nil {
		t.Fatal(err)
	}
	return iscsi.FormatBinary(iscsi.CHAPResponse(iscsi.CHAPAlgorithm(numbers[0]), byte(numbers[1]), s, c))
}

// TestTargetLoginEnds: an initiator that never gets anywhere is sent away.
func TestTargetLoginEnds(t *testing.T) {
	l := iscsi.NewTargetLogin(targetConfig(iscsi.Access{}))
	data := []byte(strings.ReplaceAll(names, " ", "\x00"))
	for range 1000 {
		var resp iscsi.LoginResponse
		if _, err := l.Receive(&iscsi.LoginRequest{}, data, &resp); err != nil {
			if resp.Status != iscsi.StatusInitiatorError {
				t.Errorf("%+v", resp)
			}
			return
		}
		data = nil
	}
	t.Error("a thousand requests in vain")
}

// TestChallengesDiffer: no two logins have the same challenge, nor one its
// identifier for a constant.
func TestChallengesDiffer(t *testing.T) {
	seen := map[string]bool{}
	for range 50 {
		l := iscsi.NewTargetLogin(targetConfig(iscsi.Access{CHAP: &iscsi.CHAPServer{}}))
		var resp iscsi.LoginResponse
		data := []byte(strings.ReplaceAll(names+" AuthMethod=CHAP CHAP_A=8", " ", "\x00"))
		got, err := l.Receive(&iscsi.LoginRequest{}, data, &resp)
		if err != nil {
			t.Fatal(err)
		}
		text, err := iscsi.ParseText(got)
		if err != nil {
			t.Fatal(err)
		}
		c, _ := text.Get("CHAP_C")
		if raw, err := iscsi.ParseBinary(c); err != nil || len(raw) != 32 || seen[c] {
			t.Fatalf("challenge %q, %v", c, err)
		}
		seen[c] = true
	}
}

// TestEstablishRefuses: the last word is the target's.
func TestEstablishRefuses(t *testing.T) {
	cfg := targetConfig(iscsi.Access{})
	cfg.Establish = func(i iscsi.LoginInfo, p iscsi.Params) (uint16, iscsi.LoginStatus) {
		if i.InitiatorName != testInitiator || p.MaxBurstLength != 1<<20 {
			t.Errorf("%+v, %+v", i, p)
		}
		return 0, iscsi.StatusOutOfResources
	}
	l := iscsi.NewTargetLogin(cfg)
	_, ierr, terr := exchange(t, newInitiator(t, iscsi.InitiatorConfig{}), l)
	var le *iscsi.LoginError
	if !errors.As(ierr, &le) || le.Status != iscsi.StatusOutOfResources || terr == nil || l.Done() {
		t.Errorf("initiator %v, target %v", ierr, terr)
	}
	if got := fmt.Sprint(l); !strings.Contains(got, testInitiator) {
		t.Error(got)
	}
}
