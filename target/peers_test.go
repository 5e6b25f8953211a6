package target_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/bootlun/bootlun/iscsi"
	"github.com/bootlun/bootlun/target"
	"github.com/bootlun/bootlun/target/store"
)

// run runs a program of the other side and returns what it says. The test is
// skipped, loudly, if the program is not there.
func run(t *testing.T, pkg, name string, args ...string) (out string, err error) {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		t.Skipf("SKIP: needs %s (apt install %s)", name, pkg)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	b, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
	return string(b), err
}

// saying runs a program and expects it to succeed and to say certain things.
func saying(t *testing.T, want []string, pkg, name string, args ...string) {
	t.Helper()
	out, err := run(t, pkg, name, args...)
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
	for _, w := range want {
		if !strings.Contains(out, w) {
			t.Errorf("%s %q does not say %q:\n%s", name, args, w, out)
		}
	}
}

func url(addr string) string { return "iscsi://" + addr + "/" + testTarget + "/0" }

func TestLibiscsiTools(t *testing.T) {
	const pkg = "libiscsi-bin"
	addr := serveDisk(t, store.NewMemory(diskSize))
	saying(t, []string{"Target:" + testTarget, "Portal:" + addr + ",1", "Lun:0", "DIRECT_ACCESS"}, pkg, "iscsi-ls", "-s", "iscsi://"+addr)
	saying(t, []string{"CONNECTED", "BOOTLUN", "SPC-4", "SBC-3"}, pkg, "iscsi-inq", url(addr))
	saying(t, []string{"NAA", testTarget}, pkg, "iscsi-inq", "-e", "1", "-c", "131", url(addr))
	saying(t, []string{"Total size:67108864", "LBPME:1 LBPRZ:1"}, pkg, "iscsi-readcapacity16", url(addr))
}

func TestLibiscsiCHAP(t *testing.T) {
	const pkg = "libiscsi-bin"
	guarded := disk(store.NewMemory(diskSize))
	guarded.CHAP = &iscsi.CHAPServer{
		Users:  []iscsi.CHAPUser{{Name: "joe", Secret: "secret-of-joe"}},
		Target: iscsi.CHAPUser{Name: "disk", Secret: "secret-of-disk"},
	}
	addr, srv := serve(t, target.Config{Targets: []*target.Target{guarded}})
	path := addr + "/" + testTarget + "/0"
	saying(t, []string{"CONNECTED"}, pkg, "iscsi-inq", "iscsi://joe%secret-of-joe@"+path)
	mutual := "?target_user=disk&target_password="
	saying(t, []string{"CONNECTED"}, pkg, "iscsi-inq", "iscsi://joe%secret-of-joe@"+path+mutual+"secret-of-disk")
	for _, wrong := range []string{
		"iscsi://" + path, "iscsi://joe%another-secret@" + path, "iscsi://jim%secret-of-joe@" + path,
		"iscsi://joe%secret-of-joe@" + path + mutual + "not-the-secret",
	} {
		if out, err := run(t, pkg, "iscsi-inq", wrong); err == nil {
			t.Errorf("iscsi-inq %s succeeded:\n%s", wrong, out)
		}
	}
	if n := len(srv.Sessions()); n != 0 {
		t.Errorf("%d sessions are left", n)
	}
}

// suite is a run of iscsi-test-cu: what became of each test.
type suite struct{ passed, failed, skipped []string }

var (
	suiteLine = regexp.MustCompile(`^Suite: (\S+)`)
	testLine  = regexp.MustCompile(`^\s+Test: (\S+) \.\.\.(.*)`)
)

// parseSuite reads the output of iscsi-test-cu. A test that was skipped counts
// as passed there; here it does not. Lines between tests are of no test.
func parseSuite(out string) (s suite) {
	var in, name string
	skipped := false
	for line := range strings.Lines(out) {
		line = strings.TrimRight(line, "\n")
		if m := suiteLine.FindStringSubmatch(line); m != nil {
			in = m[1]
			continue
		}
		if m := testLine.FindStringSubmatch(line); m != nil {
			name, skipped, line = in+"."+m[1], false, m[2]
		}
		if name == "" {
			continue
		}
		text := strings.TrimSpace(line)
		skipped = skipped || strings.HasPrefix(text, "[SKIPPED]")
		switch {
		case strings.HasSuffix(text, "FAILED"):
			s.failed = append(s.failed, name)
		case strings.HasPrefix(text, "passed") && skipped:
			s.skipped = append(s.skipped, name)
		case strings.HasPrefix(text, "passed"):
			s.passed = append(s.passed, name)
		default:
			continue
		}
		name = ""
	}
	return s
}

