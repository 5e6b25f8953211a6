package boot

import (
	"reflect"
	"testing"
)

func TestPathGroups(t *testing.T) {
	states := map[string]string{"sda": "active/non-optimized", "sdb": "active/optimized", "sdc": "standby", "sdd": "active/optimized"}
	preferred := ""
	byState := func(disk string) int { return rank(states[disk], disk == preferred) }
	d := &multipathDisk{Paths: map[string]string{"8:0": "sda", "8:16": "sdb", "8:32": "sdc", "8:48": "sdd"}}
	for _, tt := range []struct {
		name      string
		preferred string
		rank      func(string) int
		want      [][]string
	}{
		{"states", "", byState, [][]string{{"8:16", "8:48"}, {"8:0"}, {"8:32"}}},
		{"one preferred", "sdd", byState, [][]string{{"8:48"}, {"8:16"}, {"8:0"}, {"8:32"}}},
		{"preferred, but not as good", "sdc", byState, [][]string{{"8:16", "8:48"}, {"8:0"}, {"8:32"}}},
		{"no ALUA", "", func(string) int { return rank("", false) }, [][]string{{"8:0", "8:16", "8:32", "8:48"}}},
	} {
		preferred = tt.preferred
		if got := d.groups(tt.rank); !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s: groups %v, want %v", tt.name, got, tt.want)
		}
	}
}
