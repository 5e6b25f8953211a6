package control_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/bootlun/bootlun/scsi"
	"github.com/bootlun/bootlun/target"
	"github.com/bootlun/bootlun/target/control"
)

const name = "iqn.2026-11.com.example:"

// images makes disk images a, b and c and returns how to find them.
func images(t *testing.T) func(string) string {
	t.Helper()
	dir := t.TempDir()
	path := func(image string) string { return filepath.Join(dir, image) }
	for _, image := range []string{"a", "b", "c"} {
		if err := os.WriteFile(path(image), make([]byte, 1<<20), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return path
}

// serving makes a target with images as LUN 0 and so on.
func serving(target string, paths ...string) control.Target {
	t := control.Target{Name: name + target}
	for i, p := range paths {
		t.LUNs = append(t.LUNs, control.LUN{Number: i, Medium: control.Medium{Path: p}})
	}
	return t
}

// served lists "target LUN image" for what a Manager serves.
func served(m *control.Manager) []string {
	var all []string
	for _, t := range m.Status().Targets {
		for _, l := range t.LUNs {
			all = append(all, fmt.Sprintf("%s %d %s", strings.TrimPrefix(t.Name, name), l.Number, filepath.Base(l.Path)))
		}
	}
	slices.Sort(all)
	return all
}

func expect(t *testing.T, m *control.Manager, want ...string) {
	t.Helper()
	if got := served(m); !slices.Equal(got, want) {
		t.Errorf("served are %q, want %q", got, want)
	}
}

func newManager(t *testing.T, cfg control.Config) *control.Manager {
	t.Helper()
	m, err := control.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return m
}

func TestReload(t *testing.T) {
	path := images(t)
	m := newManager(t, control.Config{Targets: []control.Target{serving("one", path("a"), path("b")), serving("two", path("c"))}})
	expect(t, m, "one 0 a", "one 1 b", "two 0 c")
	// Images move between LUNs, though each is locked by the one that has it.
	if err := m.Reload(t.Context(), control.Config{Targets: []control.Target{serving("one", path("a"), path("c")), serving("three", path("b"))}}); err != nil {
		t.Error(err)
	}
	expect(t, m, "one 0 a", "one 1 c", "three 0 b")
	// What cannot be done does not keep the rest from it.
	bad := serving("bad", path("none"))
	if err := m.Reload(t.Context(), control.Config{Targets: []control.Target{bad, serving("one", path("a"))}}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error = %v, want ErrNotExist", err)
	}
	expect(t, m, "one 0 a")
	if err := os.Truncate(path("a"), 2<<20); err != nil {
		t.Fatal(err)
	}
	if err := m.Reload(t.Context(), control.Config{Targets: []control.Target{serving("one", path("a"))}}); err != nil {
		t.Error(err)
	}
	if size := m.Status().Targets[0].LUNs[0].Size; size != 2<<20 {
		t.Errorf("the image has grown to 2 MiB, the LUN has %d bytes", size)
	}
	for _, tt := range []struct {
		targets []control.Target
		want    string
	}{
		{[]control.Target{serving("one", path("a")), serving("ONE")}, "two of this name"},
		{[]control.Target{{Name: name + "one", LUNs: []control.LUN{{}, {}}}}, "two of this number"},
	} {
		if err := m.Reload(t.Context(), control.Config{Targets: tt.targets}); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("error = %v, want %q in it", err, tt.want)
		}
	}
	expect(t, m, "one 0 a")
}

func TestChangesOutliveTheServer(t *testing.T) {
	path := images(t)
	cfg := control.Config{Targets: []control.Target{serving("fixed", path("a"))}, StateFile: path("state.yaml")}
	m, err := control.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.AddTarget(serving("added", path("b"))); err != nil {
		t.Fatal(err)
	}
	if err := m.AddLUN(name+"added", serving("", path("c")).LUNs[0], 0); !errors.Is(err, target.ErrExists) {
		t.Errorf("a second LUN 0: %v, want ErrExists", err)
	}
	if err := m.SetAllowed(name+"fixed", control.Allowed{}); err == nil || !strings.Contains(err.Error(), "configuration file") {
		t.Errorf("change of the configuration's target: %v", err)
	}
	if err := m.AddTarget(control.Target{Name: name + "secret", CHAP: control.CHAP{CHAPName: "a", CHAPSecret: "b"}}); err == nil {
		t.Error("a secret in a command is accepted, which the state file could not keep")
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	again := newManager(t, cfg)
	expect(t, again, "added 0 b", "fixed 0 a")
	if err := again.RemoveTarget(t.Context(), name+"added"); err != nil {
		t.Error(err)
	}
	expect(t, again, "fixed 0 a")
}

// Settings of the whole server change while it serves; the states of port groups
// that commands set outlive it.
func TestSettingsAndPortGroups(t *testing.T) {
	path := images(t)
	cfg := control.Config{
		Targets: []control.Target{serving("fixed", path("a"))}, StateFile: path("state.yaml"),
		PortGroups: []control.PortGroup{{ID: 2, State: scsi.Standby}}, ISCSI: control.Settings{QueueDepth: 7, MemoryLimit: 1 << 24},
	}
	m, err := control.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	s := m.Status().Settings
	if s.QueueDepth != 7 || s.MemoryLimit != 1<<24 || s.MaxSessions != 4096 || s.MaxBurstLength != 1<<20 {
		t.Errorf("settings %+v", s)
	}
	cfg.ISCSI = control.Settings{ErrorRecoveryLevel: 2, DiscoveryCHAP: &control.CHAP{CHAPName: "d", CHAPSecret: "a secret of d"}}
	if err := m.Reload(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	if c := m.Server().Config(); c.Offer.ErrorRecoveryLevel != 2 || c.QueueDepth != 128 || c.DiscoveryCHAP == nil {
		t.Errorf("after a reload: %+v", c)
	}
	if err := m.SetPortGroup(control.PortGroup{ID: 2}); err == nil || !strings.Contains(err.Error(), "configuration file") {
		t.Errorf("change of the configuration's port group: %v", err)
	}
	one := control.PortGroup{ID: 1, State: scsi.ActiveNonOptimized, Preferred: true}
	if err := m.SetPortGroup(one); err != nil {
		t.Fatal(err)
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	again := newManager(t, cfg)
	if got := again.Status().PortGroups; !slices.Contains(got, one) || len(got) != 2 {
		t.Errorf("port groups after a restart: %+v", got)
	}
	if text, err := json.Marshal(again.Status()); err != nil || strings.Contains(string(text), "a secret") {
		t.Errorf("status tells a secret, or %v:\n%s", err, text)
	}
}

func TestRequestsThatMakeNoSense(t *testing.T) {
	h := newManager(t, control.Config{}).Handler(nil)
	for _, tt := range []struct {
		method, path, body string
		want               int
	}{
		{"POST", "/v1/targets", `{"name": `, 400},
		{"POST", "/v1/targets", `{"nmae": "x"}`, 400},
		{"POST", "/v1/targets", `{"name": "x"}`, 422},
		{"DELETE", "/v1/targets/x?within=never", "", 400},
		{"DELETE", "/v1/targets/x", "", 404},
		{"DELETE", "/v1/targets/x/luns/99999", "", 400},
		{"DELETE", "/v1/sessions/1", "", 404},
		{"GET", "/v1/sessions/1/trace", "", 404},
		{"GET", "/v1/nothing", "", 404},
	} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), tt.method, tt.path, strings.NewReader(tt.body)))
		if w.Code != tt.want {
			t.Errorf("%s %s %s: %d %s, want %d", tt.method, tt.path, tt.body, w.Code, w.Body, tt.want)
		}
	}
}

func TestIETFormats(t *testing.T) {
	s := control.Status{Targets: []control.TargetStatus{{
		Name: name + "disk",
		LUNs: []control.LUNStatus{{Path: "/dev/vg/a", ReadOnly: true}, {Number: 1, Path: "/srv/b.img", WriteThrough: true}},
		Sessions: []control.SessionStatus{{
			TSIH: 0x0102, ISID: "00023d000001", Initiator: name + "node",
			Connections: []control.ConnectionStatus{{Remote: "[2001:db8::1]:4000", HeaderDigest: true}},
		}},
	}}}
	want := "tid:1 name:" + name + "disk\n\tsid:72621643506975232 initiator:" + name + "node\n\t\tcid:0 ip:2001:db8::1 state:active hd:crc32c dd:none\n"
	if got := s.IETSessions(); got != want {
		t.Errorf("sessions\n%s\nwant\n%s", got, want)
	}
	want = "tid:1 name:" + name + "disk\n\tlun:0 state:0 iotype:blockio iomode:ro path:/dev/vg/a\n\tlun:1 state:0 iotype:fileio iomode:wt path:/srv/b.img\n"
	if got := s.IETVolumes(); got != want {
		t.Errorf("volumes\n%s\nwant\n%s", got, want)
	}
}
