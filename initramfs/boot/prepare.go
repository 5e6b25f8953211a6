package boot

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// apiFilesystems are the kernel's interfaces and scratch space that the steps
// and a rescue shell need, in the order of mounting.
var apiFilesystems = []struct {
	dir, fstype, options string
	flags                uintptr
}{
	{"/proc", "proc", "", syscall.MS_NOSUID | syscall.MS_NODEV | syscall.MS_NOEXEC},
	{"/sys", "sysfs", "", syscall.MS_NOSUID | syscall.MS_NODEV | syscall.MS_NOEXEC},
	{"/dev", "devtmpfs", "mode=0755", syscall.MS_NOSUID},
	{"/dev/pts", "devpts", "mode=0620,gid=5,ptmxmode=000", syscall.MS_NOSUID | syscall.MS_NOEXEC},
	{"/run", "tmpfs", "mode=0755", syscall.MS_NOSUID | syscall.MS_NODEV},
	{"/tmp", "tmpfs", "mode=1777", syscall.MS_NOSUID | syscall.MS_NODEV},
}

// Prepare mounts the kernel's file systems and sets the environment of a
// process that the kernel has just started as PID 1. What is mounted already
// stays.
func Prepare() error {
	var errs []error
	for _, f := range apiFilesystems {
		if err := os.MkdirAll(f.dir, 0o755); err != nil {
			errs = append(errs, err)
			continue
		}
		err := syscall.Mount(f.fstype, f.dir, f.fstype, f.flags, f.options)
		if err != nil && !errors.Is(err, syscall.EBUSY) {
			errs = append(errs, fmt.Errorf("mount %s on %s: %w", f.fstype, f.dir, err))
		}
	}
	errs = append(errs, os.Setenv("PATH", "/bbin:/bin:/sbin:/usr/bin:/usr/sbin"), os.Setenv("HOME", "/"))
	return errors.Join(errs...)
}
