package iscsi_test

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/bootlun/bootlun/iscsi"
)

func TestParseText(t *testing.T) {
	tests := []struct {
		in   string
		want iscsi.Text
	}{
		{"", nil},
		{"\x00\x00\x00", nil},
		{"A=1\x00B=\x00", iscsi.Text{{Key: "A", Value: "1"}, {Key: "B", Value: ""}}},
		{"A=1", iscsi.Text{{Key: "A", Value: "1"}}}, // the last NUL is missing
		{"A=b=c\x00", iscsi.Text{{Key: "A", Value: "b=c"}}},
		{"X-com.example.k_1+2@#/=a,b\x00", iscsi.Text{{Key: "X-com.example.k_1+2@#/", Value: "a,b"}}},
		{"A=" + strings.Repeat("x", 255) + "\x00", iscsi.Text{{Key: "A", Value: strings.Repeat("x", 255)}}},
		{"A=0x" + strings.Repeat("ab", 1024) + "\x00", iscsi.Text{{Key: "A", Value: "0x" + strings.Repeat("ab", 1024)}}},
		{"A=" + strings.Repeat("abc,", 100) + "d\x00", iscsi.Text{{Key: "A", Value: strings.Repeat("abc,", 100) + "d"}}},
		{strings.Repeat("k", 63) + "=v\x00", iscsi.Text{{Key: strings.Repeat("k", 63), Value: "v"}}},
	}
	for _, tt := range tests {
		got, err := iscsi.ParseText([]byte(tt.in))
		if err != nil || !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%.60q: %v, %v", tt.in, got, err)
		}
		back, err := iscsi.ParseText(got.Append(nil))
		if err != nil || !reflect.DeepEqual(back, got) {
			t.Errorf("%.60q: read back as %v, %v", tt.in, back, err)
		}
	}
	for _, bad := range []string{
		"A\x00", "=1\x00", "A=1\x00A=2\x00", "A=1\x00B=1\x00A=1\x00", "A B=1\x00", "\xff=1\x00",
		strings.Repeat("k", 64) + "=v\x00", "A=" + strings.Repeat("x", 256) + "\x00",
		"A=b," + strings.Repeat("x", 256) + "\x00",
	} {
		if got, err := iscsi.ParseText([]byte(bad)); !errors.Is(err, iscsi.ErrBadText) {
			t.Errorf("%.60q: %v, %v", bad, got, err)
		}
	}
}

func TestTextGetSet(t *testing.T) {
	var text iscsi.Text
	text.Add("A", "1")
	text.Set("B", "2")
	text.Set("A", "3")
	if v, ok := text.Get("A"); !ok || v != "3" {
		t.Errorf("A is %q, %v", v, ok)
	}
	if v, ok := text.Get("C"); ok {
		t.Errorf("C is %q", v)
	}
	if got := string(text.Append([]byte("."))); got != ".A=3\x00B=2\x00" {
		t.Errorf("%q", got)
	}
	if got := text.String(); got != "A=3 B=2" {
		t.Error(got)
	}
}

func TestValues(t *testing.T) {
	numbers := map[string]uint64{"0": 0, "8192": 8192, "0x2000": 8192, "0Xff": 255, "18446744073709551615": 1<<64 - 1}
	for s, want := range numbers {
		if got, err := iscsi.ParseNumber(s); err != nil || got != want {
			t.Errorf("%q: %d, %v", s, got, err)
		}
	}
	for _, s := range []string{"", "x", "-1", "+1", "1.5", "0x", "0xg", "1_000", " 1", "18446744073709551616"} {
		if got, err := iscsi.ParseNumber(s); !errors.Is(err, iscsi.ErrBadText) {
			t.Errorf("%q: %d, %v", s, got, err)
		}
	}
	for s, want := range map[string]bool{"Yes": true, "No": false} {
		if got, err := iscsi.ParseBool(s); err != nil || got != want || iscsi.FormatBool(got) != s {
			t.Errorf("%q: %v, %v", s, got, err)
		}
	}
	for _, s := range []string{"", "yes", "YES", "1", "true", "Yes "} {
		if _, err := iscsi.ParseBool(s); !errors.Is(err, iscsi.ErrBadText) {
			t.Errorf("%q: %v", s, err)
		}
	}
	if low, high, err := iscsi.ParseRange("512~0x2000"); err != nil || low != 512 || high != 8192 {
		t.Errorf("range: %d, %d, %v", low, high, err)
	}
	for _, s := range []string{"", "1", "2~1", "~1", "1~", "a~b"} {
		if _, _, err := iscsi.ParseRange(s); !errors.Is(err, iscsi.ErrBadText) {
			t.Errorf("%q: %v", s, err)
		}
	}
}

