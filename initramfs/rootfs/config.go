package rootfs

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"log/slog"
	"runtime"
	"strings"
)

const (
	defaultTinySize   = 64 << 20
	defaultDebianSize = 2 << 30

	// Labels in an ext4 superblock have 16 bytes.
	maxLabel = 16
)

// TinyConfig says how [Tiny] makes an image. The zero value is ready to use.
type TinyConfig struct {
	Size     int64  // of the image in bytes; 0 means 64 MiB
	Hostname string // "" means bootlun
	Label    string // of the file system, up to 16 bytes; "" means bootlun-tiny

	// Commands are the import paths of the Go commands on board; nil means
	// [TinyCommands]. A shell that answers to gosh must be among them.
	Commands []string

	// Source is a folder inside the source tree of this module, from which the
	// commands are built; "" means the current folder.
	Source string `json:"-"`

	// Log hears of each step; nil means silence.
	Log *slog.Logger `json:"-"`
}

func (c TinyConfig) withDefaults() TinyConfig {
	c.Size = orDefault(c.Size, defaultTinySize)
	c.Hostname = orDefault(c.Hostname, "bootlun")
	c.Label = orDefault(c.Label, "bootlun-tiny")
	if c.Commands == nil {
		c.Commands = TinyCommands()
	}
	c.Log = logger(c.Log)
	return c
}

func (c TinyConfig) check() error {
	return checkCommon(c.Size, c.Label, c.Hostname)
}

// Key identifies the recipe: two images with the same key differ at most in
// what the packages that they were made from have become since.
func (c TinyConfig) Key() string {
	c = c.withDefaults()
	return key("tiny", tinySource, tinyTree(c, identity{}, nil, nil), c, runtime.Version())
}

// DebianConfig says how [Debian] makes an image. The zero value is ready to use
// and gives a system that shows a login prompt and lets nobody in.
type DebianConfig struct {
	Size     int64    // of the image in bytes; 0 means 2 GiB
	Hostname string   // "" means debian
	Label    string   // of the file system, up to 16 bytes; "" means bootlun-debian
	Suite    string   // "" means bookworm, Debian 12
	Mirror   string   // a URL or lines of a sources.list; "" means mmdebstrap's own choice
	Packages []string // to be installed besides [DebianPackages]
	// Files are texts that the image has besides, by their paths without a slash in front. They are there before the packages are.
	Files map[string]string `json:",omitempty"`

	// RootPassword lets root log in on the console; "" locks the account.
	RootPassword string
	// Autologin logs root in on the serial console without a question.
	Autologin bool

	// SelfBooting adds a kernel, an initramfs with open-iscsi and GRUB for
	// BIOS, so that the image boots by itself from a disk or an iSCSI LUN.
	SelfBooting bool
	// Source adds the kernel and the initramfs, and no boot loader: what an
	// installer copies to a disk of its own.
	Source bool `json:",omitempty"`
	// Kernel is the package of its kernel; "" means linux-image-cloud-amd64, which is small and no dom0's.
	Kernel string `json:",omitempty"`
	// Dracut, with SelfBooting or Source, has dracut make the initramfs; otherwise it is
	// Debian's usual initramfs-tools.
	Dracut bool

	// XenHost adds what SelfBooting does, but GRUB starts Xen, with this system
	// as its first domain (dom0). That domain comes up with a root shell on Xen's
	// console and no service running: who types there decides what it does.
	XenHost bool `json:",omitempty"`

	// Log hears of each step; nil means silence.
	Log *slog.Logger `json:"-"`
}

func (c DebianConfig) withDefaults() DebianConfig {
	c.Size = orDefault(c.Size, defaultDebianSize)
	c.Hostname = orDefault(c.Hostname, "debian")
	c.Label = orDefault(c.Label, "bootlun-debian")
	c.Suite = orDefault(c.Suite, "bookworm")
	c.SelfBooting = c.SelfBooting || c.XenHost
	c.Log = logger(c.Log)
	return c
}

func (c DebianConfig) check() error {
	if strings.ContainsAny(c.RootPassword, ":\n") {
		return fmt.Errorf("rootfs: a root password with a colon or a line break cannot be set; choose another")
	}
	return checkCommon(c.Size, c.Label, c.Hostname)
}

// Key identifies the recipe: two images with the same key differ at most in
// what the packages that they were made from have become since.
func (c DebianConfig) Key() string {
	b := debianBuild{DebianConfig: c.withDefaults()}
	return key("debian", debianSource, b.tree(), b.DebianConfig, b.packages(), debianWithout, b.grubModules())
}

// checkCommon refuses what would end up broken inside the image.
func checkCommon(size int64, label, hostname string) error {
	if size != 0 && (size < minSize || size%sector != 0) {
		return fmt.Errorf("rootfs: an image of %d bytes cannot be made; choose a multiple of %d, %d at least", size, sector, minSize)
	}
	if len(label) > maxLabel {
		return fmt.Errorf("rootfs: label %q has %d bytes; ext4 has room for %d", label, len(label), maxLabel)
	}
	if strings.ContainsAny(hostname, " \t\n/") {
		return fmt.Errorf("rootfs: host name %q has a character that no host name has", hostname)
	}
	return nil
}

// key digests everything of ours that shapes an image: settings and lists, the
// embedded sources, and the files that we add (as they are before the image has
// an identity, which follows from the key).
func key(kind string, sources fs.FS, tree []entry, recipe ...any) string {
	h := sha256.New()
	settings, err := json.Marshal(recipe)
	if err != nil {
		panic(err) // strings, numbers and booleans always marshal
	}
	fmt.Fprintf(h, "%s %d\n%s\n", kind, recipeVersion, settings)
	for _, e := range tree {
		fmt.Fprintf(h, "%q %v %q %q\n", e.path, e.mode, e.data, e.target)
	}
	err = fs.WalkDir(sources, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := fs.ReadFile(sources, path)
		fmt.Fprintf(h, "%s %d\n%s\n", path, len(b), b)
		return err
	})
	if err != nil {
		panic(err) // an embedded file always reads
	}
	return hex.EncodeToString(h.Sum(nil))
}

func orDefault[T comparable](value, otherwise T) T {
	var zero T
	if value == zero {
		return otherwise
	}
	return value
}

func logger(l *slog.Logger) *slog.Logger {
	if l == nil {
		return slog.New(slog.DiscardHandler)
	}
	return l
}
