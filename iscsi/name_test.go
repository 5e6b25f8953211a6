package iscsi_test

import (
	"strings"
	"testing"

	"github.com/bootlun/bootlun/iscsi"
)

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
