package iscsi_test

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/bootlun/bootlun/iscsi"
)

func TestLUN(t *testing.T) {
	tests := []struct {
		number int
		lun    iscsi.LUN
		text   string
	}{
		{0, 0, "0"},
		{1, 0x0001 << 48, "1"},
		{255, 0x00ff << 48, "255"},
		{256, 0x4100 << 48, "256"},
		{16383, 0x7fff << 48, "16383"},
	}
	for _, tt := range tests {
		lun, err := iscsi.MakeLUN(tt.number)
		if err != nil || lun != tt.lun {
			t.Errorf("MakeLUN(%d) = %#x, %v", tt.number, uint64(lun), err)
		}
		if n, ok := lun.Number(); !ok || n != tt.number {
			t.Errorf("%#x.Number() = %d, %v", uint64(lun), n, ok)
		}
		if lun.String() != tt.text {
			t.Errorf("%#x is %q", uint64(lun), lun)
		}
		if back, err := iscsi.ParseLUN(tt.text); err != nil || back != lun {
			t.Errorf("ParseLUN(%q) = %v, %v", tt.text, back, err)
		}
	}
	for _, n := range []int{-1, 16384} {
		if _, err := iscsi.MakeLUN(n); err == nil {
			t.Errorf("MakeLUN(%d): no error", n)
		}
	}
	// A number below 256 in flat space addressing, as some initiators send it.
	if n, ok := iscsi.LUN(0x4005 << 48).Number(); !ok || n != 5 {
		t.Errorf("flat 5: %d, %v", n, ok)
	}
	for _, structured := range []iscsi.LUN{0x0100 << 48, 0x8001 << 48, 0xc101 << 48, 1, 0x0001_0001 << 32} {
		if n, ok := structured.Number(); ok {
			t.Errorf("%v has the number %d", structured, n)
		}
		if back, err := iscsi.ParseLUN(structured.String()); err != nil || back != structured {
			t.Errorf("%v read back as %v, %v", structured, back, err)
		}
	}
}

func TestParseLUN(t *testing.T) {
	for s, want := range map[string]iscsi.LUN{"4752-3A4F": 0x47523a4f << 32, "1-": 0, "7": 7 << 48} {
		got, err := iscsi.ParseLUN(s)
		if (err != nil) != (want == 0) || got != want {
			t.Errorf("%q: %#x, %v", s, uint64(got), err)
		}
	}
	for _, s := range []string{"", "x", "0x1", "-1", "16384", "1-2-3-4-5", "10000-0", "g-0"} {
		if l, err := iscsi.ParseLUN(s); err == nil {
			t.Errorf("%q: %v", s, l)
		}
	}
}

func TestSerialNumbers(t *testing.T) {
	const max = 1<<32 - 1
	less := []struct {
		a, b uint32
		want bool
	}{
		{0, 0, false},
		{0, 1, true},
		{1, 0, false},
		{max, 0, true},
		{0, max, false},
		{0, 1<<31 - 1, true},
		{0, 1 << 31, false},
		{1 << 31, 0, false},
		{0, 1<<31 + 1, false},
		{1<<31 + 1, 0, true},
	}
	for _, tt := range less {
		if got := iscsi.SNLess(tt.a, tt.b); got != tt.want {
			t.Errorf("SNLess(%#x, %#x) = %v", tt.a, tt.b, got)
		}
	}
	window := []struct {
		sn, first, last uint32
		want            bool
	}{
		{5, 5, 5, true},
		{5, 5, 4, false}, // closed
		{4, 5, 10, false},
		{10, 5, 10, true},
		{11, 5, 10, false},
		{max, max - 1, 2, true},
		{2, max - 1, 2, true},
		{3, max - 1, 2, false},
		{0, 0, max, false}, // closed, around zero
	}
	for _, tt := range window {
		if got := iscsi.SNInWindow(tt.sn, tt.first, tt.last); got != tt.want {
			t.Errorf("SNInWindow(%#x, %#x, %#x) = %v", tt.sn, tt.first, tt.last, got)
		}
	}
}

func TestISID(t *testing.T) {
	tests := []struct {
		isid iscsi.ISID
		want string
	}{
		{iscsi.OUIISID([3]byte{0x00, 0x02, 0x3d}, 0x000001), "00023d000001"},
		{iscsi.OUIISID([3]byte{0xfc, 0x02, 0x3d}, 0x123456), "3f023d123456"},
		{iscsi.ENISID(0x00abcd, 0x0102), "4000abcd0102"},
	}
	for _, tt := range tests {
		if got := tt.isid.String(); got != tt.want {
			t.Errorf("%s, want %s", got, tt.want)
		}
		for _, prefix := range []string{"", "0x"} {
			if back, err := iscsi.ParseISID(prefix + tt.want); err != nil || back != tt.isid {
				t.Errorf("ParseISID(%q) = %v, %v", prefix+tt.want, back, err)
			}
		}
	}
	a, b := iscsi.RandomISID(7), iscsi.RandomISID(7)
	if a[0] != 0x80 || a.Qualifier() != 7 || a == b {
		t.Errorf("random ISIDs %v, %v", a, b)
	}
	if got := a.WithQualifier(0x0809); got.Qualifier() != 0x0809 || [4]byte(got[:4]) != [4]byte(a[:4]) {
		t.Errorf("%v with another qualifier: %v", a, got)
	}
	for _, bad := range []string{"", "00023d00000", "00023d0000011", "0x00023d0000", "00023d00000g"} {
		if i, err := iscsi.ParseISID(bad); err == nil {
			t.Errorf("%q: %v", bad, i)
		}
	}
}

