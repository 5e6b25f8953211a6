package iscsi_test

import (
	"bytes"
	"errors"
	"reflect"
	"testing"

	"github.com/bootlun/bootlun/iscsi"
)

// FuzzPDU decodes any header. What is decoded must encode to a header that decodes
// to the same, and its text must not panic.
func FuzzPDU(f *testing.F) {
	for _, p := range fullPDUs() {
		var b iscsi.BHS
		p.Encode(&b)
		f.Add(b[:], []byte{0, 3, 1, 0, 0xaa, 0xbb, 0, 0})
	}
	for _, c := range captures {
		tr := readTranscript(f, transcriptPath(c.name))
		for _, r := range split(f, tr.stream(true), countLogins(f, tr), c.headerDigest, c.dataDigest) {
			f.Add(r.bhs[:], r.data)
		}
	}
	f.Fuzz(func(t *testing.T, header, segment []byte) {
		var b iscsi.BHS
		copy(b[:], header)
		_ = b.String()
		p, err := iscsi.DecodePDU(&b)
		if err != nil {
			return
		}
		var again iscsi.BHS
		p.Encode(&again)
		q, err := iscsi.DecodePDU(&again)
		if err != nil || !reflect.DeepEqual(p, q) {
			t.Errorf("%+v became %+v, %v", p, q, err)
		}
		if cmd, ok := p.(*iscsi.SCSICommand); ok && cmd.DecodeAHS(segment) == nil {
			var back iscsi.SCSICommand
			back.Read, back.Write = cmd.Read, cmd.Write
			if err := back.DecodeAHS(cmd.AppendAHS(nil)); err != nil || !bytes.Equal(back.ExtendedCDB, cmd.ExtendedCDB) {
				t.Errorf("AHS % x became % x, %v", cmd.ExtendedCDB, back.ExtendedCDB, err)
			}
		}
		if sense, rest, err := iscsi.SplitSense(segment); err == nil && len(sense)+len(rest) > len(segment) {
			t.Error("sense data longer than its segment")
		}
	})
}

// FuzzConn reads PDUs off any stream, with any setting.
func FuzzConn(f *testing.F) {
	for _, c := range captures {
		tr := readTranscript(f, transcriptPath(c.name))
		f.Add(tr.stream(true), false, false)
		f.Add(tr.stream(false), c.headerDigest, c.dataDigest)
	}
	f.Add(wire(f, true, true, pattern(8), pattern(21)), true, true)
	f.Fuzz(func(t *testing.T, stream []byte, headerDigest, dataDigest bool) {
		c := iscsi.NewConn(half{bytes.NewReader(stream)})
		c.SetDigests(headerDigest, dataDigest)
		for total := 0; ; {
			var b iscsi.BHS
			data, err := c.ReadPDU(&b)
			if errors.Is(err, iscsi.ErrDataDigest) {
				continue
			}
			if err != nil {
				return
			}
			if len(data) != b.DataSegmentLength() || len(c.AHS()) != b.AHSLength() {
				t.Fatalf("%v with %d bytes of data and %d of AHS", &b, len(data), len(c.AHS()))
			}
			if total += iscsi.BHSLength + len(data); total > len(stream) {
				t.Fatal("more was read than there is")
			}
		}
	})
}

// FuzzText parses any text, and values and addresses out of it.
func FuzzText(f *testing.F) {
	f.Add([]byte("A=1\x00B=0x00ff\x00C=0bTWFu\x00"))
	f.Add([]byte("TargetName=iqn.2001-04.com.example:a\x00TargetAddress=[2001:db8::1]:3260,1\x00"))
	f.Add([]byte("A=512~8192\x00B=Yes\x00C=a,b,c"))
	for _, c := range captures {
		tr := readTranscript(f, transcriptPath(c.name))
		n := countLogins(f, tr)
		for _, r := range split(f, tr.stream(false), n, c.headerDigest, c.dataDigest)[:n] {
			f.Add(r.data)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if records, err := iscsi.ParseTargets(data); err == nil {
			again, err := iscsi.ParseTargets(iscsi.AppendTargets(nil, records))
			if err != nil || !reflect.DeepEqual(again, records) {
				t.Errorf("%+v became %+v, %v", records, again, err)
			}
		}
		text, err := iscsi.ParseText(data)
		if err != nil {
			return
		}
		again, err := iscsi.ParseText(text.Append(nil))
		if err != nil || !reflect.DeepEqual(again, text) {
			t.Errorf("%v became %v, %v", text, again, err)
		}
		for _, kv := range text {
			if b, err := iscsi.ParseBinary(kv.Value); err == nil {
				if back, err := iscsi.ParseBinary(iscsi.FormatBinary(b)); err != nil || !bytes.Equal(back, b) {
					t.Errorf("%q became %x, %v", kv.Value, back, err)
				}
			}
			if name, err := iscsi.ParseName(kv.Value); err == nil && iscsi.ValidateName(name) != nil {
				t.Errorf("%q: %q is not valid", kv.Value, name)
			}
			iscsi.ParseRange(kv.Value)
		}
		p := iscsi.DefaultParams()
		p.AnswerText(text, func(string) ([]iscsi.TargetRecord, bool) { return nil, true })
	})
}