func TestBinaryValues(t *testing.T) {
	for s, want := range map[string]string{
		"0x00ff10": "\x00\xff\x10",
		"0Xabc":    "\x0a\xbc", // an odd first digit
		"0bTWFu":   "Man",
		"0BTWE=":   "Ma",
		"0bTWE":    "Ma", // without padding
		"0bTQ==":   "M",
		"0b+/+/":   "\xfb\xff\xbf",
	} {
		if got, err := iscsi.ParseBinary(s); err != nil || string(got) != want {
			t.Errorf("%q: %x, %v", s, got, err)
		}
	}
	for _, s := range []string{"", "0x", "0b", "12", "0xzz", "0b!!", "ab", "0bA"} {
		if got, err := iscsi.ParseBinary(s); !errors.Is(err, iscsi.ErrBadText) {
			t.Errorf("%q: %x, %v", s, got, err)
		}
	}
	if got := iscsi.FormatBinary([]byte{0, 0xab}); got != "0x00ab" {
		t.Error(got)
	}
}

// TestContinuation cuts a text to segments and joins them again.
func TestContinuation(t *testing.T) {
	data := iscsi.Text{{Key: "A", Value: strings.Repeat("x", 200)}, {Key: "B", Value: "2"}}.Append(nil)
	for _, size := range []int{1, 7, 100, len(data) - 1, len(data), len(data) + 1} {
		s := iscsi.NewTextSplitter(data, size)
		var a iscsi.TextAssembler
		for n := 1; ; n++ {
			segment, more := s.Next()
			if len(segment) > size || more != (n*size < len(data)) || more != s.Pending() {
				t.Fatalf("size %d, segment %d: %d bytes, more %v", size, n, len(segment), more)
			}
			if err := a.Add(segment); err != nil {
				t.Fatal(err)
			}
			if !more {
				break
			}
		}
		if got := a.Take(); !bytes.Equal(got, data) {
			t.Errorf("size %d: %q", size, got)
		}
		if got := a.Take(); len(got) != 0 {
			t.Errorf("taken twice: %q", got)
		}
	}
	var none iscsi.TextSplitter
	if segment, more := none.Next(); len(segment) != 0 || more || none.Pending() {
		t.Errorf("the zero splitter sends %q", segment)
	}
	a := iscsi.TextAssembler{Max: 10}
	if err := errors.Join(a.Add(make([]byte, 6)), a.Add(make([]byte, 4))); err != nil {
		t.Error(err)
	}
	if err := a.Add(make([]byte, 1)); !errors.Is(err, iscsi.ErrBadText) {
		t.Errorf("11 of 10 bytes: %v", err)
	}
	var standard iscsi.TextAssembler
	if err := standard.Add(make([]byte, iscsi.MaxTextLength+1)); !errors.Is(err, iscsi.ErrBadText) {
		t.Errorf("more than MaxTextLength: %v", err)
	}
}

func TestTargetAddress(t *testing.T) {
	tests := []struct {
		in   string
		want iscsi.TargetAddress
		out  string // if another than in
	}{
		{"192.0.2.1:3260,1", iscsi.TargetAddress{Host: "192.0.2.1", Port: 3260, Tag: 1}, ""},
		{"192.0.2.1:3261", iscsi.TargetAddress{Host: "192.0.2.1", Port: 3261, Tag: iscsi.NoTag}, ""},
		{"192.0.2.1", iscsi.TargetAddress{Host: "192.0.2.1", Port: 3260, Tag: iscsi.NoTag}, "192.0.2.1:3260"},
		{"storage.example,7", iscsi.TargetAddress{Host: "storage.example", Port: 3260, Tag: 7}, "storage.example:3260,7"},
		{"[2001:db8::1]:3260,65535", iscsi.TargetAddress{Host: "2001:db8::1", Port: 3260, Tag: 65535}, ""},
		{"[2001:db8::1]", iscsi.TargetAddress{Host: "2001:db8::1", Port: 3260, Tag: iscsi.NoTag}, "[2001:db8::1]:3260"},
		{"2001:db8::1", iscsi.TargetAddress{Host: "2001:db8::1", Port: 3260, Tag: iscsi.NoTag}, "[2001:db8::1]:3260"},
		{"[fe80::1%eth0]:3260", iscsi.TargetAddress{Host: "fe80::1%eth0", Port: 3260, Tag: iscsi.NoTag}, ""},
		{"host:", iscsi.TargetAddress{Host: "host", Port: 3260, Tag: iscsi.NoTag}, "host:3260"},
	}
	for _, tt := range tests {
		got, err := iscsi.ParseTargetAddress(tt.in)
		if err != nil || got != tt.want {
			t.Errorf("%q: %+v, %v", tt.in, got, err)
		}
		want := tt.out
		if want == "" {
			want = tt.in
		}
		if got.String() != want {
			t.Errorf("%q: written %q", tt.in, got)
		}
	}
	for _, bad := range []string{
		"", ":3260", "[]:3260", "[::1", "h:0", "h:65536", "h:x", "h,", "h,65536", "h,-1", "[::1]3260", "h:1,2,3",
	} {
		if got, err := iscsi.ParseTargetAddress(bad); err == nil {
			t.Errorf("%q: %+v", bad, got)
		}
	}
}

