//go:build linux

package devmapper

import (
	"encoding/binary"
	"slices"
	"testing"
)

func TestMultipathTable(t *testing.T) {
	for _, tt := range []struct {
		handler string
		groups  [][]string
		want    string
	}{
		{"", [][]string{{"8:0", "8:16"}}, "1 queue_if_no_path 0 1 1 service-time 0 2 1 8:0 1 8:16 1"},
		{ALUA, [][]string{{"8:16"}, {"8:0"}}, "1 queue_if_no_path 1 alua 2 1 service-time 0 1 1 8:16 1 service-time 0 1 1 8:0 1"},
	} {
		want := Target{Length: 2048, Type: "multipath", Params: tt.want}
		if got := Multipath(2048, tt.handler, tt.groups); got != want {
			t.Errorf("table %+v, want %+v", got, want)
		}
	}
}

func TestEncodeTarget(t *testing.T) {
	b := encodeTarget(Linear("254:0", 2048, 100))
	ne := binary.NativeEndian
	if len(b)%8 != 0 || int(ne.Uint32(b[20:])) != len(b) || ne.Uint64(b[8:]) != 100 || string(b[24:31]) != "linear\x00" || string(b[40:51]) != "254:0 2048\x00" {
		t.Errorf("encoded as %q", b)
	}
}

func TestParsePaths(t *testing.T) {
	// As Linux 6.1 says it: features, no handler, one group, its paths with the selector's words on each.
	got := parsePaths("2 0 0 0 1 1 A 0 2 2 8:0 A 0 4096 1 8:16 F 1 0 1 ")
	if want := []Path{{Device: "8:0"}, {Device: "8:16", Failed: true}}; !slices.Equal(got, want) {
		t.Errorf("paths %+v, want %+v", got, want)
	}
}
