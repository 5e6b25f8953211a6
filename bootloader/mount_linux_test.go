package bootloader

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// system is the tree of a root as a distribution lays it out.
func system(t *testing.T) string {
	return tree(t, map[string]string{
		"sbin":               "->usr/sbin",
		"usr/sbin/init":      "->/usr/lib/init",
		"usr/lib/init":       "x:#!/bin/sh\n",
		"bin":                "->usr/bin",
		"usr/bin/sh":         "x:",
		"etc/os-release":     "->../usr/lib/os-release",
		"usr/lib/os-release": "NAME=Test\nPRETTY_NAME=\"Test Linux 1\"\n",
	})
}

// rootImages makes file systems that hold a tree, with their own tools.
var rootImages = []struct {
	kind, pkg string
	size      int64
	tool      func(image, dir string) []string
}{
	{"ext2", "e2fsprogs", 4 << 20, func(image, dir string) []string { return []string{"mke2fs", "-q", "-t", "ext2", "-d", dir, image} }},
	{"ext3", "e2fsprogs", 8 << 20, func(image, dir string) []string { return []string{"mke2fs", "-q", "-t", "ext3", "-d", dir, image} }},
	{"ext4", "e2fsprogs", 8 << 20, func(image, dir string) []string { return []string{"mke2fs", "-q", "-t", "ext4", "-d", dir, image} }},
	{"btrfs", "btrfs-progs", 128 << 20, func(image, dir string) []string { return []string{"mkfs.btrfs", "-q", "--rootdir", dir, image} }},
	{"squashfs", "squashfs-tools", 0, func(image, dir string) []string {
		return []string{"mksquashfs", dir, image, "-quiet", "-no-progress", "-noappend"}
	}},
	{"erofs", "erofs-utils", 0, func(image, dir string) []string { return []string{"mkfs.erofs", image, dir} }},
}

func TestMountLook(t *testing.T) {
	needsRoot(t)
	needs(t, "util-linux", "losetup")
	for _, r := range rootImages {
		t.Run(r.kind, func(t *testing.T) {
			needsDriver(t, r.kind)
			path := image(t, r.size)
			args := r.tool(path, system(t))
			needs(t, r.pkg, args[0])
			run(t, "", args[0], args[1:]...)
			before := sumOf(t, path)
			v := loopVolume(t, path)
			if v.FS.Type != r.kind {
				t.Fatalf("probed as %q", v.FS.Type)
			}
			got, err := MountLook(filepath.Join(t.TempDir(), "look"))(t.Context(), v)
			if want := (System{"/sbin/init", "Test Linux 1"}); err != nil || got != want {
				t.Errorf("look = %+v, %v, want %+v", got, err, want)
			}
			if sumOf(t, path) != before {
				t.Error("the look has changed the disk")
			}
		})
	}
}

// TestLookAfterCrash looks into file systems whose journals a mount would replay.
func TestLookAfterCrash(t *testing.T) {
	needsRoot(t)
	needs(t, "util-linux", "losetup")
	for _, f := range formats {
		if f.name != "ext3" && f.name != "ext4" && f.name != "xfs" && f.name != "btrfs" {
			continue
		}
		t.Run(f.name, func(t *testing.T) {
			needsDriver(t, f.want.Type)
			needs(t, f.pkg, f.tool[0])
			path := image(t, f.size)
			run(t, "", f.tool[0], append(f.tool[1:], path)...)
			crashed := crash(t, path)
			before := sumOf(t, crashed)
			if _, err := MountLook(t.TempDir())(t.Context(), loopVolume(t, crashed)); err != nil {
				t.Error(err)
			}
			if sumOf(t, crashed) != before {
				t.Error("the look has changed the disk")
			}
		})
	}
}

// crash gives a copy of the disk as it is while it is mounted and just written to.
func crash(t *testing.T, path string) string {
	t.Helper()
	dir := t.TempDir()
	v := loopVolume(t, path)
	if err := Mount(t.Context(), v, dir, MountOptions{ReadWrite: true}); err != nil {
		t.Fatal(err)
	}
	defer unix.Unmount(dir, 0)
	f, err := os.Create(filepath.Join(dir, "file"))
	if err == nil {
		_, err = f.WriteString("written before the crash")
	}
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		t.Fatal(err)
	}
	run(t, "", "sync", "-f", path) // the loop device's own cache
	copied := filepath.Join(t.TempDir(), "crashed")
	run(t, "", "cp", "--sparse=always", path, copied)
	return copied
}

