package scenario_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/bootlun/bootlun/iscsi"
	"github.com/bootlun/bootlun/target"
	"github.com/bootlun/bootlun/target/store"
)

// Targets for a guest's kernel, at all addresses of the host on its LAN.
const (
	plainTarget  = "iqn.2026-11.org.bootlun:plain"
	secretTarget = "iqn.2026-11.org.bootlun:secret"
	hostPortal   = toolHostAddr + ":3260"
	hostPortal6  = "[fd77::2]:3260"
)

// sessions is a guest whose kernel gets sessions with our target by "iscsi attach". What "iscsi sessions" says of them, and of those of
// iscsid, is to be what iscsiadm says.
type sessions struct{ *toolGuest }

// A guest's kernel gets sessions with our target.
func TestKernelSessions(t *testing.T) {
	if os.Getenv("BOOTLUN_TEST_LIO") == "" {
		t.Skip("SKIP: takes minutes: make test-lio runs it")
	}
	secrets := writeSecrets(t, map[string]string{"alice": "alice's secret", "target": "the target's secret"})
	g := sessions{startToolGuest(t, 20*time.Minute, append(secrets, buildCommand(t, "iscsi"))...)}
	g.serve(t)
	for _, test := range []struct {
		name string
		run  func(sessions, *testing.T)
	}{
		{"without the module", sessions.withoutModule},
		{"one disk", sessions.oneDisk},
		{"told of as iscsiadm does", sessions.likeISCSIADM},
		{"secrets do not show", sessions.secretsHidden},
		{"iscsid takes over", sessions.adopted},
		{"detach", sessions.detach},
	} {
		g.subtest(t, test.name, func(t *testing.T) { test.run(g, t) })
	}
}

