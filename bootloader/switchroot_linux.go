package bootloader

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// DefaultInits are tried in this order when no init is named: the kernel's own list.
var DefaultInits = []string{"/sbin/init", "/etc/init", "/bin/init", "/bin/sh"}

// ErrPastReturn marks errors that came after the old root was given up.
var ErrPastReturn = errors.New("the old root is gone already")

// SwitchRoot is the handoff to a Linux root: the calling process, which must be PID 1, becomes the new root's init.
// Standard input, output and error stay as they are.
type SwitchRoot struct {
	// Root is the directory the new root is mounted on.
	Root string
	// Init is the program to start, a path in the new root; empty for the first of DefaultInits.
	Init string
	// Args are its arguments after its name.
	Args []string
	// Env is its environment as "KEY=value"; nil for a PATH and TERM=linux, as the kernel gives them.
	Env []string
	// Logger hears of what was left undone; nil discards.
	Logger *slog.Logger
}

var _ Handoff = SwitchRoot{}

// String is "switch root".
func (SwitchRoot) String() string { return "switch root" }

// Check makes sure that Root is a mount point and that its init, links followed inside it, can be executed: a regular,
// executable file whose interpreter or dynamic linker is there.
func (s SwitchRoot) Check() error {
	_, err := s.init()
	return err
}

// init finds the program to start.
func (s SwitchRoot) init() (string, error) {
	fail := func(err error) (string, error) {
		return "", fmt.Errorf("switch root to %s: %w", s.Root, err)
	}
	if mounted, err := isMountPoint(s.Root); err != nil {
		return fail(err)
	} else if !mounted {
		return fail(errors.New("nothing is mounted there"))
	}
	root, err := openRoot(s.Root)
	if err != nil {
		return fail(err)
	}
	defer root.Close()
	if s.Init != "" {
		if err := root.checkProgram(s.Init); err != nil {
			return fail(fmt.Errorf("its init cannot be started: %w: check init= on the kernel command line", err))
		}
		return path.Join("/", s.Init), nil
	}
	var errs []error
	for _, name := range DefaultInits {
		err := root.checkProgram(name)
		if err == nil {
			return name, nil
		}
		errs = append(errs, err)
	}
	return fail(fmt.Errorf("it holds no init; name one with init= on the kernel command line: %w", errors.Join(errs...)))
}

// Start checks, moves /dev, /proc, /sys and /run into the new root, makes it /, deletes what the initramfs held (its memory is
// freed; only ever a ramfs or tmpfs) and executes init.
func (s SwitchRoot) Start() error {
	program, err := s.init()
	if err != nil {
		return err
	}
	log := s.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	old, err := os.Open("/")
	if err != nil {
		return fmt.Errorf("switch root: %w", err)
	}
	defer old.Close()
	if err := moveMounts(s.Root, log); err != nil {
		return err
	}
	if err := enter(s.Root); err != nil {
		return fmt.Errorf("switch root to %s: %w: %w", s.Root, ErrPastReturn, err)
	}
	freeOldRoot(old, log)
	env := s.Env
	if env == nil {
		env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=linux", "HOME=/"}
	}
	err = unix.Exec(program, append([]string{program}, s.Args...), env)
	return fmt.Errorf("switch root to %s: execute %s: %w: %w", s.Root, program, ErrPastReturn, err)
}

// enter makes root the / of this process and, as it is PID 1, of all that come after.
func enter(root string) error {
	if err := os.Chdir(root); err != nil {
		return err
	}
	if err := unix.Mount(".", "/", "", unix.MS_MOVE, ""); err != nil {
		return fmt.Errorf("move the mount to /: %w", err)
	}
	if err := unix.Chroot("."); err != nil {
		return fmt.Errorf("chroot: %w", err)
	}
	return os.Chdir("/")
}

// moveMounts takes along what init systems expect to find. A new root without the directory, and read-only, does without
// that mount: it is detached, so that the old root can be freed.
func moveMounts(root string, log *slog.Logger) error {
	var moved []string
	for _, dir := range []string{"/dev", "/proc", "/sys", "/run"} {
		mounted, err := isMountPoint(dir)
		if errors.Is(err, os.ErrNotExist) || err == nil && !mounted {
			continue
		}
		target := filepath.Join(root, dir)
		if err == nil {
			err = moveMount(dir, target, log)
		}
		if err != nil {
			for _, back := range moved {
				err = errors.Join(err, unix.Mount(filepath.Join(root, back), back, "", unix.MS_MOVE, ""))
			}
			return fmt.Errorf("switch root: move %s to %s: %w", dir, target, err)
		}
		moved = append(moved, dir)
	}
	return nil
}

func moveMount(dir, target string, log *slog.Logger) error {
	if err := os.Mkdir(target, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
		log.Warn("new root has no place for a mount", "mount", dir, "err", err)
		return unix.Unmount(dir, unix.MNT_DETACH)
	}
	return unix.Mount(dir, target, "", unix.MS_MOVE, "")
}

// isMountPoint compares the directory's device with its parent's.
func isMountPoint(dir string) (bool, error) {
	var here, parent unix.Stat_t
	if err := unix.Lstat(dir, &here); err != nil {
		return false, &os.PathError{Op: "stat", Path: dir, Err: err}
	}
	if err := unix.Lstat(filepath.Join(dir, ".."), &parent); err != nil {
		return false, &os.PathError{Op: "stat", Path: dir, Err: err}
	}
	return here.Dev != parent.Dev || here.Ino == parent.Ino, nil
}

// freeOldRoot deletes the files of the initramfs, which nobody can reach any more. It leaves a real disk alone.
func freeOldRoot(old *os.File, log *slog.Logger) {
	var fs unix.Statfs_t
	if err := unix.Fstatfs(int(old.Fd()), &fs); err != nil {
		log.Warn("the old root stays in memory", "err", err)
		return
	}
	if fs.Type != unix.RAMFS_MAGIC && fs.Type != unix.TMPFS_MAGIC {
		log.Warn("the old root is not in memory and stays as it is")
		return
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(old.Fd()), &st); err != nil {
		log.Warn("the old root stays in memory", "err", err)
		return
	}
	if err := deleteTree(old, st.Dev); err != nil {
		log.Warn("part of the old root stays in memory", "err", err)
	}
}

// deleteTree empties dir, which no path leads to any more, and does not descend into other mounts. It goes on after errors and
// returns the first.
func deleteTree(dir *os.File, dev uint64) error {
	var first error
	for {
		names, err := dir.Readdirnames(256)
		if err != nil && !errors.Is(err, io.EOF) {
			return errors.Join(first, err)
		}
		for _, name := range names {
			if err := deleteEntry(int(dir.Fd()), name, dev); err != nil && first == nil {
				first = fmt.Errorf("delete %s: %w", name, err)
			}
		}
		if err != nil {
			return first
		}
	}
}

func deleteEntry(parent int, name string, dev uint64) error {
	fd, err := unix.Openat(parent, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil { // not a directory, or a link
		return unix.Unlinkat(parent, name, 0)
	}
	sub := os.NewFile(uintptr(fd), name)
	defer sub.Close()
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || st.Dev != dev {
		return err
	}
	if err := deleteTree(sub, dev); err != nil {
		return err
	}
	return unix.Unlinkat(parent, name, unix.AT_REMOVEDIR)
}