// TestSecretDoesNotPrint tries every way in which a secret could get out unasked.
func TestSecretDoesNotPrint(t *testing.T) {
	const text = "hunter2hunter2"
	s := iscsi.Secret(text)
	var out strings.Builder
	for _, verb := range "vsqxXdfT" {
		fmt.Fprintf(&out, "%"+string(verb)+"\n", s)
		fmt.Fprintf(&out, "%+"+string(verb)+"%#"+string(verb)+"\n", s, s)
	}
	user := iscsi.CHAPUser{Name: "boot", Secret: s}
	fmt.Fprintf(&out, "%v %+v %#v %s\n", user, user, &user, &user)
	fmt.Fprintln(&out, s, user)
	for _, h := range []slog.Handler{slog.NewTextHandler(&out, nil), slog.NewJSONHandler(&out, nil)} {
		slog.New(h).Info("login", "secret", s, "user", user, "client", iscsi.CHAPClient{User: user})
	}
	j, err := json.Marshal(map[string]any{"s": s, "u": user})
	if err != nil {
		t.Fatal(err)
	}
	out.Write(j)
	l, err := iscsi.NewInitiatorLogin(iscsi.InitiatorConfig{
		InitiatorName: testInitiator, TargetName: tgtName, CHAP: &iscsi.CHAPClient{User: user},
	})
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(&out, "%v %+v %s\n", l, l, l)
	if strings.Contains(out.String(), "hunter") || strings.Contains(out.String(), fmt.Sprintf("%x", "hunter")) {
		t.Errorf("the secret is in:\n%s", &out)
	}
	if !strings.Contains(out.String(), "***") {
		t.Errorf("nothing stands for the secret in:\n%s", &out)
	}
	if s.Reveal() != text || iscsi.Secret("").String() != "" {
		t.Error("Reveal or an empty secret is wrong")
	}
	masked := iscsi.Text{{Key: "CHAP_N", Value: "boot"}, {Key: "CHAP_R", Value: "0x1234"}}
	if got := masked.String(); got != "CHAP_N=boot CHAP_R=***" {
		t.Error(got)
	}
}

func TestParseName(t *testing.T) {
	good := map[string]string{
		"iqn.2001-04.com.example:storage.disk1":       "",
		"iqn.2001-04.com.example":                     "",
		"IQN.2001-04.COM.Example:Disk":                "iqn.2001-04.com.example:disk",
		"iqn.2010-04.org.ipxe:":                       "",
		"iqn.1993-08.org.debian:01:a1b2c3d4e5f":       "",
		"iqn.2001-04.com.ex-ample:a:b-c.d":            "",
		"iqn.2001-04.com.example:söre":                "",
		"eui.02004567A425678D":                        "eui.02004567a425678d",
		"naa.52004567BA64678D":                        "naa.52004567ba64678d",
		"naa.62004567BA64678D0123456789ABCDEF":        "naa.62004567ba64678d0123456789abcdef",
		"iqn.2001-04.com:" + strings.Repeat("x", 207): "",
	}
	for in, want := range good {
		if want == "" {
			want = in
		}
		if got, err := iscsi.ParseName(in); err != nil || got != want {
			t.Errorf("%q: %q, %v", in, got, err)
		}
	}
	for _, bad := range []string{
		"", "iqn", "iqn.", "disk", "iqn.2001-04", "iqn.2001-04.", "iqn.2001-4.com.example", "iqn.2001-13.com.example",
		"iqn.2001-00.com.example", "iqn.abcd-01.com.example", "iqn.2001-04..example", "iqn.2001-04.-com.example",
		"iqn.2001-04.com.example:a b", "iqn.2001-04.com.example:a_b", "iqn.2001-04.com.example:a\x00b",
		"iqn.2001-04.com.example:\xff", "eui.02004567A425678", "eui.02004567A425678DD", "eui.0200-4567A425678",
		"naa.52004567BA64678", "naa.5200456700000000000", "iqn.2001-04.com:" + strings.Repeat("x", 208),
	} {
		if name, err := iscsi.ParseName(bad); err == nil || iscsi.ValidateName(bad) == nil {
			t.Errorf("%q: %q, no error", bad, name)
		}
	}
	if err := iscsi.ValidateName("naa.12"); err == nil ||
		err.Error() != `iscsi: malformed name "naa.12": 2 hexadecimal digits, want 16 or 32` {
		t.Error(err)
	}
}
