//go:build linux && !386

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bootlun/bootlun/internal/cli/clitest"
)

// lostSession is what sysfs had of a session with LIO that was being recovered, when testdata/iscsiadm-P3.txt was printed by
// "iscsiadm -m session -P 3" of open-iscsi 2.1.8 on Linux 6.1.
var lostSession = map[string]string{
	"module/scsi_transport_iscsi/version":                           "2.0-870",
	"devices/platform/host2/session1/target2:0:0/2:0:0:0/state":     "blocked",
	"devices/platform/host2/session1/target2:0:0/2:0:0:0/block/sda": "",
	"class/scsi_host/host2/state":                                   "running",
	"class/iscsi_host/host2/netdev":                                 "(null)",
	"class/iscsi_host/host2/ipaddress":                              "",
	"class/iscsi_host/host2/hwaddress":                              "(null)",
}

var lostSessionAttributes = map[string]string{
	"targetname": "iqn.2026-11.org.bootlun:lio", "initiatorname": "iqn.2026-01.org.bootlun:lio", "tpgt": "1", "state": "FAILED", "ifacename": "default",
	"recovery_tmo": "86400", "tgt_reset_tmo": "30", "lu_reset_tmo": "30", "abort_tmo": "15", "username": "(null)", "password": "(null)",
	"username_in": "(null)", "password_in": "(null)", "first_burst_len": "65536", "max_burst_len": "262144", "immediate_data": "1", "initial_r2t": "1",
	"max_outstanding_r2t": "1",
}

var lostConnectionAttributes = map[string]string{
	"state": "failed", "persistent_address": "10.0.2.15", "persistent_port": "3260", "address": "", "port": "", "local_ipaddr": "",
	"header_digest": "0", "data_digest": "0", "max_recv_dlength": "262144", "max_xmit_dlength": "262144",
}

// fakeSysfs writes the attributes of one session below a folder.
func fakeSysfs(t *testing.T) (root string) {
	t.Helper()
	root = t.TempDir()
	write := func(name, text string) {
		t.Helper()
		name = filepath.Join(root, "sys", name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range lostSession {
		write(name, text)
	}
	for name, text := range lostSessionAttributes {
		write("class/iscsi_session/session1/"+name, text)
	}
	for name, text := range lostConnectionAttributes {
		write("class/iscsi_connection/connection1:0/"+name, text)
	}
	if err := os.Symlink("../../../devices/platform/host2/session1", filepath.Join(root, "sys/class/iscsi_session/session1/device")); err != nil {
		t.Fatal(err)
	}
	return root
}

// What is printed of a session is what iscsiadm has printed of it, but for that program's version and for what only iscsid knows.
func TestSessionsAsISCSIADM(t *testing.T) {
	b, err := os.ReadFile("testdata/iscsiadm-P3.txt")
	if err != nil {
		t.Fatal(err)
	}
	want := strings.NewReplacer("version 2.1.8\n", "", "Internal iscsid Session State: REOPEN", "Internal iscsid Session State: Unknown").Replace(string(b))
	clitest.SameText(t, "testdata/iscsiadm-P3.txt", succeed(t, "", "sessions -P 3 --root "+fakeSysfs(t)), want)
}
