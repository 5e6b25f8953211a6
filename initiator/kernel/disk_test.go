//go:build linux && !386

package kernel

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bootlun/bootlun/iscsi"
)

// fakeSysfs is a machine with one session, number 7 on host 4, and what the kernel shows of it.
func fakeSysfs(t *testing.T) Roots {
	t.Helper()
	dir := t.TempDir()
	r := Roots{dir + "/sys", dir + "/dev", dir + "/proc"}
	const device = "/devices/platform/host4/session7"
	for name, text := range map[string]string{
		device + "/iscsi_session/session7/targetname":              "iqn.2024-01.test:disk",
		device + "/iscsi_session/session7/initiatorname":           "iqn.2024-01.test:initiator",
		device + "/iscsi_session/session7/ifacename":               "default",
		device + "/iscsi_session/session7/tpgt":                    "3",
		device + "/iscsi_session/session7/state":                   "LOGGED_IN",
		device + "/iscsi_session/session7/recovery_tmo":            "86400",
		device + "/iscsi_session/session7/target_id":               "0",
		device + "/iscsi_session/session7/username":                "(null)",
		device + "/iscsi_session/session7/initial_r2t":             "0",
		device + "/iscsi_session/session7/immediate_data":          "1",
		device + "/iscsi_session/session7/max_burst_len":           "1048576",
		device + "/iscsi_session/session7/first_burst_len":         "262144",
		device + "/iscsi_session/session7/max_outstanding_r2t":     "1",
		device + "/iscsi_session/session7/data_pdu_in_order":       "1",
		device + "/iscsi_session/session7/data_seq_in_order":       "1",
		"/class/iscsi_connection/connection7:0/address":            "fd00::2",
		"/class/iscsi_connection/connection7:0/port":               "3261",
		"/class/iscsi_connection/connection7:0/persistent_address": "fd00::1",
		"/class/iscsi_connection/connection7:0/persistent_port":    "3260",
		"/class/iscsi_connection/connection7:0/max_recv_dlength":   "262144",
		"/class/iscsi_connection/connection7:0/max_xmit_dlength":   "8192",
		"/class/iscsi_connection/connection7:0/header_digest":      "1",
		"/class/iscsi_connection/connection7:0/data_digest":        "0",
		"/class/iscsi_host/host4/netdev":                           "(null)",
		"/class/iscsi_host/host4/hwaddress":                        "52:54:00:01:02:03",
		"/class/iscsi_transport/tcp/handle":                        "18446744072",
		"/class/scsi_host/host4/scan":                              "",
	} {
		put(t, r.Sys+name, text+"\n")
	}
	put(t, r.Proc+"/self/mountinfo", "1 1 0:1 / / rw - rootfs rootfs rw\n")
	put(t, r.Proc+"/swaps", "Filename Type Size Used Priority\n")
	if err := os.MkdirAll(r.Dev, 0o755); err != nil {
		t.Fatal(err)
	}
	symlink(t, r.Sys+device+"/iscsi_session/session7", r.Sys+"/class/iscsi_session/session7")
	symlink(t, r.Sys+device, r.Sys+device+"/iscsi_session/session7/device")
	return r
}

func symlink(t *testing.T, old, path string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(old, path); err != nil {
		t.Fatal(err)
	}
}

// scsiDevice is the directory of a LUN's SCSI device.
func scsiDevice(r Roots, lun string) string {
	return r.Sys + "/devices/platform/host4/session7/target4:0:0/4:0:0:" + lun
}

// addDisk adds what the kernel shows of a disk sda with a partition.
func addDisk(t *testing.T, r Roots, lun string) {
	t.Helper()
	d := scsiDevice(r, lun)
	for name, text := range map[string]string{
		"/type": "0", "/state": "running", "/delete": "",
		"/block/sda/size": "2048", "/block/sda/dev": "8:0", "/block/sda/queue/logical_block_size": "4096",
		"/block/sda/sda1/partition": "1", "/block/sda/sda1/dev": "8:1",
	} {
		put(t, d+name, text+"\n")
	}
	put(t, r.Dev+"/sda", "")
}

func oneSession(t *testing.T, r Roots) *Session {
	t.Helper()
	sessions, err := Sessions(r)
	if err != nil || len(sessions) != 1 {
		t.Fatalf("Sessions = %v, %v", sessions, err)
	}
	return sessions[0]
}

