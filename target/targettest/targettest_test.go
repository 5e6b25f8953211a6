package targettest_test

import (
	"bytes"
	"os/exec"
	"strings"
	"testing"

	"github.com/bootlun/bootlun/iscsi"
	"github.com/bootlun/bootlun/target"
	"github.com/bootlun/bootlun/target/targettest"
)

// qemuIO runs qemu-io's commands on a LUN, or skips the test where there is none.
func qemuIO(t *testing.T, url string, commands ...string) (output string, ok bool) {
	t.Helper()
	path, err := exec.LookPath("qemu-io")
	if err != nil {
		t.Skip("SKIP: needs qemu-io (apt install qemu-utils qemu-block-extra)")
	}
	args := []string{"-f", "raw"}
	for _, c := range commands {
		args = append(args, "-c", c)
	}
	out, err := exec.CommandContext(t.Context(), path, append(args, url)...).CombinedOutput()
	return string(out), err == nil && !strings.Contains(string(out), "failed")
}

func TestServerIsOneLine(t *testing.T) {
	srv := targettest.NewServer(t)
	if out, ok := qemuIO(t, srv.URL, "write -P 7 4096 8192", "flush"); !ok {
		t.Fatal(out)
	}
	got := make([]byte, 8192)
	if _, err := srv.Store.ReadAt(got, 4096); err != nil || !bytes.Equal(got, bytes.Repeat([]byte{7}, 8192)) {
		t.Errorf("the store has something else (error %v)", err)
	}
	if n := srv.Targets()[0].LUNs[0].Counts[target.WriteCommands].Bytes; n != 8192 {
		t.Errorf("%d bytes written, want 8192", n)
	}
}

func TestOptions(t *testing.T) {
	srv := targettest.NewServer(t, targettest.Options{
		Disk: target.LUN{BlockSize: 4096},
		CHAP: &iscsi.CHAPServer{Users: []iscsi.CHAPUser{{Name: "tester", Secret: "secretofsixteen1"}}},
	})
	if n := srv.Targets()[0].LUNs[0].BlockSize; n != 4096 {
		t.Errorf("block size %d, want 4096", n)
	}
	if out, ok := qemuIO(t, srv.URL, "read 0 4096"); ok {
		t.Errorf("without CHAP: %s", out)
	}
	proven := strings.Replace(srv.URL, "iscsi://", "iscsi://tester%secretofsixteen1@", 1)
	if out, ok := qemuIO(t, proven, "read 0 4096"); !ok {
		t.Errorf("with CHAP: %s", out)
	}
	if err := srv.Close(); err != nil {
		t.Error(err)
	}
	if out, ok := qemuIO(t, proven, "read 0 4096"); ok {
		t.Errorf("after Close: %s", out)
	}
}
