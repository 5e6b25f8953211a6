package scenario

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"syscall"

	"github.com/bootlun/bootlun/initramfs"
	"github.com/bootlun/bootlun/initramfs/rootfs"
)

// Images makes what a lab needs, once: a kernel, the netboot image and disk
// images with root file systems. The zero value keeps them in ./build and uses
// Debian's kernel.
type Images struct {
	// Dir is where images are kept; empty means "build".
	Dir string
	// Kernel and Modules are the user's own kernel; empty means Debian's.
	Kernel, Modules string
	// BootSector is that of initramfs.Config, of an image of its own beside the usual one.
	BootSector bool
	// Logger tells of steps that take time; nil discards.
	Logger *slog.Logger
}

// Root is a disk image with an installed system.
type Root struct {
	Path string
	// NBD is the image's URI on an NBD server, instead of Path.
	NBD string
	// Up matches the console line by which the system shows that it runs.
	Up *regexp.Regexp
	// Disc says that Path is an ISO image, for a CD-ROM drive.
	Disc bool
	// Quiet says that its own kernel tells the console nothing of how it boots.
	Quiet bool
}

// The names of the roots that Root makes; any other name is a file's path.
const (
	RootTiny   = "tiny"
	RootDebian = "debian"
	RootDracut = "dracut" // Debian too, with an initramfs by dracut
)

// RootPassword lets root log in to the Debian roots. Their images are for a desk.
const RootPassword = "bootlun"

var (
	tinyUp = regexp.MustCompile(`bootlun tiny root: / is `)
	// agetty names the terminal before it asks for a name; a complete line, so
	// that the timeline sees it too.
	loginUp = regexp.MustCompile(`^[^\[]* ttyS0\s*$`)
	// What an image of the user's own holds is not known.
	anyUp = regexp.MustCompile(tinyUp.String() + "|" + loginUp.String() + "|login: ")
)

// Netboot obtains the kernel and builds the netboot image for it.
func (i Images) Netboot(ctx context.Context) (kernel initramfs.Kernel, image string, err error) {
	unlock, err := i.lock()
	if err != nil {
		return kernel, "", err
	}
	defer unlock()
	if kernel, err = i.KernelOf(ctx); err != nil {
		return kernel, "", err
	}
	image = i.path("netboot.img")
	if i.BootSector {
		image = i.path("netboot-int13h.img")
	}
	_, err = initramfs.Build(ctx, initramfs.Config{Kernel: kernel, Output: image, BootSector: i.BootSector, Logger: i.Logger})
	return kernel, image, err
}

// KernelOf is the kernel that the images are for, downloaded if need be.
func (i Images) KernelOf(ctx context.Context) (initramfs.Kernel, error) {
	if i.Kernel != "" {
		return initramfs.LocalKernel(i.Kernel, i.Modules)
	}
	return initramfs.DebianKernel(ctx, initramfs.KernelConfig{Dir: i.path("kernel"), Logger: i.Logger})
}

// Root makes the disk image of that name, or takes the file at that path.
func (i Images) Root(ctx context.Context, name string) (Root, error) {
	unlock, err := i.lock()
	if err != nil {
		return Root{}, err
	}
	defer unlock()
	switch name {
	case RootTiny:
		config := rootfs.TinyConfig{Log: i.Logger}
		r := Root{Path: i.path("root-tiny.img"), Up: tinyUp}
		if rootfs.Fresh(r.Path, config.Key()) {
			return r, nil
		}
		return r, rootfs.Tiny(ctx, r.Path, config)
	case RootDebian, RootDracut:
		r := Root{Path: i.path("root-" + name + ".img"), Up: loginUp}
		return r, i.debian(ctx, r.Path, rootfs.DebianConfig{SelfBooting: true, Dracut: name == RootDracut, RootPassword: RootPassword})
	}
	if _, err := os.Stat(name); errors.Is(err, fs.ErrNotExist) {
		return Root{}, fmt.Errorf("there is no root %q: name tiny, debian, dracut or the file of a disk image", name)
	} else if err != nil {
		return Root{}, err
	}
	return Root{Path: name, Up: anyUp}, nil
}

// XenHost makes the disk image of a Xen host, for package xen.
func (i Images) XenHost(ctx context.Context) (path string, err error) {
	unlock, err := i.lock()
	if err != nil {
		return "", err
	}
	defer unlock()
	path = i.path("xen-host.img")
	return path, i.debian(ctx, path, rootfs.DebianConfig{Hostname: "xen", Label: "bootlun-xen", XenHost: true})
}

// debian makes a Debian image, unless it is there.
func (i Images) debian(ctx context.Context, path string, config rootfs.DebianConfig) error {
	config.Log = i.Logger
	if rootfs.Fresh(path, config.Key()) {
		return nil
	}
	return rootfs.Debian(ctx, path, config)
}

func (i Images) path(name string) string {
	if i.Dir == "" {
		return filepath.Join("build", name)
	}
	return filepath.Join(i.Dir, name)
}

// lock keeps two processes, such as the tests of two packages, from making the
// same image at the same time.
func (i Images) lock() (unlock func(), err error) {
	path := i.path(".lock")
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX); err != nil {
		file.Close()
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return func() { file.Close() }, nil
}
