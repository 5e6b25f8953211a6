package boot

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bootlun/bootlun/ibft"
)

func testMachine() *machine {
	return &machine{cfg: Config{Timeout: time.Minute}, log: slog.New(slog.DiscardHandler), netDevs: make(map[uint8]string)}
}

func TestRunStepTriesAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tries := 0
		s := step{name: "login", run: func(context.Context, *machine) (string, error) {
			if tries++; tries < 4 {
				return "", errors.New("connection refused")
			}
			return "in", nil
		}}
		r, err := runStep(t.Context(), s, testMachine())
		if err != nil || r.Detail != "in" || tries != 4 {
			t.Errorf("result %+v, error %v after %d tries", r, err, tries)
		}
		if want := (250 + 500 + 1000) * time.Millisecond; r.Took != want {
			t.Errorf("took %v, want pauses of %v", r.Took, want)
		}
	})
}

func TestRunStepGivesUp(t *testing.T) {
	refused := errors.New("connect to 10.0.0.1:3260: connection refused")
	tests := []struct {
		name      string
		err       error
		wantTries int
		want      []string
	}{
		{"after its deadline", refused, 16, []string{"login: ", "bootlun.timeout=", "10.0.0.1:3260", "check the target"}},
		{"at once when it cannot be mended", permanentError{refused}, 1, []string{"login: ", "10.0.0.1:3260", "check the target"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tries := 0
				s := step{name: "login", remedy: "check the target", run: func(context.Context, *machine) (string, error) {
					tries++
					return "", tt.err
				}}
				_, err := runStep(t.Context(), s, testMachine())
				var stepErr *StepError
				if !errors.As(err, &stepErr) || stepErr.Step != "login" || !errors.Is(err, refused) {
					t.Fatalf("error = %v", err)
				}
				for _, want := range tt.want {
					if !strings.Contains(err.Error(), want) {
						t.Errorf("error %q does not say %q", err, want)
					}
				}
				if tries != tt.wantTries {
					t.Errorf("%d tries, want %d", tries, tt.wantTries)
				}
			})
		})
	}
}

func TestResultRoundTrip(t *testing.T) {
	for _, r := range []Result{
		{Step: "login", Took: 132 * time.Millisecond, Detail: "iqn.2026-11.example:disk at 10.0.0.1:3260"},
		{Step: "switch root", Took: 12 * time.Second, Detail: "x"},
	} {
		for _, line := range []string{r.String(), "\x1b[0m" + r.String() + "\r\n", r.String() + "[    4.177962] sd 0:0:0:1: [sda] Attached SCSI disk"} {
			if got, ok := ParseResult(line); !ok || got != r {
				t.Errorf("ParseResult(%q) = %+v, %v", line, got, ok)
			}
		}
	}
	for _, line := range []string{"", "bootlun: failed: no lease", "[    1.0] sd 2:0:0:1: [sda] Attached SCSI disk"} {
		if r, ok := ParseResult(line); ok {
			t.Errorf("ParseResult(%q) = %+v", line, r)
		}
	}
}

func TestPoll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, errors.New("no carrier for a second"))
		defer cancel()
		if err := poll(ctx, func() (bool, error) { return false, nil }); err == nil || err.Error() != "no carrier for a second" {
			t.Errorf("error = %v, want the context's cause", err)
		}
		n := 0
		if err := poll(t.Context(), func() (bool, error) { n++; return n == 9, nil }); err != nil || n != 9 {
			t.Errorf("error %v after %d calls", err, n)
		}
	})
}

func TestDistinctPaths(t *testing.T) {
	nic := &ibft.NIC{}
	path := func(ip string, lun byte) ibft.Path {
		return ibft.Path{NIC: nic, Target: &ibft.Target{Name: "iqn.2026-11.test:disk", IP: netip.MustParseAddr(ip), Port: 3260, LUN: ibft.LUN{1: lun}}}
	}
	got := distinct([]ibft.Path{path("10.0.0.1", 0), path("10.0.0.1", 1), path("10.0.0.2", 0)})
	if len(got) != 2 || got[0].Target.LUN[1] != 0 || got[1].Target.IP != netip.MustParseAddr("10.0.0.2") {
		t.Errorf("distinct paths: %v", got)
	}
}
