//go:build linux

// Command switcher is both ends of a switch of roots, for the tests of package bootloader. Started as PID 1 of new mount and
// PID namespaces with an empty directory as its argument, it makes a root in memory there, as a kernel does with an
// initramfs, and a new root beside it, and switches. Started as the new root's init it prints as JSON what it finds.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/bootlun/bootlun/bootloader"
)

// Found is what the new init sees.
type Found struct {
	PID       int
	Args, Env []string
	Root      []string // the files in /
	Old       []string // the files of the old root, which the new one still shows as /view
	OldBlocks uint64   // memory that the old root takes
	Mounts    map[string]bool
}

func main() {
	var err error
	if os.Args[0] == "/sbin/init" {
		err = report()
	} else {
		err = switchRoot(os.Args[1])
	}
	if err != nil {
		fmt.Println("switcher:", err)
		os.Exit(1)
	}
}

func report() error {
	f := Found{PID: os.Getpid(), Args: os.Args, Env: os.Environ(), Mounts: make(map[string]bool)}
	var err error
	if f.Root, err = names("/"); err != nil {
		return err
	}
	if f.Old, err = names("/view"); err != nil {
		return err
	}
	var st unix.Statfs_t
	if err := unix.Statfs("/view", &st); err != nil {
		return err
	}
	f.OldBlocks = st.Blocks - st.Bfree
	for _, mark := range []string{"/dev/mark", "/run/mark", "/proc/self/mounts", "/sys/kernel"} {
		_, err := os.Stat(mark)
		f.Mounts[mark] = err == nil
	}
	return json.NewEncoder(os.Stdout).Encode(f)
}

func names(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	list := []string{}
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return list, err
}

func switchRoot(dir string) error {
	if err := oldRoot(dir); err != nil {
		return err
	}
	if err := newRoot("/newroot"); err != nil {
		return err
	}
	return bootloader.SwitchRoot{
		Root: "/newroot", Args: []string{"single", "two words"}, Env: []string{"BOOT=lun"},
		Logger: slog.New(slog.NewTextHandler(os.Stdout, nil)),
	}.Start()
}

type mount struct {
	source, dir, kind string
	flags             uintptr
}

func mountAll(mounts ...mount) error {
	for _, m := range mounts {
		err := os.MkdirAll(m.dir, 0o755)
		if err == nil {
			err = unix.Mount(m.source, m.dir, m.kind, m.flags, "")
		}
		if err != nil {
			return fmt.Errorf("mount %s: %w", m.dir, err)
		}
	}
	return nil
}

// oldRoot makes a tmpfs on dir the root, with what an initramfs has.
func oldRoot(dir string) error {
	err := mountAll(mount{"none", "/", "", unix.MS_REC | unix.MS_PRIVATE}, mount{"root", dir, "tmpfs", 0})
	if err != nil {
		return err
	}
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		return err
	}
	err = errors.Join(
		os.WriteFile(filepath.Join(dir, "init"), self, 0o755),
		os.MkdirAll(filepath.Join(dir, "deep/er/still"), 0o755),
		os.WriteFile(filepath.Join(dir, "deep/er/still/file"), self, 0o644),
		os.Symlink("/deep", filepath.Join(dir, "link")),
		os.Mkdir(filepath.Join(dir, "outside"), 0o755),
	)
	if err == nil {
		err = unix.PivotRoot(dir, filepath.Join(dir, "outside"))
	}
	if err == nil {
		err = os.Chdir("/")
	}
	if err == nil {
		err = mountAll(mount{"proc", "/proc", "proc", 0}, mount{"sysfs", "/sys", "sysfs", 0},
			mount{"dev", "/dev", "tmpfs", 0}, mount{"run", "/run", "tmpfs", 0})
	}
	if err != nil {
		return err
	}
	return errors.Join(
		os.WriteFile("/dev/mark", nil, 0o644), os.WriteFile("/run/mark", nil, 0o644),
		unix.Unmount("/outside", unix.MNT_DETACH),
	)
}

// newRoot makes a root whose init is behind links, as in a distribution: /sbin leads to usr/sbin, init in there to an absolute
// path. Its /view shows the old root.
func newRoot(dir string) error {
	if err := mountAll(mount{"lun", dir, "tmpfs", 0}, mount{"/", dir + "/view", "", unix.MS_BIND}); err != nil {
		return err
	}
	in, err := os.Open("/init")
	if err != nil {
		return err
	}
	defer in.Close()
	if err := errors.Join(os.MkdirAll(dir+"/usr/lib", 0o755), os.MkdirAll(dir+"/usr/sbin", 0o755)); err != nil {
		return err
	}
	out, err := os.OpenFile(dir+"/usr/lib/program", os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close(),
		os.Symlink("usr/sbin", dir+"/sbin"), os.Symlink("/usr/lib/program", dir+"/usr/sbin/init"))
}
