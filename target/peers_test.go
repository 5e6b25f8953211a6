package target_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
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