func TestSessions(t *testing.T) {
	s := oneSession(t, fakeSysfs(t))
	p := iscsi.DefaultParams()
	p.HeaderDigest, p.InitialR2T = true, false
	p.MaxRecvDataSegmentLength, p.MaxSendDataSegmentLength = 262144, 8192
	p.MaxBurstLength, p.FirstBurstLength = 1048576, 262144
	want := &Session{
		SID: 7, Host: 4, Initiator: "iqn.2024-01.test:initiator", Target: "iqn.2024-01.test:disk", TPGT: 3,
		Portal: "[fd00::2]:3261", PersistentPortal: "[fd00::1]:3260", State: "LOGGED_IN", Params: p,
		Interface: Interface{Name: "default", HWAddress: net.HardwareAddr{0x52, 0x54, 0, 1, 2, 3}},
	}
	s.cfg = Config{}
	if !reflect.DeepEqual(s, want) {
		t.Errorf("session\n %+v\nwant\n %+v", s, want)
	}
}

func TestSessionsOfNone(t *testing.T) {
	sessions, err := Sessions(Roots{Sys: t.TempDir()})
	if err != nil || len(sessions) != 0 {
		t.Errorf("Sessions = %v, %v", sessions, err)
	}
}

func TestLoginTwice(t *testing.T) {
	k := newFakeKernel(t)
	cfg := k.testConfig("[fd00::1]")
	cfg.Roots = fakeSysfs(t)
	_, err := Login(t.Context(), cfg)
	if !errors.Is(err, ErrSessionExists) || !strings.Contains(err.Error(), "number 7") {
		t.Errorf("err = %v, want %v", err, ErrSessionExists)
	}
}

func TestDisk(t *testing.T) {
	r := fakeSysfs(t)
	addDisk(t, r, "1")
	s := oneSession(t, r)
	s.LUN = 1 << 48
	d, err := s.Disk(t.Context())
	want := Disk{Name: "sda", Device: r.Dev + "/sda", Address: "4:0:0:1", Size: 1 << 20, SectorSize: 4096}
	if err != nil || d != want {
		t.Errorf("Disk = %+v, %v, want %+v", d, err, want)
	}
	if scan, _ := os.ReadFile(r.Sys + "/class/scsi_host/host4/scan"); !strings.HasPrefix(string(scan), "0 0 1") {
		t.Errorf("wrote %q to scan", scan)
	}
}

// A disk whose I/O may wait for ever must not have commands fail for their age.
func TestDiskRetriesForEver(t *testing.T) {
	r := fakeSysfs(t)
	addDisk(t, r, "0")
	retries := scsiDevice(r, "0") + "/scsi_disk/4:0:0:0/max_retries"
	put(t, retries, "5\n")
	s := oneSession(t, r)
	s.cfg.Timeouts.Replacement = -1
	if _, err := s.Disk(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got, _ := os.ReadFile(retries); !strings.HasPrefix(string(got), "-1") {
		t.Errorf("max_retries is %q", got)
	}
}

// TestDiskComesLate has the parts of the disk come one after the other.
func TestDiskComesLate(t *testing.T) {
	r := fakeSysfs(t)
	put(t, scsiDevice(r, "0")+"/type", "0\n")
	s := oneSession(t, r)
	synctest.Test(t, func(t *testing.T) {
		go func() {
			time.Sleep(time.Second)
			put(t, scsiDevice(r, "0")+"/block/sda/size", "0\n")
			time.Sleep(time.Second)
			addDisk(t, r, "0")
		}()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		d, err := s.Disk(ctx)
		if err != nil || d.Name != "sda" || d.Size != 1<<20 {
			t.Errorf("Disk = %+v, %v", d, err)
		}
	})
}

func TestDiskErrors(t *testing.T) {
	for _, c := range []struct {
		name    string
		prepare func(*testing.T, Roots)
		is      error
		want    string
	}{
		{"no LUN", func(*testing.T, Roots) {}, ErrNoLUN, "check the LUN's number"},
		{"a controller", func(t *testing.T, r Roots) { put(t, scsiDevice(r, "0")+"/type", "12\n") }, ErrNoLUN, "SCSI type 12"},
		{"no block device", func(t *testing.T, r Roots) { put(t, scsiDevice(r, "0")+"/type", "0\n") }, context.DeadlineExceeded, "sd_mod"},
		{"no size", func(t *testing.T, r Roots) {
			addDisk(t, r, "0")
			put(t, scsiDevice(r, "0")+"/block/sda/size", "0\n")
		}, context.DeadlineExceeded, "no size yet (state running)"},
		{"no node", func(t *testing.T, r Roots) {
			addDisk(t, r, "0")
			os.Remove(r.Dev + "/sda")
		}, context.DeadlineExceeded, "devtmpfs"},
		{"no host", func(t *testing.T, r Roots) { os.Remove(r.Sys + "/class/scsi_host/host4/scan") }, os.ErrNotExist, "scan"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := fakeSysfs(t)
			c.prepare(t, r)
			s := oneSession(t, r)
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				_, err := s.Disk(ctx)
				if !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), s.Target) {
					t.Errorf("err = %v, want %q and %v in it", err, c.want, c.is)
				}
			})
		})
	}
}

