package rootfs

import (
	"context"
	"embed"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// debianSource has the scripts that mmdebstrap runs; it is part of the
// recipe's key.
//
//go:embed debian
var debianSource embed.FS

// Debian makes the image of a Debian system at path, and the folders above it,
// by mmdebstrap, as root or as any user who has subordinate ids (/etc/subuid).
// It needs a Debian mirror and takes about a minute.
//
// No network manager is on board: the network interface that the root disk
// hangs on is up before this system starts, and stays as it is.
func Debian(ctx context.Context, path string, c DebianConfig) error {
	if err := c.check(); err != nil {
		return err
	}
	b := debianBuild{DebianConfig: c.withDefaults(), key: c.Key()}
	b.id = identify(b.key)
	if err := b.needs(); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	started := time.Now()
	if err := b.workspace(); err != nil {
		return err
	}
	defer os.RemoveAll(b.dir)
	b.Log.Info("installing Debian; this takes about a minute", "suite", b.Suite, "packages", len(b.packages()))
	if err := mmdebstrap.run(ctx, b.Log, b.environment(), b.arguments()...); ctx.Err() != nil {
		return fmt.Errorf("install Debian %s: %w", b.Suite, err)
	} else if err != nil {
		return fmt.Errorf("install Debian %s (needs a mirror that can be reached and, without root, subordinate ids in /etc/subuid and /etc/subgid): %w", b.Suite, err)
	}
	b.Log.Info("writing the Debian root", "image", path, "bytes", b.Size)
	if err := create(path, b.Size, b.key, func(f *os.File) error { return b.assemble(ctx, f) }); err != nil {
		return err
	}
	b.Log.Info("made the Debian root", "image", path, "took", time.Since(started).Round(time.Millisecond))
	return nil
}

// debianBuild is one run of Debian.
type debianBuild struct {
	DebianConfig
	key string
	id  identity
	dir string // of the run's own: scripts, files for the new system, out
}

// needs tells everything that is missing at once, before anything is done.
func (b *debianBuild) needs() error {
	tools := []tool{mmdebstrap, mke2fs}
	if b.unprivileged() {
		tools = append(tools, uidmap)
	}
	if b.SelfBooting {
		tools = append(tools, grubImage)
		if err := grubFiles(); err != nil {
			return err
		}
	}
	return missing(tools...)
}

func (b *debianBuild) unprivileged() bool { return os.Geteuid() != 0 }

// workspace lays out the run's own files where mmdebstrap's hooks can reach
// them: without privileges those run under a subordinate user id, to which the
// caller's files are a stranger's.
func (b *debianBuild) workspace() (err error) {
	if b.dir, err = os.MkdirTemp("", "bootlun-debian-"); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.RemoveAll(b.dir)
		}
	}()
	for name, tree := range map[string][]entry{"scripts": b.scripts(), "files": b.tree(), "out": nil} {
		if err := writeFolder(filepath.Join(b.dir, name), tree); err != nil {
			return err
		}
	}
	if !b.unprivileged() {
		return nil
	}
	// Whoever cannot list b.dir cannot guess its name.
	if err := os.Chmod(b.dir, 0o711); err != nil {
		return err
	}
	return os.Chmod(filepath.Join(b.dir, "out"), 0o777)
}

func (b *debianBuild) scripts() []entry {
	var scripts []entry
	for _, name := range []string{"essential.sh", "customize.sh"} {
		content, err := debianSource.ReadFile("debian/" + name)
		if err != nil {
			panic(err) // an embedded file always reads
		}
		scripts = append(scripts, text(name, string(content)))
	}
	return scripts
}

// writeFolder writes files below dir, and the folders that they need, readable
// for all whatever the umask.
func writeFolder(dir string, tree []entry) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, e := range tree {
		name := filepath.Join(dir, filepath.FromSlash(e.path))
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(name, e.data, 0o644); err != nil {
			return err
		}
	}
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			return os.Chmod(path, 0o755)
		}
		return os.Chmod(path, 0o644)
	})
}

// environment is what the scripts are told. The password goes this way because
// arguments show in everybody's list of processes.
func (b *debianBuild) environment() []string {
	return []string{
		"BOOTLUN_FILES=" + filepath.Join(b.dir, "files"),
		"BOOTLUN_OUT=" + filepath.Join(b.dir, "out"),
		"BOOTLUN_LABEL=" + b.Label,
		"BOOTLUN_UUID=" + b.id.filesystem.String(),
		"BOOTLUN_BLOCKS=" + fmt.Sprint(rootSize(b.Size)/blockSize),
		"BOOTLUN_ROOT_PASSWORD=" + b.RootPassword,
		"INITRD=No",
		"LC_ALL=C.UTF-8",
	}
}

func (b *debianBuild) arguments() []string {
	mode := "root"
	if b.unprivileged() {
		mode = "unshare"
	}
	args := []string{
		"--mode=" + mode,
		"--variant=apt",
		"--format=null",
		"--include=" + strings.Join(b.packages(), ","),
		"--aptopt=Acquire::Languages none",
		"--dpkgopt=force-unsafe-io",
		"--essential-hook=sh " + filepath.Join(b.dir, "scripts", "essential.sh") + ` "$1"`,
		"--customize-hook=sh " + filepath.Join(b.dir, "scripts", "customize.sh") + ` "$1"`,
		// The image is made by then, and the rest is thrown away.
		"--skip=cleanup",
	}
	for _, rule := range debianWithout {
		args = append(args, "--dpkgopt="+rule)
	}
	args = append(args, b.Suite, "-")
	if b.Mirror != "" {
		args = append(args, strings.Split(b.Mirror, "\n")...)
	}
	return args
}

// assemble puts the parts together in the image f.
func (b *debianBuild) assemble(ctx context.Context, f *os.File) error {
	if err := partition(f, b.Size, b.id, b.SelfBooting); err != nil {
		return err
	}
	root, err := os.Open(filepath.Join(b.dir, "out", "root.ext4"))
	if err != nil {
		return err
	}
	defer root.Close()
	if err := copySparse(ctx, f, rootStart, root); err != nil {
		return err
	}
	if !b.SelfBooting {
		return nil
	}
	return InstallGRUB(ctx, f, grubPrefix, b.grubModules(), b.Log)
}
