//go:build linux

package main

import (
	"bufio"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestFindRoot(t *testing.T) {
	for name, c := range map[string]struct {
		lines string
		want  rootMount
		found bool
	}{
		"plain": {
			"22 1 8:1 / / rw,noatime shared:1 - ext4 /dev/sda1 rw\n23 22 0:5 / /dev rw - devtmpfs devtmpfs rw\n",
			rootMount{"8:1", "ext4", "/dev/sda1"},
			true,
		},
		"over the initramfs": {
			"1 1 0:2 / / rw - rootfs rootfs rw\n30 1 254:1 / / rw - ext4 /dev/root rw\n",
			rootMount{"254:1", "ext4", "/dev/root"},
			true,
		},
		"none":      {"23 22 0:5 / /dev rw - devtmpfs devtmpfs rw\n", rootMount{}, false},
		"truncated": {"22 1 8:1 /\n22 1 8:1 / / rw\n22 1 8:1 / / rw - ext4\n\n - \n", rootMount{}, false},
		"empty":     {"", rootMount{}, false},
	} {
		got, found := findRoot(bufio.NewScanner(strings.NewReader(c.lines)))
		if got != c.want || found != c.found {
			t.Errorf("%s: %+v, %t; want %+v, %t", name, got, found, c.want, c.found)
		}
	}
}

func TestRootName(t *testing.T) {
	// A device number that no machine has.
	if got := (rootMount{number: "4095:1048575", source: "/dev/fallback"}).name(); got != "/dev/fallback" {
		t.Errorf("an unknown device is %q", got)
	}
}

func TestBanner(t *testing.T) {
	if b := banner(); !strings.HasPrefix(b, "bootlun tiny root: / is ") || !strings.HasSuffix(b, " s") {
		t.Errorf("the banner is %q", b)
	}
}

func TestIsMountPoint(t *testing.T) {
	for path, want := range map[string]bool{"/proc": true, t.TempDir(): false, "/no/such/folder": false} {
		if isMountPoint(path) != want {
			t.Errorf("isMountPoint(%q) is not %t", path, want)
		}
	}
}

func TestRequests(t *testing.T) {
	for name, want := range map[string]int{
		"halt":     unix.LINUX_REBOOT_CMD_HALT,
		"poweroff": unix.LINUX_REBOOT_CMD_POWER_OFF,
		"reboot":   unix.LINUX_REBOOT_CMD_RESTART,
	} {
		if got, _ := rebootCommand(requests[name]); got != want {
			t.Errorf("%s ends in reboot(%#x), want %#x", name, got, want)
		}
	}
	if got, _ := rebootCommand(unix.SIGINT); got != unix.LINUX_REBOOT_CMD_RESTART {
		t.Errorf("Ctrl-Alt-Del ends in reboot(%#x)", got)
	}
}

func TestProcesses(t *testing.T) {
	pids := processes()
	if !slices.Contains(pids, os.Getpid()) || slices.Contains(pids, 1) {
		t.Errorf("processes are %v; want this one (%d) and not PID 1", pids, os.Getpid())
	}
}
