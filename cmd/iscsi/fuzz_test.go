package main

import (
	"bytes"
	"strings"
	"testing"
	"unicode"

	"github.com/bootlun/bootlun/iscsi"
)

// What a URL or root path names has a portal and a target, and says so again.
func FuzzLocation(f *testing.F) {
	for _, s := range []string{
		"iscsi://alice@192.0.2.1:3260/iqn.2026-01.com.example:disk/1", "iscsi://[2001:db8::1]/iqn.2026-01.com.example:disk/4001-0002-0000-0000",
		"iscsi:192.0.2.1:6:3260:1:iqn.2026-01.com.example:disk", "iscsi:[2001:db8::1]::::eui.0123456789abcdef", "iscsi://a:b@h/x", "iscsi:::::", "iscsi://@/",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		l, err := parseLocation(s)
		if err != nil {
			return
		}
		if l.portal == "" || l.target == "" || strings.ContainsAny(l.user, "%:") {
			t.Fatalf("%q: %+v", s, l)
		}
		url := "iscsi://" + l.portal + "/" + l.target
		if again, err := parseLocation(url); strings.HasPrefix(s, "iscsi://") && (err != nil || again.portal != l.portal || again.target != l.target) {
			t.Fatalf("%q is %+v, and %q %+v (%v)", s, l, url, again, err)
		}
	})
}

// The decoder behind -v takes any bytes from either side, in any pieces, and prints whole lines without control characters.
func FuzzDecoder(f *testing.F) {
	login := func(op byte, text string) []byte {
		b := make([]byte, iscsi.BHSLength)
		b[0], b[1], b[7] = op, 0x87, byte(len(text))
		return append(b, text...)
	}
	f.Add(login(0x43, "InitiatorName=iqn.a\x00CHAP_R=0x00112233\x00"), uint8(7))
	f.Add(login(0x23, "TargetAlias=\x1b[2J\x00"), uint8(1))
	f.Add(login(0x21, "\x00\x12\x70\x00\x05\x00"), uint8(255))
	f.Add(bytes.Repeat(login(0x3f, ""), 3), uint8(0))
	f.Fuzz(func(t *testing.T, b []byte, piece uint8) {
		var out bytes.Buffer
		d := &decoder{out: &lineWriter{w: &out}}
		for sent := false; len(b) >= iscsi.BHSLength; sent = !sent {
			bhs := iscsi.BHS(b)
			b = b[iscsi.BHSLength:]
			d.Header(sent, bhs, nil)
			data := b[:min(len(b), bhs.DataSegmentLength())]
			b = b[len(data):]
			for len(data) > 0 {
				n := min(len(data), int(piece)+1)
				d.Data(sent, data[:n])
				data = data[n:]
			}
		}
		if i := strings.IndexFunc(out.String(), func(r rune) bool { return r != '\n' && unicode.IsControl(r) }); i >= 0 {
			t.Fatalf("control character at %d of %q", i, out.String())
		}
	})
}
