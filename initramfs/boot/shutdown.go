package boot

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bootlun/bootlun/initiator/kernel"
)

// oldRoot is where systemd puts the root that it leaves when it runs [shutdownProgram] (systemd's initrd interface).
const oldRoot = "/oldroot"

// IsShutdown reports whether this process has been started to end the machine, by its arguments.
func IsShutdown(args []string) bool {
	return filepath.Base(args[0]) == filepath.Base(shutdownProgram) && len(args) > 1
}

// Bounds of the last steps. A disk that does not come back must not keep the machine from going down for ever.
const (
	lastWords    = 90 * time.Second // for all of it
	lastLogout   = 4 * time.Second  // for a target to answer
	lastAttempts = 20               // to unmount, each a tenth of a second after the one before
)

// ShutDown ends the machine: PID 1 is this program again, in memory, with systemd's last word as its argument ("poweroff",
// "reboot", "halt", "kexec"), and nothing else runs but the keeper. It unmounts the root, which writes what is to be written
// while there is still a session to write by, sends the keeper away, logs out, and does as it is told.
func ShutDown(args []string, out io.Writer) {
	c := console{out}
	verb := args[1]
	done := make(chan error, 1)
	go func() { done <- letGo(context.Background()) }()
	select {
	case err := <-done:
		if err != nil {
			c.say("shutdown: %s", strings.ReplaceAll(err.Error(), "\n", "; "))
		} else {
			c.say("shutdown: the root is unmounted and logged out of; %s", verb)
		}
	case <-time.After(lastWords):
		c.say("shutdown: the root's disk does not answer; %s without it", verb)
	}
	if err := unix.Reboot(rebootCommand(verb)); err != nil && verb == "kexec" {
		err = unix.Reboot(unix.LINUX_REBOOT_CMD_RESTART)
		c.say("shutdown: reboot(2): %v", err)
	} else {
		c.say("shutdown: reboot(2): %v", err)
	}
}

func rebootCommand(verb string) int {
	switch verb {
	case "poweroff":
		return unix.LINUX_REBOOT_CMD_POWER_OFF
	case "halt":
		return unix.LINUX_REBOOT_CMD_HALT
	case "kexec":
		return unix.LINUX_REBOOT_CMD_KEXEC
	default:
		return unix.LINUX_REBOOT_CMD_RESTART
	}
}

// letGo unmounts the old root and gives its disks back.
func letGo(ctx context.Context) error {
	if err := unmountAll(oldRoot); err != nil {
		// The session must outlive what is still mounted: no logout then.
		unix.Sync()
		return err
	}
	endKeeper()
	if err := removeMaps(); err != nil {
		return err
	}
	sessions, err := kernel.Sessions(kernel.Roots{})
	errs := []error{err}
	for _, s := range sessions {
		ctx, cancel := context.WithTimeout(ctx, lastLogout)
		errs = append(errs, s.Logout(ctx))
		cancel()
	}
	return errors.Join(errs...)
}

// unmountAll unmounts what is mounted at and below dir, the innermost first. What is busy is tried again for a while, and then
// made read-only.
func unmountAll(dir string) error {
	var left []mountPoint
	var err error
	for range lastAttempts {
		var text []byte
		if text, err = os.ReadFile("/proc/self/mountinfo"); err != nil {
			return err
		}
		if left = mountPoints(string(text), dir); len(left) == 0 {
			return nil
		}
		progress := false
		err = nil
		for _, m := range left {
			if uerr := m.unmount(); uerr != nil {
				err = errors.Join(err, uerr)
				continue
			}
			progress = true
		}
		if !progress {
			time.Sleep(100 * time.Millisecond)
		}
	}
	for _, m := range left {
		err = errors.Join(err, unix.Mount("", m.place, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""))
	}
	return err
}

// mountPoint is where something is mounted.
type mountPoint struct {
	place  string
	onDisk bool
}

// unmount takes what is in memory away even while it is in use: this program's own console is in the old root's /dev.
func (m mountPoint) unmount() error {
	flags := unix.MNT_DETACH
	if m.onDisk {
		flags = 0
	}
	if err := unix.Unmount(m.place, flags); err != nil {
		return fmt.Errorf("unmount %s: %w", m.place, err)
	}
	return nil
}

// mountPoints are those at and below dir, the last mounted first.
func mountPoints(mountinfo, dir string) []mountPoint {
	var all []mountPoint
	for line := range strings.Lines(mountinfo) {
		// "36 35 98:0 / /mnt rw master:1 - ext4 /dev/sda1 rw", spaces and the like of the place in octal: proc(5).
		left, right, _ := strings.Cut(line, " - ")
		f, source := strings.Fields(left), strings.Fields(right)
		if len(f) < 5 || len(source) < 2 {
			continue
		}
		place, err := strconv.Unquote(`"` + strings.ReplaceAll(f[4], `"`, `\"`) + `"`)
		if err == nil && (place == dir || strings.HasPrefix(place, dir+"/")) {
			// Some file systems on disks have a number of their own, with major 0.
			onDisk := !strings.HasPrefix(f[2], "0:") || strings.HasPrefix(source[1], "/dev/")
			all = append(all, mountPoint{place, onDisk})
		}
	}
	slices.Reverse(all)
	return all
}

// endKeeper sends the keeper away, if there is one, and waits a moment for its end.
func endKeeper() {
	var status struct {
		PID int `json:"pid"`
	}
	text, err := os.ReadFile(keeperStatus)
	if err != nil || json.Unmarshal(text, &status) != nil || status.PID <= 1 {
		return
	}
	name, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", status.PID))
	if err != nil || !strings.HasPrefix(string(name), KeeperName) {
		return
	}
	if unix.Kill(status.PID, unix.SIGTERM) != nil {
		return
	}
	for range lastAttempts {
		// It is a child of PID 1, which is us.
		if pid, err := unix.Wait4(status.PID, nil, unix.WNOHANG, nil); err != nil || pid == status.PID {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
}