func TestScanNumber(t *testing.T) {
	for lun, want := range map[iscsi.LUN]uint64{
		0: 0, 1 << 48: 1, 0x00FF << 48: 255, 0x4100 << 48: 0x4100, 0x0001_0002_0003_0004: 0x0004_0003_0002_0001,
	} {
		if got := scanNumber(lun); got != want {
			t.Errorf("scanNumber(%v) = %#x, want %#x", lun, got, want)
		}
	}
}

func TestLogout(t *testing.T) {
	k := newFakeKernel(t)
	s, err := Login(t.Context(), k.testConfig(serveTarget(t, "tcp4", "127.0.0.1", open)))
	if err != nil {
		t.Fatal(err)
	}
	r := fakeSysfs(t)
	addDisk(t, r, "0")
	s.cfg.Roots = r
	s.cfg.openLink = k.open
	if err := s.Logout(t.Context()); err != nil || k.left() != 0 {
		t.Errorf("Logout = %v, %d sessions left", err, k.left())
	}
	if deleted, _ := os.ReadFile(scsiDevice(r, "0") + "/delete"); !strings.HasPrefix(string(deleted), "1") {
		t.Error("the disk was not removed first")
	}
	calls := strings.Join(k.called(), " ")
	if want := "SEND_PDU 0x6 STOP_CONN DESTROY_CONN DESTROY_SESSION"; !strings.HasSuffix(calls, want) {
		t.Errorf("calls end %q, want %q", calls, want)
	}
}

func TestLogoutInUse(t *testing.T) {
	for name, use := range map[string]func(r Roots){
		"is mounted on /mnt": func(r Roots) {
			put(t, r.Proc+"/self/mountinfo", "9 1 8:1 / /mnt rw,relatime shared:1 - ext4 /dev/root rw\n")
		},
		"is mounted on /data": func(r Roots) {
			put(t, r.Proc+"/self/mountinfo", "9 1 0:45 / /data rw,relatime - btrfs /dev/sda1 rw\n")
		},
		"is swap space":     func(r Roots) { put(t, r.Proc+"/swaps", "Filename Type\n/dev/sda partition 1 0 -2\n") },
		`is part of "dm-0"`: func(r Roots) { put(t, scsiDevice(r, "0")+"/block/sda/holders/dm-0", "") },
	} {
		t.Run(name, func(t *testing.T) {
			r := fakeSysfs(t)
			addDisk(t, r, "0")
			use(r)
			err := oneSession(t, r).Logout(t.Context())
			if !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), name) {
				t.Errorf("err = %v, want %q and %v in it", err, name, ErrInUse)
			}
			if deleted, _ := os.ReadFile(scsiDevice(r, "0") + "/delete"); strings.HasPrefix(string(deleted), "1") {
				t.Error("the disk was removed")
			}
		})
	}
}

// TestLogoutOfDeadTarget ends the session though the target says nothing.
func TestLogoutOfDeadTarget(t *testing.T) {
	k := newFakeKernel(t)
	cfg := k.testConfig(serveTarget(t, "tcp4", "127.0.0.1", open))
	s, err := Login(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	k.fail["SEND_PDU"] = 107
	s.cfg.Roots = fakeSysfs(t)
	s.cfg.openLink = k.open
	if err := s.Logout(t.Context()); err != nil || k.left() != 0 {
		t.Errorf("Logout = %v, %d sessions left", err, k.left())
	}
}

func ExampleLogin() {
	lun, _ := iscsi.MakeLUN(1)
	session, err := Login(context.Background(), Config{
		Initiator: "iqn.2024-01.com.example:web1",
		Target:    "iqn.2024-01.com.example:disks",
		Portal:    "192.0.2.1:3260",
		LUN:       lun,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	disk, err := session.Disk(context.Background())
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("the LUN is", disk.Device)
}