func TestTargets(t *testing.T) {
	records := []iscsi.TargetRecord{
		{Name: "iqn.2001-04.com.example:a", Addresses: []iscsi.TargetAddress{
			{Host: "192.0.2.1", Port: 3260, Tag: 1}, {Host: "2001:db8::1", Port: 3261, Tag: 2},
		}},
		{Name: "iqn.2001-04.com.example:b"},
	}
	data := iscsi.AppendTargets(nil, records)
	want := "TargetName=iqn.2001-04.com.example:a\x00TargetAddress=192.0.2.1:3260,1\x00" +
		"TargetAddress=[2001:db8::1]:3261,2\x00TargetName=iqn.2001-04.com.example:b\x00"
	if string(data) != want {
		t.Errorf("%q", data)
	}
	got, err := iscsi.ParseTargets(data)
	if err != nil || !reflect.DeepEqual(got, records) {
		t.Errorf("%+v, %v", got, err)
	}
	for _, bad := range []string{
		"TargetAddress=192.0.2.1\x00", "TargetName=\x00", "TargetName=a\x00TargetAddress=:1\x00", "x\x00",
	} {
		if got, err := iscsi.ParseTargets([]byte(bad)); err == nil {
			t.Errorf("%q: %+v", bad, got)
		}
	}
	// tgt's own answer.
	tr := readTranscript(t, transcriptPath("libiscsi-discovery"))
	for _, r := range split(t, tr.stream(false), -1, false, false) {
		if r.pdu.Opcode() == iscsi.OpTextResponse {
			got, err := iscsi.ParseTargets(r.data)
			if err != nil || len(got) != 1 || got[0].Name != tgtName || len(got[0].Addresses) != 1 {
				t.Errorf("%+v, %v", got, err)
			}
		}
	}
}

func TestAnswerText(t *testing.T) {
	list := func(value string) ([]iscsi.TargetRecord, bool) {
		return []iscsi.TargetRecord{{Name: "iqn.2001-04.com.example:" + value}}, value != "no"
	}
	tests := []struct{ in, want string }{
		{"", ""},
		{"SendTargets=All\x00", "TargetName=iqn.2001-04.com.example:All\x00"},
		{"SendTargets=no\x00", "SendTargets=Reject\x00"},
		{"MaxRecvDataSegmentLength=4096\x00", ""},
		{"InitiatorAlias=x\x00", ""},
		{"HeaderDigest=CRC32C\x00MaxBurstLength=512\x00", "HeaderDigest=Reject\x00MaxBurstLength=Reject\x00"},
		{"X-new=1\x00OFMarker=No\x00OFMarkInt=1~2\x00", "X-new=NotUnderstood\x00OFMarker=No\x00OFMarkInt=Reject\x00"},
	}
	p := iscsi.DefaultParams()
	for _, tt := range tests {
		text, err := iscsi.ParseText([]byte(tt.in))
		if err != nil {
			t.Fatal(err)
		}
		got, err := p.AnswerText(text, list)
		if err != nil || string(got) != tt.want {
			t.Errorf("%q: %q, %v", tt.in, got, err)
		}
	}
	if p.MaxSendDataSegmentLength != 4096 || p.HeaderDigest {
		t.Errorf("%+v", p)
	}
	if _, err := p.AnswerText(iscsi.Text{{Key: "MaxRecvDataSegmentLength", Value: "1"}}, list); err == nil {
		t.Error("a declaration out of range: no error")
	}
}