// serve serves two targets to the LAN.
func (g sessions) serve(t *testing.T) {
	t.Helper()
	server, err := target.New(target.Config{Targets: []*target.Target{
		{Name: plainTarget, LUNs: []target.LUN{{Store: store.NewMemory(8 << 20)}, {Number: 1, Store: store.NewMemory(16 << 20)}, {Number: 5, Store: store.NewMemory(48 << 20)}}},
		{Name: secretTarget, LUNs: []target.LUN{{Store: store.NewMemory(32 << 20)}}, CHAP: &iscsi.CHAPServer{
			Users: []iscsi.CHAPUser{{Name: "alice", Secret: "alice's secret"}}, Target: iscsi.CHAPUser{Name: "target", Secret: "the target's secret"},
		}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error)
	portals := []string{hostPortal, hostPortal6}
	for _, portal := range portals {
		l, err := g.host.Listen(t.Context(), "tcp", portal)
		if err != nil {
			t.Fatal(err)
		}
		go func(l net.Listener) { ended <- server.Serve(ctx, l) }(l)
	}
	t.Cleanup(func() {
		stop()
		for range portals {
			<-ended
		}
	})
}

func (g sessions) withoutModule(t *testing.T) {
	g.must("modprobe -r iscsi_tcp")
	if out := g.fails("iscsi attach iscsi://" + hostPortal + "/" + plainTarget + "/0"); !strings.Contains(out, "load module iscsi_tcp") {
		t.Errorf("attach without the module: %s", out)
	}
	g.must("modprobe iscsi_tcp")
}

// The LUN that was asked for becomes a disk with the names that it should have, and no other.
func (g sessions) oneDisk(t *testing.T) {
	url := "iscsi://" + hostPortal + "/" + plainTarget + "/5"
	if out := g.must("iscsi attach " + url); out != "/dev/sda, 48 MiB, session 1" {
		t.Errorf("attach: %s", out)
	}
	if out := g.run("iscsi attach " + url + "; echo code $?"); !strings.Contains(strings.Join(out, "\n"), "exists already") || out[len(out)-1] != "code 15" {
		t.Errorf("attach for the second time: %q", out)
	}
	g.must("udevadm settle")
	if got := g.must("readlink /dev/disk/by-path/ip-" + hostPortal + "-iscsi-" + plainTarget + "-lun-5"); got != "../../sda" {
		t.Errorf("by-path leads to %q", got)
	}
	if got := g.must("ls /sys/class/scsi_device"); len(strings.Fields(got)) != 1 {
		t.Errorf("SCSI devices: %s", got)
	}
	for lun, want := range map[string]string{"/7": "no disk at this LUN", "": "names no LUN"} {
		if out := g.fails("iscsi attach iscsi://" + hostPortal6 + "/" + plainTarget + lun); !strings.Contains(out, want) {
			t.Errorf("attach of LUN %q: %s", lun, out)
		}
	}
	if out := g.must("iscsi sessions"); out != "tcp: [1] "+hostPortal+",1 "+plainTarget+" (non-flash)" {
		t.Errorf("an attempt that failed left something: %s", out)
	}
}

// alike compares what iscsi sessions and iscsiadm -m session print at all levels. Three things are known to differ: iscsiadm tells
// its version, iscsid alone knows its own state of a session, and iscsiadm makes up a name for an interface that has none.
func (g sessions) alike(t *testing.T) {
	t.Helper()
	g.must("udevadm settle")
	for level := range 4 {
		ours := strings.Split(g.must(fmt.Sprintf("iscsi sessions -P %d", level)), "\n")
		theirs := strings.Split(g.must(fmt.Sprintf("iscsiadm -m session -P %d", level)), "\n")
		if level == 3 && strings.HasPrefix(theirs[1], "version ") {
			theirs = append(theirs[:1], theirs[2:]...)
		}
		for i := range max(len(ours), len(theirs)) {
			var us, them string
			if i < len(ours) {
				us = ours[i]
			}
			if i < len(theirs) {
				them = theirs[i]
			}
			madeUp := strings.HasSuffix(us, "Iface Name: default") && strings.Contains(them, "Iface Name: tcp.")
			if us != them && !madeUp && !strings.Contains(us, "Internal iscsid Session State: Unknown") {
				t.Errorf("level %d, line %d: %q, and of iscsiadm %q", level, i+1, us, them)
				break
			}
		}
	}
}

// settled waits until iscsid knows all sessions, and all are logged in.
func (g sessions) settled(n int) {
	g.t.Helper()
	known := fmt.Sprintf("[ $(iscsiadm -m session -P 1 | grep -c 'iSCSI Connection State: LOGGED IN') = %d ] && "+
		"[ $(iscsiadm -m session -P 1 | grep -c 'Internal iscsid Session State: NO CHANGE') = %[1]d ]", n)
	g.must("for i in $(seq 60); do " + known + " && break; sleep 1; done; " + known + " || { iscsiadm -m session -P 1; journalctl -n 30 -u iscsid; false; }")
}

// Sessions of both, with all that can be told of one: CHAP, digests, IPv6, a named interface, several disks.
func (g sessions) likeISCSIADM(t *testing.T) {
	g.must("systemctl stop multipathd.socket multipathd; systemctl restart iscsid") // several ways lead to one disk
	g.settled(1)
	g.alike(t)
	mutual := " --chap-secret-file /tools/alice --target-secret-file /tools/target"
	g.must("iscsi attach iscsi://alice@" + hostPortal6 + "/" + secretTarget + "/0 --header-digest require --data-digest require --interface eth0" + mutual)
	g.json(t)
	g.must("iscsiadm -m discovery -t sendtargets -p " + toolHostAddr + " >/dev/null")
	node := "iscsiadm -m node -p " + hostPortal + " -T "
	for _, setting := range []string{
		"auth.authmethod -v CHAP", "auth.username -v alice", `auth.password -v "alice's secret"`, "auth.username_in -v target", `auth.password_in -v "the target's secret"`,
	} {
		g.must(node + secretTarget + " -o update -n node.session." + setting)
	}
	g.must(node + secretTarget + " --login >/dev/null")
	g.must(node + plainTarget + " --login >/dev/null || true") // there is one already, of another initiator
	g.must("systemctl restart iscsid")
	count := len(strings.Split(g.must("iscsi sessions"), "\n"))
	if count < 3 {
		t.Errorf("%d sessions", count)
	}
	g.settled(count)
	g.alike(t)
}

func (g sessions) json(t *testing.T) {
	t.Helper()
	var list []struct {
		SID                                          int
		Target, Portal, State, CHAPName, NetDevice   string
		Devices                                      []struct{ Address, Name, State string }
		Timeouts                                     map[string]string
		Negotiated                                   struct{ HeaderDigest, DataDigest bool }
		Initiator, ConnectionState, PersistentPortal string
	}
	text := g.must("iscsi sessions --json")
	if err := json.Unmarshal([]byte(text), &list); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	if len(list) != 2 || list[0].SID != 1 || list[0].Target != plainTarget || len(list[0].Devices) != 1 || list[0].Devices[0].Name != "sda" || list[0].State != "LOGGED_IN" {
		t.Errorf("sessions --json: %+v", list)
	}
	for _, s := range list {
		if s.Portal == hostPortal6 && (s.CHAPName != "alice" || s.NetDevice != "eth0" || !s.Negotiated.HeaderDigest || !s.Negotiated.DataDigest) {
			t.Errorf("the session by IPv6: %+v", s)
		}
	}
	if strings.Contains(text, "secret of") || strings.Contains(text, "s secret") {
		t.Error("a secret shows")
	}
}

// The secret is in no command line, no log and nobody's sight.
func (g sessions) secretsHidden(t *testing.T) {
	for _, where := range []string{
		"cat /proc/cmdline /proc/[0-9]*/cmdline", "dmesg", "journalctl --no-pager", "cat /var/log/* 2>/dev/null", "ls -R /run", "iscsi sessions -P 3", "iscsi sessions --json",
		"su nobody -s /bin/sh -c 'cat /sys/class/iscsi_session/*/password 2>/dev/null'",
	} {
		// The expression does not match itself.
		if out := g.must("{ " + where + "; } | tr '\\0' ' ' | grep -a -e 'alice[^.]s[^.]secret' -e 'target[^.]s[^.]secret' || true"); out != "" {
			t.Errorf("%s: %s", where, out)
		}
	}
}

// A session that was made while iscsid ran is iscsid's when that has been restarted: it mends it.
func (g sessions) adopted(t *testing.T) {
	sid := strings.Split(g.must("iscsi sessions"), "\n")
	conns := g.must("ss -Htn state established '( dport = 3260 )' | wc -l")
	g.must("ss -K dport = 3260 >/dev/null")
	g.must("dd if=/dev/sda of=/dev/null bs=1M iflag=direct status=none")
	g.settled(len(sid))
	if now := g.must("ss -Htn state established '( dport = 3260 )' | wc -l"); now != conns {
		t.Errorf("%s connections, were %s", now, conns)
	}
	g.alike(t)
}

// What is in use stays; the rest goes, whoever made it, and leaves no disk.
func (g sessions) detach(t *testing.T) {
	g.must("mkfs.ext4 -q /dev/sda; mount /dev/sda /mnt; seq 100000 >/mnt/file")
	if out := g.fails("iscsi detach 1"); !strings.Contains(out, "is mounted on /mnt") {
		t.Errorf("detach of what is mounted: %s", out)
	}
	out := g.run("iscsi detach --all; echo code $?")
	if out[len(out)-1] != "code 1" || !strings.Contains(strings.Join(out, "\n"), "is mounted on /mnt") {
		t.Errorf("detach --all with one mounted: %q", out)
	}
	if out := g.must("iscsi sessions"); strings.Contains(out, "\n") || !strings.HasPrefix(out, "tcp: [1] ") {
		t.Errorf("left: %s", out)
	}
	if out := g.must("iscsiadm -m session"); !strings.HasPrefix(out, "tcp: [1] ") {
		t.Errorf("left, says iscsiadm: %s", out)
	}
	sum := g.must("md5sum </mnt/file")
	g.must("umount /mnt")
	if out := g.must("iscsi detach " + plainTarget); out != "session 1 of "+plainTarget+" at "+hostPortal+" is logged out" {
		t.Errorf("detach: %s", out)
	}
	if out := g.must("ls /sys/class/scsi_device; ls /dev/sd* 2>/dev/null || true"); out != "" {
		t.Errorf("left: %s", out)
	}
	device, _, _ := strings.Cut(g.must("iscsi attach iscsi://"+hostPortal6+"/"+plainTarget+"/5"), ",")
	if again := g.must("mount -o ro " + device + " /mnt; md5sum </mnt/file; umount /mnt"); again != sum {
		t.Errorf("the file was %s and is %s", sum, again)
	}
	g.must("iscsi detach --all")
}
