package iscsi_test

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"github.com/bootlun/bootlun/iscsi"
)

// recorded is one PDU of a transcript.
type recorded struct {
	bhs  iscsi.BHS
	pdu  iscsi.PDU
	ahs  []byte
	data []byte
}

// split takes one direction of a transcript apart into PDUs. Digests are on after
// as many login PDUs as logins says.
func split(t testing.TB, stream []byte, logins int, headerDigest, dataDigest bool) []recorded {
	t.Helper()
	c := iscsi.NewConn(half{bytes.NewReader(stream)})
	c.SetRecvLimit(iscsi.MaxDataSegmentLength)
	var list []recorded
	for {
		var r recorded
		if len(list) == logins {
			c.SetDigests(headerDigest, dataDigest)
		}
		data, err := c.ReadPDU(&r.bhs)
		if err == io.EOF {
			return list
		}
		if err != nil {
			t.Fatalf("PDU %d: %v", len(list), err)
		}
		r.data, r.ahs = bytes.Clone(data), bytes.Clone(c.AHS())
		if r.pdu, err = iscsi.DecodePDU(&r.bhs); err != nil {
			t.Fatalf("PDU %d: %v", len(list), err)
		}
		list = append(list, r)
	}
}

// countLogins returns how many login PDUs a transcript has in each direction. They
// have no digests, so the count can start without knowing of any.
func countLogins(t testing.TB, tr transcript) int {
	t.Helper()
	c := iscsi.NewConn(half{bytes.NewReader(tr.stream(false))})
	for n := 0; ; n++ {
		var b iscsi.BHS
		var rsp iscsi.LoginResponse
		if _, err := c.ReadPDU(&b); err != nil || rsp.Decode(&b) != nil {
			t.Fatalf("the login does not end: %v", err)
		}
		if rsp.Transit && rsp.NextStage == iscsi.FullFeaturePhase {
			return n + 1
		}
	}
}

// TestTranscriptsRoundTrip decodes every PDU that libiscsi and tgt sent, encodes
// it again, and wants the same bytes: headers, padding and digests.
func TestTranscriptsRoundTrip(t *testing.T) {
	seen := map[iscsi.Opcode]int{}
	for _, c := range captures {
		t.Run(c.name, func(t *testing.T) {
			tr := readTranscript(t, transcriptPath(c.name))
			logins := countLogins(t, tr)
			for _, fromInitiator := range []bool{true, false} {
				stream := tr.stream(fromInitiator)
				var out bytes.Buffer
				w := iscsi.NewConn(&out)
				for i, r := range split(t, stream, logins, c.headerDigest, c.dataDigest) {
					seen[r.pdu.Opcode()]++
					if i == logins {
						w.SetDigests(c.headerDigest, c.dataDigest)
					}
					var b iscsi.BHS
					r.pdu.Encode(&b)
					if err := errors.Join(w.WritePDU(&b, r.ahs, r.data), w.Flush()); err != nil {
						t.Fatal(err)
					}
					if n := out.Len(); n > len(stream) || !bytes.Equal(out.Bytes(), stream[:n]) {
						t.Fatalf("PDU %d, %v: encoded %x, recorded %x", i, r.pdu.Opcode(), b, r.bhs)
					}
				}
			}
		})
	}
	for _, op := range []iscsi.Opcode{
		iscsi.OpSCSICommand, iscsi.OpTaskManagementRequest, iscsi.OpLoginRequest, iscsi.OpTextRequest,
		iscsi.OpDataOut, iscsi.OpLogoutRequest, iscsi.OpSCSIResponse, iscsi.OpTaskManagementResponse,
		iscsi.OpLoginResponse, iscsi.OpTextResponse, iscsi.OpDataIn, iscsi.OpLogoutResponse, iscsi.OpR2T,
	} {
		if seen[op] == 0 {
			t.Errorf("no transcript has a %v PDU", op)
		}
	}
}
