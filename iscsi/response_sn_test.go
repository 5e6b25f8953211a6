package iscsi

import (
	"bytes"
	"testing"
)

func TestSetResponseSN(t *testing.T) {
	for _, p := range []PDU{
		&NOPIn{}, &SCSIResponse{}, &TaskManagementResponse{}, &LoginResponse{}, &TextResponse{},
		&DataIn{}, &LogoutResponse{}, &R2T{}, &AsyncMessage{}, &Reject{},
	} {
		var b BHS
		p.Encode(&b)
		b.SetResponseSN(1, 2, 3)
		if b.StatSN() != 1 || b.ExpCmdSN() != 2 || b.MaxCmdSN() != 3 {
			t.Errorf("%v: %d, %d, %d; want 1, 2, 3", p.Opcode(), b.StatSN(), b.ExpCmdSN(), b.MaxCmdSN())
		}
		if err := p.Decode(&b); err != nil {
			t.Errorf("%v: %v", p.Opcode(), err)
		}
	}
}

func TestBuffered(t *testing.T) {
	var stream bytes.Buffer
	w := NewConn(&stream)
	for range 3 {
		var b BHS
		(&NOPOut{}).Encode(&b)
		if err := w.WritePDU(&b, nil, []byte("ping")); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	r := NewConn(&stream)
	for want := 3 * (BHSLength + 4); want > 0; want -= BHSLength + 4 {
		var b BHS
		if err := r.ReadHeader(&b); err != nil {
			t.Fatal(err)
		}
		if got := r.Buffered(); got != want-BHSLength {
			t.Errorf("after a header %d bytes are buffered, want %d", got, want-BHSLength)
		}
		if err := r.SkipData(); err != nil {
			t.Fatal(err)
		}
	}
}
