package scsi_test

import (
	"encoding/hex"
	"reflect"
	"testing"

	"github.com/bootlun/bootlun/scsi"
)

func TestPortGroups(t *testing.T) {
	groups := []scsi.PortGroup{
		{ID: 1, Preferred: true, Ports: []uint16{1, 0x0203}},
		{ID: 0x0405, State: scsi.Standby, Status: scsi.AccessByCommand, Ports: []uint16{6}},
	}
	const descriptors = "800f000100000002" + "00000001" + "00000203" + "020f040500010001" + "00000006"
	for _, extended := range []bool{false, true} {
		want := "0000001c" + descriptors
		if extended {
			want = "00000020" + "10000000" + descriptors
		}
		b := scsi.AppendPortGroups(nil, groups, extended)
		if got := hex.EncodeToString(b); got != want {
			t.Errorf("extended %v:\n got %s\nwant %s", extended, got, want)
		}
		if got, err := scsi.ParsePortGroups(b); err != nil || !reflect.DeepEqual(got, groups) {
			t.Errorf("%+v becomes %+v, %v", groups, got, err)
		}
		if got, err := scsi.ParsePortGroups(b[:len(b)-1]); err != nil || len(got) != 1 {
			t.Errorf("of data that is cut off %d groups are read, %v; want 1", len(got), err)
		}
	}
	if _, err := scsi.ParsePortGroups([]byte{0, 0, 0}); err == nil {
		t.Error("three bytes are read")
	}
}

func TestSetPortGroups(t *testing.T) {
	groups := []scsi.PortGroup{{ID: 0x0102, State: scsi.ActiveNonOptimized}, {ID: 3, State: scsi.Offline}}
	b := scsi.AppendSetPortGroups(nil, groups)
	if got, want := hex.EncodeToString(b), "00000000"+"01000102"+"0e000003"; got != want {
		t.Errorf("list %s, want %s", got, want)
	}
	if got, err := scsi.ParseSetPortGroups(b); err != nil || !reflect.DeepEqual(got, groups) {
		t.Errorf("%+v becomes %+v, %v", groups, got, err)
	}
	for _, n := range []int{0, 3, 5, 11} {
		if _, err := scsi.ParseSetPortGroups(make([]byte, n)); err == nil {
			t.Errorf("%d bytes are read", n)
		}
	}
}

func TestPortGroupCommands(t *testing.T) {
	report := scsi.ReportTargetPortGroups{Extended: true, Length: 0x01020304}
	c := report.CDB()
	if got := hex.EncodeToString(c[:12]); got != "a32a00000000010203040000" || scsi.ParseReportTargetPortGroups(&c) != report {
		t.Errorf("%+v is %s", report, got)
	}
	set := scsi.SetTargetPortGroups{Length: 8}
	c = set.CDB()
	if got := hex.EncodeToString(c[:12]); got != "a40a00000000000000080000" || scsi.ParseSetTargetPortGroups(&c) != set {
		t.Errorf("%+v is %s", set, got)
	}
	if c.Name() != "SET TARGET PORT GROUPS" {
		t.Errorf("it is called %q", c.Name())
	}
}

func TestAccessStateText(t *testing.T) {
	for _, s := range []scsi.AccessState{scsi.ActiveOptimized, scsi.ActiveNonOptimized, scsi.Standby, scsi.Unavailable} {
		text, _ := s.MarshalText()
		got := scsi.AccessState(9)
		if err := got.UnmarshalText(text); err != nil || got != s {
			t.Errorf("%v becomes %v, %v", s, got, err)
		}
	}
	if err := new(scsi.AccessState).UnmarshalText([]byte("fast")); err == nil {
		t.Error("there is a state fast")
	}
}
