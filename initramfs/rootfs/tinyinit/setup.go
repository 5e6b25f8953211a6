//go:build linux

package main

import (
	"bufio"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// mounts are the file systems that a running system expects, in order.
var mounts = []struct {
	source, target, fstype, data string
	flags                        uintptr
}{
	{"proc", "/proc", "proc", "", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC},
	{"sysfs", "/sys", "sysfs", "", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC},
	{"devtmpfs", "/dev", "devtmpfs", "mode=0755", unix.MS_NOSUID},
	{"devpts", "/dev/pts", "devpts", "mode=0620,ptmxmode=0666", unix.MS_NOSUID | unix.MS_NOEXEC},
	{"tmpfs", "/dev/shm", "tmpfs", "mode=1777", unix.MS_NOSUID | unix.MS_NODEV},
	{"tmpfs", "/run", "tmpfs", "mode=0755", unix.MS_NOSUID | unix.MS_NODEV},
	{"tmpfs", "/tmp", "tmpfs", "mode=1777", unix.MS_NOSUID | unix.MS_NODEV},
}

// setUp brings the system to where a shell is useful. What fails is said and
// skipped: a shell on a half-made system is better than no shell.
func setUp() {
	for _, m := range mounts {
		if isMountPoint(m.target) {
			continue
		}
		if err := os.MkdirAll(m.target, 0o755); err != nil {
			say("%v", err)
		}
		if err := unix.Mount(m.source, m.target, m.fstype, m.flags, m.data); err != nil {
			say("cannot mount %s on %s: %v", m.fstype, m.target, err)
		}
	}
	if err := unix.Mount("", "/", "", unix.MS_REMOUNT|unix.MS_NOATIME, ""); err != nil {
		say("cannot make / writable: %v", err)
	}
	if name, err := os.ReadFile("/etc/hostname"); err == nil {
		if err := unix.Sethostname([]byte(strings.TrimSpace(string(name)))); err != nil {
			say("cannot set the host name: %v", err)
		}
	}
	if err := loopbackUp(); err != nil {
		say("cannot bring lo up: %v", err)
	}
}

// isMountPoint reports whether a file system is mounted on path. Comparing
// devices needs no /proc, which may be the one that is missing.
func isMountPoint(path string) bool {
	var here, parent unix.Stat_t
	if unix.Lstat(path, &here) != nil || unix.Lstat(path+"/..", &parent) != nil {
		return false
	}
	return here.Dev != parent.Dev
}

func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	request, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	request.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, request)
}

// banner is the line that says where the root file system lies and how long
// after power-on of the kernel it took to get here.
func banner() string {
	root, uptime := "an unknown device", "an unknown number of"
	if f, err := os.Open("/proc/self/mountinfo"); err == nil {
		defer f.Close()
		if r, ok := findRoot(bufio.NewScanner(f)); ok {
			root = fmt.Sprintf("%s (%s)", r.name(), r.fstype)
		}
	}
	if b, err := os.ReadFile("/proc/uptime"); err == nil {
		uptime, _, _ = strings.Cut(string(b), " ")
	}
	return fmt.Sprintf("bootlun tiny root: / is %s, up in %s s", root, uptime)
}

// rootMount is what the kernel says of the mount on /.
type rootMount struct {
	number string // major:minor of the device
	fstype string
	source string // what it was mounted by: a device's path, or any other word
}

// findRoot reads lines as in /proc/self/mountinfo (proc(5)): the last mount on
// / is the one that counts, as the initramfs may lie beneath it.
func findRoot(lines *bufio.Scanner) (root rootMount, ok bool) {
	for lines.Scan() {
		before, after, found := strings.Cut(lines.Text(), " - ")
		fields, tail := strings.Fields(before), strings.Fields(after)
		if !found || len(fields) < 5 || len(tail) < 2 || fields[4] != "/" {
			continue
		}
		root, ok = rootMount{number: fields[2], fstype: tail[0], source: tail[1]}, true
	}
	return root, ok
}

// name returns the device's path by its number, as the source may be a name
// that the kernel made up ("/dev/root").
func (r rootMount) name() string {
	uevent, err := os.ReadFile("/sys/dev/block/" + r.number + "/uevent")
	if err != nil {
		return r.source
	}
	for line := range strings.Lines(string(uevent)) {
		if name, ok := strings.CutPrefix(line, "DEVNAME="); ok {
			return "/dev/" + strings.TrimSpace(name)
		}
	}
	return r.source
}