func needsDriver(t *testing.T, kind string) {
	t.Helper()
	b, err := os.ReadFile("/proc/filesystems")
	if err != nil || !strings.Contains(string(b), "\t"+kind+"\n") {
		t.Skipf("SKIP: this kernel has no driver for %s loaded", kind)
	}
}

// loopVolume is the disk image as a block device.
func loopVolume(t *testing.T, path string) Volume {
	t.Helper()
	loop := attachLoop(t, path, 512)
	volumes, err := Scan(openDisk(t, loop, filepath.Base(loop)))
	if err != nil || len(volumes) != 1 {
		t.Fatalf("Scan = %v, %v", volumes, err)
	}
	return volumes[0]
}

func sumOf(t *testing.T, path string) [32]byte {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		t.Fatal(err)
	}
	return [32]byte(h.Sum(nil))
}

func TestMount(t *testing.T) {
	needsRoot(t)
	needs(t, "e2fsprogs util-linux", "mke2fs", "losetup")
	path := image(t, 4<<20)
	run(t, "", "mke2fs", "-q", "-t", "ext4", path)
	v := loopVolume(t, path)
	dir := filepath.Join(t.TempDir(), "root")
	for _, c := range []struct {
		name  string
		o     MountOptions
		write error
	}{
		{"read-only", MountOptions{}, unix.EROFS},
		{"writable", MountOptions{ReadWrite: true, Options: "noatime,data=ordered,_netdev"}, nil},
		{"options decide", MountOptions{ReadWrite: true, Options: "ro"}, unix.EROFS},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := Mount(t.Context(), v, dir, c.o); err != nil {
				t.Fatal(err)
			}
			defer unix.Unmount(dir, 0)
			if err := os.WriteFile(dir+"/file", nil, 0o644); !errors.Is(err, c.write) {
				t.Errorf("write: %v, want %v", err, c.write)
			}
		})
	}
	for name, c := range map[string]struct {
		v    Volume
		o    MountOptions
		want string
	}{
		"wrong type":     {v, MountOptions{FSType: "xfs"}, "the superblock is damaged or an option is unknown"},
		"unknown type":   {v, MountOptions{FSType: "zfs9"}, "no driver for zfs9"},
		"unknown option": {v, MountOptions{Options: "no-such-option"}, `options "no-such-option"`},
		"no type":        {Volume{Name: v.Name}, MountOptions{}, "rootfstype="},
	} {
		t.Run(name, func(t *testing.T) {
			if err := Mount(t.Context(), c.v, dir, c.o); err == nil || !strings.Contains(err.Error(), c.want) {
				unix.Unmount(dir, 0)
				t.Errorf("err = %v, want %q in it", err, c.want)
			}
		})
	}
}

func TestParseOptions(t *testing.T) {
	for _, c := range []struct {
		options   string
		readWrite bool
		flags     uintptr
		data      string
	}{
		{"", false, unix.MS_RDONLY, ""},
		{"", true, 0, ""},
		{"defaults,ro", true, unix.MS_RDONLY, ""},
		{"rw", false, 0, ""},
		{"noatime,nodev,nosuid,noexec", true, unix.MS_NOATIME | unix.MS_NODEV | unix.MS_NOSUID | unix.MS_NOEXEC, ""},
		{"noatime,relatime,lazytime", true, unix.MS_RELATIME | unix.MS_LAZYTIME, ""},
		{"sync,dirsync,nodiratime,strictatime", true, unix.MS_SYNCHRONOUS | unix.MS_DIRSYNC | unix.MS_NODIRATIME | unix.MS_STRICTATIME, ""},
		{"subvol=@root,x-systemd.growfs,compress=zstd,,_netdev", true, 0, "subvol=@root,compress=zstd"},
	} {
		flags, data := parseOptions(c.options, c.readWrite)
		if flags != c.flags || data != c.data {
			t.Errorf("%q: flags %#x, data %q, want %#x, %q", c.options, flags, data, c.flags, c.data)
		}
	}
}

func TestWaitDevice(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sda1")
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	err := WaitDevice(ctx, path)
	if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "devtmpfs") {
		t.Errorf("err = %v", err)
	}
	made := make(chan error)
	go func() { made <- os.WriteFile(path, nil, 0o600) }()
	if err := WaitDevice(t.Context(), path); err != nil {
		t.Error(err)
	}
	if err := <-made; err != nil {
		t.Error(err)
	}
}

func TestPrettyName(t *testing.T) {
	for text, want := range map[string]string{
		"PRETTY_NAME=\"Debian GNU/Linux 12\"\nID=debian\n": "Debian GNU/Linux 12",
		"ID=x\nPRETTY_NAME='Tiny'":                         "Tiny",
		"ID=x\n":                                           "",
	} {
		if got := prettyName(text); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