// whole are the suites of iscsi-test-cu in which no test may be skipped.
var whole = []string{
	"GetLBAStatus", "Inquiry", "Mandatory", "ModeSense6", "Prefetch10", "Prefetch16", "PreventAllow",
	"Read6", "Read10", "Read12", "Read16", "ReadCapacity10", "ReadCapacity16", "ReportSupportedOpcodes",
	"StartStopUnit", "TestUnitReady", "Unmap", "Verify10", "Verify12", "Verify16",
	"Write10", "Write12", "Write16", "WriteVerify10", "WriteVerify12", "WriteVerify16",
	"iSCSIcmdsn", "iSCSIdatasn", "iSCSIResiduals", "iSCSITMF", "MultipathIO",
}

// TestLibiscsiSuite runs all of libiscsi's suite on a thin, removable LUN. No
// test may fail. Skipped ones are of commands that there are not; in the suites
// of whole there must be none.
func TestLibiscsiSuite(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIP: takes 15 seconds, and -short is set")
	}
	addr, _ := serve(t, target.Config{
		Targets: []*target.Target{{Name: testTarget, LUNs: []target.LUN{{
			Store: store.NewMemory(256 << 20), Removable: true, PhysicalBlockSize: 512,
		}}}},
	})
	out, err := run(t, "libiscsi-bin", "iscsi-test-cu", "--dataloss", "--allow-sanitize", "-f", "-v", "-t", "ALL", url(addr), url(addr))
	s := parseSuite(out)
	t.Logf("iscsi-test-cu: %d passed, %d failed, %d skipped (%v)", len(s.passed), len(s.failed), len(s.skipped), err)
	if err != nil || len(s.failed) > 0 || len(s.passed) < 178 {
		t.Errorf("failed: %q (%v)\n%s", s.failed, err, out)
	}
	for _, name := range s.skipped {
		in, _, _ := strings.Cut(name, ".")
		for _, w := range whole {
			if in == w {
				t.Errorf("%s was skipped", name)
			}
		}
	}
}

// TestQEMU copies an image to a LUN and back by qemu's own initiator.
func TestQEMU(t *testing.T) {
	const pkg = "qemu-utils qemu-block-extra"
	image := filepath.Join(t.TempDir(), "image")
	if err := os.WriteFile(image, pattern(diskSize, 3), 0o600); err != nil {
		t.Fatal(err)
	}
	logins := make(chan target.Event, 100)
	addr, _ := serve(t, target.Config{Targets: []*target.Target{disk(store.NewMemory(diskSize))}, Events: func(e target.Event) {
		if e.Kind == target.LoginEvent {
			logins <- e
		}
	}})
	if out, err := run(t, pkg, "qemu-img", "info", "-f", "raw", url(addr)); err != nil && strings.Contains(out, "nknown protocol") {
		t.Skipf("SKIP: qemu-img has no iSCSI (apt install %s)", pkg)
	}
	if e := <-logins; e.Session.Params.HeaderDigest {
		t.Error("header digests without being asked for")
	}
	saying(t, nil, pkg, "qemu-img", "convert", "-n", "-f", "raw", "-O", "raw", image, url(addr))
	saying(t, []string{"identical"}, pkg, "qemu-img", "compare", "-f", "raw", "-F", "raw", image, url(addr))
	saying(t, []string{"wrote 1048576/1048576", "read 1048576/1048576"}, pkg, "qemu-io", "-f", "raw", "-t", "writeback",
		"-c", "write -P 0xab 3M 1M", "-c", "flush", "-c", "discard 3M 64k", "-c", "write -z 4000k 96k",
		"-c", "read -P 0xab 3136k 864k", "-c", "read 3M 1M", url(addr))
	for len(logins) > 0 {
		<-logins
	}
	opts := "driver=iscsi,transport=tcp,portal=" + addr + ",target=" + testTarget + ",lun=0,header-digest=crc32c"
	saying(t, []string{"read 1048576/1048576"}, pkg, "qemu-io", "--image-opts", "-c", "write -P 0x5a 7M 1M", "-c", "read -P 0x5a 7M 1M", opts)
	if e := <-logins; !e.Session.Params.HeaderDigest {
		t.Error("no header digests though asked for")
	}
}
