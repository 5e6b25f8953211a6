package bootloader

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// MountOptions say how Mount mounts.
type MountOptions struct {
	// FSType overrides the type found by probing.
	FSType string
	// Options are as in fstab, separated by commas. Unknown ones go to the file system's driver.
	Options string
	// ReadWrite mounts writable unless Options say otherwise.
	ReadWrite bool
}

// MountOptions are the options that a root is mounted with.
func (s Spec) MountOptions() MountOptions {
	return MountOptions{FSType: s.FSType, Options: s.Options, ReadWrite: s.ReadWrite}
}

// Mount waits for the volume's device node to appear and mounts it on dir, which is made if it does not exist.
// ctx bounds the wait.
func Mount(ctx context.Context, v Volume, dir string, o MountOptions) error {
	if err := WaitDevice(ctx, v.Device()); err != nil {
		return err
	}
	return mountDevice(v, v.Device(), dir, o)
}

// mountDevice is Mount for a node at another path than the volume's own.
func mountDevice(v Volume, device, dir string, o MountOptions) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("mount %s: %w", device, err)
	}
	kind := o.FSType
	if kind == "" {
		kind = v.FS.Type
	}
	if kind == "" {
		return fmt.Errorf("mount %s: no known file system is on it; name its type with rootfstype=", device)
	}
	flags, data := parseOptions(o.Options, o.ReadWrite)
	err := unix.Mount(device, dir, kind, flags, data)
	if errors.Is(err, unix.ENODEV) && (kind == "ext2" || kind == "ext3") {
		err = unix.Mount(device, dir, "ext4", flags, data) // one driver serves all three where only it is built in
	}
	if err != nil {
		return fmt.Errorf("mount %s on %s as %s (options %q): %w%s", device, dir, kind, o.Options, err, mountRemedy(kind, err))
	}
	return nil
}

func mountRemedy(kind string, err error) string {
	switch {
	case errors.Is(err, unix.ENODEV):
		return fmt.Sprintf(": this kernel has no driver for %s: put its module into the image", kind)
	case errors.Is(err, unix.EINVAL):
		return ": the superblock is damaged or an option is unknown: see the kernel's log"
	case errors.Is(err, unix.EROFS), errors.Is(err, unix.EACCES):
		return ": the disk is write-protected: boot with ro"
	}
	return ""
}

// parseOptions tells the flags of mount(2) from the options for the driver. Read-only is the default, as for the kernel.
func parseOptions(options string, readWrite bool) (flags uintptr, data string) {
	if !readWrite {
		flags = unix.MS_RDONLY
	}
	var rest []string
	for option := range strings.SplitSeq(options, ",") {
		set, clear, known := mountFlag(option)
		if !known {
			rest = append(rest, option)
		}
		flags = flags&^clear | set
	}
	return flags, strings.Join(rest, ",")
}

// mountFlag knows the options of mount(8) that are no business of a driver's.
func mountFlag(option string) (set, clear uintptr, known bool) {
	switch option {
	case "ro":
		return unix.MS_RDONLY, 0, true
	case "rw":
		return 0, unix.MS_RDONLY, true
	case "nosuid":
		return unix.MS_NOSUID, 0, true
	case "nodev":
		return unix.MS_NODEV, 0, true
	case "noexec":
		return unix.MS_NOEXEC, 0, true
	case "sync":
		return unix.MS_SYNCHRONOUS, 0, true
	case "dirsync":
		return unix.MS_DIRSYNC, 0, true
	case "noatime":
		return unix.MS_NOATIME, unix.MS_RELATIME | unix.MS_STRICTATIME, true
	case "nodiratime":
		return unix.MS_NODIRATIME, 0, true
	case "relatime":
		return unix.MS_RELATIME, unix.MS_NOATIME | unix.MS_STRICTATIME, true
	case "strictatime":
		return unix.MS_STRICTATIME, unix.MS_NOATIME | unix.MS_RELATIME, true
	case "lazytime":
		return unix.MS_LAZYTIME, 0, true
	case "", "defaults", "auto", "noauto", "nofail", "_netdev":
		return 0, 0, true
	}
	return 0, 0, strings.HasPrefix(option, "x-")
}

// WaitDevice waits until the block device node exists and opens, or ctx ends. Partitions appear a moment after their disk;
// looking again every few milliseconds costs less than a listener for kernel events that may have passed already.
func WaitDevice(ctx context.Context, path string) error {
	for pause := time.Millisecond; ; pause = min(2*pause, 50*time.Millisecond) {
		f, err := os.Open(path)
		if err == nil {
			return f.Close()
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: %w: %w: is it still on the disk, and is devtmpfs on /dev?",
				path, context.Cause(ctx), err)
		case <-time.After(pause):
		}
	}
}

// MountLook is a Look that mounts the volume read-only on dir, without replaying its journal, and unmounts it again.
// dir is made if it does not exist; it must not be in use.
func MountLook(dir string) Look {
	return func(ctx context.Context, v Volume) (System, error) {
		o := MountOptions{Options: noReplay(v.FS.Type)}
		if err := Mount(ctx, v, dir, o); err != nil {
			return System{}, err
		}
		system, err := inspect(dir)
		if uerr := unix.Unmount(dir, unix.MNT_DETACH); uerr != nil {
			err = errors.Join(err, fmt.Errorf("unmount %s: %w", dir, uerr))
		}
		return system, err
	}
}

// noReplay are the options that keep a read-only mount from writing to the disk.
func noReplay(kind string) string {
	switch kind {
	case "ext3", "ext4":
		return "noload"
	case "xfs":
		return "norecovery,nouuid"
	case "btrfs":
		return "rescue=nologreplay"
	case "f2fs":
		return "norecovery"
	}
	return ""
}

// inspect looks for an init and the system's name under dir.
func inspect(dir string) (System, error) {
	root, err := openRoot(dir)
	if err != nil {
		return System{}, err
	}
	defer root.Close()
	var s System
	for _, path := range DefaultInits {
		if root.checkProgram(path) == nil {
			s.Init = path
			break
		}
	}
	for _, path := range []string{"/etc/os-release", "/usr/lib/os-release"} {
		if text, err := root.read(path, 16<<10); err == nil {
			s.Name = prettyName(string(text))
			break
		}
	}
	return s, nil
}

// prettyName is PRETTY_NAME of an os-release(5).
func prettyName(text string) string {
	for line := range strings.Lines(text) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), "PRETTY_NAME="); ok {
			return strings.Trim(value, `"'`)
		}
	}
	return ""
}
