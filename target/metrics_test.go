package target_test

import (
	"context"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/bootlun/bootlun/iscsi"
	"github.com/bootlun/bootlun/scsi"
	"github.com/bootlun/bootlun/target"
	"github.com/bootlun/bootlun/target/store"
)

// metrics asks the server and returns its samples by name and labels. It expects
// each to be in the text format, after a HELP and a TYPE of its name.
func metrics(t *testing.T, srv *target.Server) map[string]float64 {
	t.Helper()
	var text strings.Builder
	if err := srv.WriteMetrics(&text); err != nil {
		t.Fatal(err)
	}
	sample := regexp.MustCompile(`^([a-z_]+)(\{([a-z]+="(?:[^"\\\n]|\\[\\"n])*",?)+\})? (\S+)$`)
	suffix := regexp.MustCompile(`_(bucket|sum|count)$`)
	kinds := make(map[string]string)
	samples := make(map[string]float64)
	for line := range strings.Lines(text.String()) {
		line = strings.TrimSuffix(line, "\n")
		if rest, ok := strings.CutPrefix(line, "# TYPE "); ok {
			name, kind, _ := strings.Cut(rest, " ")
			if kinds[name] != "" {
				t.Errorf("two types for %s", name)
			}
			kinds[name] = kind
			continue
		}
		if strings.HasPrefix(line, "# HELP ") {
			continue
		}
		parts := sample.FindStringSubmatch(line)
		if parts == nil {
			t.Fatalf("no sample: %q", line)
		}
		if kinds[parts[1]] == "" && kinds[suffix.ReplaceAllString(parts[1], "")] != "histogram" {
			t.Errorf("no type for %s", parts[1])
		}
		v, err := strconv.ParseFloat(parts[4], 64)
		if err != nil {
			t.Errorf("%q: %v", line, err)
		}
		if _, twice := samples[parts[1]+parts[2]]; twice {
			t.Errorf("two samples %s", parts[1]+parts[2])
		}
		samples[parts[1]+parts[2]] = v
	}
	return samples
}

func TestMetrics(t *testing.T) {
	addr, srv := serve(t, target.Config{Targets: []*target.Target{disk(store.NewMemory(diskSize))}})
	wantRefused(t, addr, iscsi.StatusTargetNotFound, toTarget(otherTarget))
	c := connect(t, addr).ready()
	for range 3 {
		roundTrip(t, c, pattern(4096, 1), 0)
	}
	c.bad(transfer(scsi.OpRead16, diskSize/512, 1), 512, nil, scsi.KeyIllegalRequest, scsi.ASCLBAOutOfRange)
	c.ping() // what came before has been counted
	lun := `{target="` + testTarget + `",lun="0"`
	session := `{target="` + testTarget + `",initiator="` + testInitiator + `",tsih="1"`
	expect := func(want map[string]float64) {
		t.Helper()
		got := metrics(t, srv)
		for name, v := range want {
			if has, ok := got[name]; !ok || has != v {
				t.Errorf("%s = %v (%v), want %v", name, has, ok, v)
			}
		}
	}
	want := map[string]float64{
		`bootlun_lun_size_bytes` + lun + `}`:                                          diskSize,
		`bootlun_lun_queue_depth` + lun + `}`:                                         0,
		`bootlun_lun_bytes_total` + lun + `,op="read"}`:                               3 * 4096,
		`bootlun_lun_bytes_total` + lun + `,op="write"}`:                              3 * 4096,
		`bootlun_lun_errors_total` + lun + `,op="read"}`:                              1,
		`bootlun_lun_command_duration_seconds_count` + lun + `,op="read"}`:            4,
		`bootlun_lun_command_duration_seconds_bucket` + lun + `,op="read",le="+Inf"}`: 4,
		`bootlun_session_command_duration_seconds_count` + session + `,op="write"}`:   3,
		`bootlun_target_sessions{target="` + testTarget + `"}`:                        1,
		`bootlun_pending_logins`:                                                      0,
		`bootlun_logins_total{result="success"}`:                                      1,
		`bootlun_logins_total{result="refused"}`:                                      1,
	}
	expect(want)
	// A counter of a LUN does not go back when a session ends, nor does that of a
	// session when one of its LUNs is removed.
	if err := srv.RemoveLUN(t.Context(), testTarget, 0); err != nil {
		t.Fatal(err)
	}
	expect(map[string]float64{`bootlun_session_command_duration_seconds_count` + session + `,op="write"}`: 3})
	if err := srv.AddLUN(testTarget, target.LUN{Store: store.NewMemory(diskSize)}); err != nil {
		t.Fatal(err)
	}
	c.ready()
	roundTrip(t, c, pattern(4096, 1), 0)
	now, cancel := context.WithCancel(t.Context())
	cancel()
	if err := srv.Disconnect(now, c.res.TSIH); err != nil {
		t.Fatal(err)
	}
	expect(map[string]float64{
		`bootlun_lun_bytes_total` + lun + `,op="read"}`:        4096,
		`bootlun_target_sessions{target="` + testTarget + `"}`: 0,
	})
}
