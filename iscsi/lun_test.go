package iscsi_test

import (
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
	if l := iscsi.LUN(0x0102030405060708); l.Bytes() != [8]byte{1, 2, 3, 4, 5, 6, 7, 8} || iscsi.LUNFromBytes(l.Bytes()) != l {
		t.Errorf("bytes % x", l.Bytes())
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
