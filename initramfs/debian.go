package initramfs

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

// DefaultKernelPackage is small, starts fast and knows the devices of virtual
// machines. For physical ones there is linux-image-amd64.
const DefaultKernelPackage = "linux-image-cloud-amd64"

// KernelConfig says which kernel [DebianKernel] shall obtain.
type KernelConfig struct {
	// Dir is where unpacked kernels are kept; default is the folder kernels of
	// the user's cache for this program.
	Dir string
	// Package is a Debian package: of one kernel, or one that depends on the
	// current kernel's. Default: [DefaultKernelPackage].
	Package string
	// Logger hears of steps that take over two seconds; nil discards.
	Logger *slog.Logger
}

// kernelPackage is how Debian names the package of one kernel.
var kernelPackage = regexp.MustCompile(`^linux-image-\d[a-z0-9.+~-]*$`)

// DebianKernel obtains a kernel from Debian's (or Ubuntu's) archive: it finds
// the package, downloads it with apt-get and unpacks it below Config.Dir. The
// package is not installed, and no privileges are needed. Nothing is downloaded
// if it is there already. If apt fails, but an earlier call with the same
// Package succeeded, the kernel of that time is returned, and a warning logged.
func DebianKernel(ctx context.Context, cfg KernelConfig) (Kernel, error) {
	cfg.Package = cmp.Or(cfg.Package, DefaultKernelPackage)
	cfg.Logger = orDiscard(cfg.Logger)
	if cfg.Dir == "" {
		cache, err := cacheDir("")
		if err != nil {
			return Kernel{}, err
		}
		cfg.Dir = filepath.Join(cache, "kernels")
	}
	k, err := cfg.obtain(ctx)
	if err == nil || ctx.Err() != nil {
		return k, err
	}
	// The link tells what the package stood for the last time.
	if k, old := unpackedKernel(cfg.latest()); old == nil {
		cfg.Logger.WarnContext(ctx, "no newer kernel to be had; taking the one from before", "kernel", k.Version, "cause", err)
		return k, nil
	}
	return Kernel{}, fmt.Errorf("obtaining Debian's kernel %s: %w; or give a kernel and modules of your own", cfg.Package, err)
}

// latest is a link, named as cfg.Package, to the folder of its latest kernel.
func (cfg KernelConfig) latest() string {
	return filepath.Join(cfg.Dir, "latest-"+cfg.Package)
}

func (cfg KernelConfig) obtain(ctx context.Context) (Kernel, error) {
	name, err := resolvePackage(ctx, cfg.Package)
	if err != nil {
		return Kernel{}, err
	}
	dir := filepath.Join(cfg.Dir, name)
	if _, err := os.Stat(dir); err != nil {
		if err := cfg.download(ctx, name, dir); err != nil {
			return Kernel{}, err
		}
	}
	k, err := unpackedKernel(dir)
	if err != nil {
		return Kernel{}, err
	}
	return k, relink(name, cfg.latest())
}

// resolvePackage finds the package of one kernel that a package stands for.
func resolvePackage(ctx context.Context, name string) (string, error) {
	if kernelPackage.MatchString(name) {
		return name, nil
	}
	out, err := run(ctx, "", "apt-cache", "depends", "--", name)
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(out)) {
		kind, dep, _ := strings.Cut(strings.TrimSpace(line), ": ")
		if kind == "Depends" && kernelPackage.MatchString(dep) {
			return dep, nil
		}
	}
	return "", fmt.Errorf("package %s depends on no package of a kernel (linux-image-VERSION)", name)
}

// download unpacks a package as dir, which appears only when it is whole.
func (cfg KernelConfig) download(ctx context.Context, name, dir string) error {
	if err := os.MkdirAll(cfg.Dir, 0o755); err != nil {
		return err
	}
	tmp, err := os.MkdirTemp(cfg.Dir, "."+name+"-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	done := progress(ctx, cfg.Logger, "downloading kernel", "package", name)
	// As root, apt would download as a user who cannot write to our folder.
	_, err = run(ctx, tmp, "apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", "--", name)
	done()
	if err != nil {
		return err
	}
	debs, err := filepath.Glob(filepath.Join(tmp, "*.deb"))
	if err != nil || len(debs) != 1 {
		return fmt.Errorf("apt-get download %s left %d packages, not 1", name, len(debs))
	}
	done = progress(ctx, cfg.Logger, "unpacking kernel", "package", name)
	_, err = run(ctx, tmp, "dpkg-deb", "--extract", filepath.Base(debs[0]), "root")
	done()
	if err != nil {
		return err
	}
	if _, err := unpackedKernel(filepath.Join(tmp, "root")); err != nil {
		return err
	}
	err = os.Rename(filepath.Join(tmp, "root"), dir)
	if _, gone := os.Stat(dir); err != nil && gone == nil {
		return nil // somebody else was faster
	}
	return err
}

// unpackedKernel finds the one kernel in an unpacked package.
func unpackedKernel(dir string) (Kernel, error) {
	dir, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return Kernel{}, err
	}
	images, err := filepath.Glob(filepath.Join(dir, "boot", "vmlinuz-*"))
	if err != nil || len(images) != 1 {
		return Kernel{}, fmt.Errorf("%s holds %d kernels (boot/vmlinuz-*), not 1", dir, len(images))
	}
	return LocalKernel(images[0], dir)
}

// relink makes link point to name, in one step.
func relink(name, link string) error {
	if old, err := os.Readlink(link); err == nil && old == name {
		return nil
	}
	tmp := fmt.Sprintf("%s.%d", link, os.Getpid())
	if err := os.Symlink(name, tmp); err != nil {
		return err
	}
	return os.Rename(tmp, link)
}

// run runs a command and returns its output. The error holds the last lines
// that it wrote to its error output, and a remedy where one is known.
func run(ctx context.Context, dir, name string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	out, err := cmd.Output()
	if ctx.Err() != nil {
		return nil, fmt.Errorf("%s: %w", name, context.Cause(ctx))
	}
	if errors.Is(err, exec.ErrNotFound) {
		return nil, fmt.Errorf("%w (this needs Debian or Ubuntu with apt and dpkg)", err)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %s%s", strings.Join(cmd.Args, " "), err, lastLines(complaints.String(), 4), remedy(complaints.String()))
	}
	return out, nil
}

// lastLines returns the last few lines of a text, joined by semicolons.
func lastLines(text string, n int) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "; ")
}

// remedy says what helps against some complaints of apt.
func remedy(complaint string) string {
	switch {
	case strings.Contains(complaint, "No packages found"), strings.Contains(complaint, "Unable to locate package"):
		return " (its lists are missing or old: run apt-get update as root, then try again)"
	case strings.Contains(complaint, "404"):
		return " (the archive has a newer one: run apt-get update as root, then try again)"
	case strings.Contains(complaint, "Failed to fetch"), strings.Contains(complaint, "Temporary failure"):
		return " (is the network up?)"
	}
	return ""
}
