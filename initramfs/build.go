package initramfs

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path"
	"path/filepath"

	"github.com/u-root/mkuimage/uimage/builder"
	"golang.org/x/sync/errgroup"

	"github.com/bootlun/bootlun/initramfs/modules"
)

// Config says what goes into an image. Only Kernel and Output must be set.
type Config struct {
	// Kernel is what the image will be booted with.
	Kernel Kernel
	// Output is the file to write. Folders above it are made.
	Output string
	// Compression packs the image; default [Zstd].
	Compression Compression

	// Init is the import path of the program that becomes /init; default
	// [DefaultInit].
	Init string
	// Commands are import paths of programs that become one busybox in /bbin;
	// nil means [DefaultCommands]. Empty but not nil leaves the busybox out,
	// and with it most of the time that a first build takes. A gosh among them
	// becomes /bin/sh.
	Commands []string
	// Modules chooses kernel modules; nil means [DefaultModules]. It is not
	// looked at if the kernel has no modules.
	Modules *modules.Selection
	// BootSector adds what runs a LUN's own boot sector (bootlun.handoff=int13h),
	// with which the image has a sixth of a megabyte more.
	BootSector bool
	// Files go into the image besides; names must not clash.
	Files []File

	// Source is a folder in the source tree of this module or of one that
	// depends on it, where import paths are resolved; default is the current
	// folder.
	Source string
	// Cache is a folder that keeps compiled programs; default is the user's
	// cache for this program.
	Cache string
	// Logger hears of steps that take over two seconds; nil discards.
	Logger *slog.Logger
}

// Manifest says what an image is made of.
type Manifest struct {
	// Kernel is the release of the kernel that the modules are of.
	Kernel string `json:"kernel"`
	// Size is the image's, in bytes; RawSize what it takes when unpacked.
	Size    int64 `json:"size"`
	RawSize int64 `json:"rawSize"`
	// SHA256 is of the image's bytes.
	SHA256 string `json:"sha256"`
	// ModulesAt is where, in the image, the archive of the modules begins. It
	// is 0 in an image without any.
	ModulesAt int64 `json:"modulesAt,omitempty"`
	// Modules are the names of those aboard, in loading order.
	Modules []string `json:"modules"`
	// Files are all that is in the image, sorted by name within each archive.
	Files []ManifestFile `json:"files"`
}

// ManifestFile is one file of an image.
type ManifestFile struct {
	Name string      `json:"name"`
	Mode fs.FileMode `json:"mode"`
	Size int64       `json:"size"` // bytes in the archive
}

// Build makes an initramfs image. Equal inputs give equal bytes.
//
// The image is two archives, one after the other, which Linux unpacks as one:
// programs and everything small, compressed; and behind it the modules, each
// compressed by itself. So the machine unpacks only the modules it loads, and
// it boots as fast with the drivers of every network card aboard as with one.
func Build(ctx context.Context, cfg Config) (Manifest, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return Manifest{}, fmt.Errorf("building initramfs: %w", err)
	}
	manifest, err := cfg.build(ctx)
	if err != nil {
		return Manifest{}, fmt.Errorf("building initramfs %s: %w", cfg.Output, err)
	}
	return manifest, nil
}

func (cfg Config) withDefaults() (Config, error) {
	if cfg.Output == "" {
		return cfg, errors.New("Config.Output is empty: name the file to write")
	}
	var err error
	if cfg.Compression, err = ParseCompression(string(cfg.Compression)); err != nil {
		return cfg, err
	}
	cfg.Init = cmp.Or(cfg.Init, DefaultInit)
	if cfg.Commands == nil {
		cfg.Commands = DefaultCommands()
	}
	if cfg.Modules == nil {
		m := DefaultModules()
		cfg.Modules = &m
	}
	cfg.Source, err = filepath.Abs(cmp.Or(cfg.Source, "."))
	if err != nil {
		return cfg, err
	}
	if cfg.Cache, err = cacheDir(cfg.Cache); err != nil {
		return cfg, err
	}
	if cfg.Cache, err = filepath.Abs(cfg.Cache); err != nil {
		return cfg, err
	}
	cfg.Logger = orDiscard(cfg.Logger)
	return cfg, nil
}

func (cfg Config) build(ctx context.Context) (Manifest, error) {
	var init, commands []File
	var drivers driverFiles
	group, gctx := errgroup.WithContext(ctx)
	group.Go(func() (err error) {
		drivers, err = cfg.drivers(gctx)
		return err
	})
	group.Go(func() (err error) {
		if init, err = cfg.init(gctx); err == nil {
			commands, err = cfg.busybox(gctx)
		}
		return err
	})
	if err := group.Wait(); err != nil {
		return Manifest{}, err
	}
	image := &image{compression: cfg.Compression, cache: cfg.Cache}
	if err := image.add(ctx, true, baseFiles(), init, commands, drivers.index, cfg.Files); err != nil {
		return Manifest{}, err
	}
	if len(drivers.modules) > 0 {
		if err := image.add(ctx, false, drivers.modules); err != nil {
			return Manifest{}, err
		}
	}
	if err := os.MkdirAll(filepath.Dir(cfg.Output), 0o755); err != nil {
		return Manifest{}, err
	}
	m := image.manifest
	m.Kernel, m.Modules = cfg.Kernel.Version, drivers.names
	m.Size = int64(len(image.data))
	m.SHA256 = fmt.Sprintf("%x", sha256.Sum256(image.data))
	return m, writeFile(cfg.Output, image.data)
}

// init compiles PID 1. It is a program of its own because it starts faster than
// a busybox, in which the packages of all commands are initialised, and because
// it stays: it keeps the iSCSI session alive after the root has been switched.
func (cfg Config) init(ctx context.Context) ([]File, error) {
	tags := ""
	if cfg.BootSector {
		tags = bootSectorTag
	}
	files, err := programs{
		what: "init", packages: []string{cfg.Init}, builder: builder.Binary, tags: tags,
		source: cfg.Source, cache: cfg.Cache, log: cfg.Logger,
	}.files(ctx)
	if err != nil {
		return nil, err
	}
	return append(files, link("init", "bin/"+path.Base(cfg.Init))), nil
}

// busybox compiles the commands.
func (cfg Config) busybox(ctx context.Context) ([]File, error) {
	files, err := programs{
		what: "commands", packages: cfg.Commands, builder: builder.Busybox,
		source: cfg.Source, cache: cfg.Cache, log: cfg.Logger,
	}.files(ctx)
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		if f.Name == "bbin/gosh" {
			files = append(files, link("bin/sh", "../bbin/gosh"))
		}
	}
	return files, nil
}