// FuzzTargetLogin plays any bytes as an initiator: each request is a header and a
// text, cut from the input. The exchange must end, and without the right secret
// nobody gets in.
func FuzzTargetLogin(f *testing.F) {
	for _, name := range []string{"libiscsi-inquiry", "libiscsi-chap", "libiscsi-mutual", "bootlun-digests"} {
		requests, _ := logins(f, name)
		f.Add(joinPDUs(requests), true)
		f.Add(joinPDUs(requests), false)
	}
	f.Fuzz(func(t *testing.T, stream []byte, chap bool) {
		a := iscsi.Access{JoinSession: true}
		if chap {
			a.CHAP = &iscsi.CHAPServer{Users: []iscsi.CHAPUser{captureUser}, Target: captureTarget}
		}
		l := iscsi.NewTargetLogin(targetConfig(a))
		c := iscsi.NewConn(half{bytes.NewReader(stream)})
		for {
			var b iscsi.BHS
			data, err := c.ReadPDU(&b)
			if err != nil {
				return
			}
			b[0] = byte(iscsi.OpLoginRequest)
			var req iscsi.LoginRequest
			if err := req.Decode(&b); err != nil {
				t.Fatal(err)
			}
			var resp iscsi.LoginResponse
			reply, err := l.Receive(&req, data, &resp)
			if (err != nil) != (resp.Status != iscsi.StatusSuccess) || len(reply) > 8192 {
				t.Fatalf("error %v with %+v and %d bytes", err, resp, len(reply))
			}
			if l.Done() && chap {
				t.Fatalf("in without the secret: %+v", l.Result())
			}
			if err != nil && resp.Transit {
				t.Fatalf("a refusal that grants a stage: %+v", resp)
			}
		}
	})
}

// FuzzInitiatorLogin plays any bytes as a target. Mutual CHAP must never succeed.
func FuzzInitiatorLogin(f *testing.F) {
	for _, name := range []string{"libiscsi-inquiry", "libiscsi-chap", "libiscsi-mutual", "bootlun-digests"} {
		_, responses := logins(f, name)
		f.Add(joinPDUs(responses), true)
		f.Add(joinPDUs(responses), false)
	}
	f.Fuzz(func(t *testing.T, stream []byte, mutual bool) {
		cfg := iscsi.InitiatorConfig{
			InitiatorName: testInitiator, TargetName: tgtName, CHAP: &iscsi.CHAPClient{User: captureUser},
			Offer: iscsi.Offer{HeaderDigest: iscsi.DigestAllow, DataDigest: iscsi.DigestAllow},
		}
		if mutual {
			cfg.CHAP.Target = captureTarget
		}
		l, err := iscsi.NewInitiatorLogin(cfg)
		if err != nil {
			t.Fatal(err)
		}
		c := iscsi.NewConn(half{bytes.NewReader(stream)})
		for range 1000 {
			var req iscsi.LoginRequest
			if data := l.Next(&req); len(data) > 8192 || req.Transit && req.Continue {
				t.Fatalf("%+v with %d bytes", req, len(data))
			}
			var b iscsi.BHS
			data, err := c.ReadPDU(&b)
			if err != nil {
				return
			}
			b[0] = byte(iscsi.OpLoginResponse)
			var resp iscsi.LoginResponse
			if err := resp.Decode(&b); err != nil {
				t.Fatal(err)
			}
			done, err := l.Receive(&resp, data)
			if err != nil {
				return
			}
			if done {
				checkResult(t, l.Result(), mutual)
				return
			}
		}
		t.Error("no end")
	})
}

// checkResult checks what must hold after any login.
func checkResult(t *testing.T, r iscsi.InitiatorResult, mutual bool) {
	t.Helper()
	if mutual {
		t.Errorf("a target that does not know the secret: %+v", r)
	}
	p := r.Params
	if p.FirstBurstLength > p.MaxBurstLength || p.MaxBurstLength > 1<<20 || p.MaxBurstLength < 512 ||
		p.MaxSendDataSegmentLength < 512 || p.MaxSendDataSegmentLength > iscsi.MaxDataSegmentLength ||
		p.MaxOutstandingR2T != 1 || p.ErrorRecoveryLevel != 0 {
		t.Errorf("%+v", p)
	}
}

// joinPDUs makes a stream of recorded PDUs.
func joinPDUs(list []recorded) []byte {
	var out bytes.Buffer
	c := iscsi.NewConn(&out)
	for _, r := range list {
		b := r.bhs
		c.WritePDU(&b, r.ahs, r.data)
	}
	c.Flush()
	return out.Bytes()
}
