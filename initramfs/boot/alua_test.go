package boot

import (
	"reflect"
	"testing"
	"unsafe"

	"github.com/bootlun/bootlun/scsi"
)

func TestPathGroups(t *testing.T) {
	optimized, other, standby := scsi.PortGroup{}, scsi.PortGroup{State: scsi.ActiveNonOptimized}, scsi.PortGroup{State: scsi.Standby}
	preferred, preferredStandby := scsi.PortGroup{Preferred: true}, scsi.PortGroup{State: scsi.Standby, Preferred: true}
	for _, tt := range []struct {
		name  string
		paths map[string]scsi.PortGroup
		want  [][]string
	}{
		{"states", map[string]scsi.PortGroup{"8:0": other, "8:16": optimized, "8:32": standby, "8:48": optimized}, [][]string{{"8:16", "8:48"}, {"8:0"}, {"8:32"}}},
		{"one preferred", map[string]scsi.PortGroup{"8:0": optimized, "8:16": preferred}, [][]string{{"8:16"}, {"8:0"}}},
		{"preferred, but not as good", map[string]scsi.PortGroup{"8:0": other, "8:16": preferredStandby}, [][]string{{"8:0"}, {"8:16"}}},
	} {
		d := &multipathDisk{Paths: make(map[string]string), Ranks: make(map[string]int)}
		for number, group := range tt.paths {
			d.Paths[number], d.Ranks[number] = "", rank(group)
		}
		if got := d.groups(); !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s: groups %v, want %v", tt.name, got, tt.want)
		}
	}
	without := &multipathDisk{Paths: map[string]string{"8:0": "sda", "8:16": "sdb", "65:0": "sdq"}}
	if got := without.groups(); len(got) != 1 || len(got[0]) != 3 {
		t.Errorf("without ALUA: groups %v, want one of three", got)
	}
}

func TestSGHeaderSize(t *testing.T) {
	if size := unsafe.Sizeof(sgHeader{}); unsafe.Sizeof(uintptr(0)) == 8 && size != 88 {
		t.Errorf("the header has %d bytes, want 88", size)
	}
}
