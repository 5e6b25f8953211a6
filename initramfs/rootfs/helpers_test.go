package rootfs

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/diskfs/go-diskfs"
	backend "github.com/diskfs/go-diskfs/backend/file"
	"github.com/diskfs/go-diskfs/filesystem/ext4"

	"github.com/bootlun/bootlun/qemu"
)

// buildDir keeps what is slow to make, for other tests and for make boot too.
const buildDir = "../../build"

// inBuildDir holds the lock of buildDir while f makes something there.
func inBuildDir(t *testing.T, f func()) {
	t.Helper()
	if err := os.MkdirAll(buildDir, 0o755); err != nil {
		t.Fatal(err)
	}
	lock, err := os.OpenFile(filepath.Join(buildDir, ".lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	f()
}

func testLog(t *testing.T) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), nil))
}

// needs skips the test if a program is missing, and says so.
func needs(t *testing.T, tools ...tool) {
	t.Helper()
	if err := missing(tools...); err != nil {
		t.Skip("SKIP: ", err)
	}
}

// output runs a program and fails the test if that fails.
func output(t *testing.T, program tool, args ...string) string {
	t.Helper()
	path, err := program.path()
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), path, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", program.name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

var (
	fsck   = tool{"fsck.ext4", "e2fsprogs"}
	sfdisk = tool{"sfdisk", "fdisk"}
	qemuPC = tool{"qemu-system-x86_64", "qemu-system-x86"}
)

// checkExt4 has e2fsck look at the file system at an offset of an image.
func checkExt4(t *testing.T, image string, offset int64) {
	t.Helper()
	name := image
	if offset != 0 {
		// e2fsck has no option for an offset.
		name = filepath.Join(t.TempDir(), "partition")
		cutOut(t, image, offset, name)
	}
	output(t, fsck, "-fn", name)
}

// cutOut copies what image has from offset on.
func cutOut(t *testing.T, image string, offset int64, name string) {
	t.Helper()
	src, err := os.Open(image)
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	info, err := src.Stat()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := src.Seek(offset, 0); err != nil {
		t.Fatal(err)
	}
	dst, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer dst.Close()
	if err := dst.Truncate(rootSize(info.Size())); err != nil {
		t.Fatal(err)
	}
	if err := copySparse(t.Context(), dst, 0, src); err != nil {
		t.Fatal(err)
	}
	if err := dst.Truncate(rootSize(info.Size())); err != nil { // less the second partition table
		t.Fatal(err)
	}
}

// openExt4 opens a file system in f by go-diskfs.
func openExt4(t *testing.T, f *os.File, start, size int64) *ext4.FileSystem {
	t.Helper()
	filesystem, err := ext4.Read(backend.New(f, true), size, start, sector)
	if err != nil {
		t.Fatal(err)
	}
	return filesystem
}

// openRoot opens partition 1 of an image by go-diskfs.
func openRoot(t *testing.T, image string) *ext4.FileSystem {
	t.Helper()
	disk, err := diskfs.Open(image, diskfs.WithOpenMode(diskfs.ReadOnly))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { disk.Close() })
	filesystem, err := disk.GetFilesystem(1)
	if err != nil {
		t.Fatal(err)
	}
	root, ok := filesystem.(*ext4.FileSystem)
	if !ok {
		t.Fatalf("partition 1 of %s is a %T", image, filesystem)
	}
	return root
}

// checkEntries compares a file system with the tree that it was made from.
func checkEntries(t *testing.T, filesystem *ext4.FileSystem, tree []entry) {
	t.Helper()
	for _, want := range tree {
		if want.mode&fs.ModeSymlink != 0 {
			if target, err := filesystem.ReadLink(want.path); err != nil || target != want.target {
				t.Errorf("/%s links to %q, %v; want %q", want.path, target, err, want.target)
			}
			continue
		}
		info, err := filesystem.Stat(want.path)
		if err != nil {
			t.Errorf("/%s: %v", want.path, err)
			continue
		}
		if info.Mode() != want.mode {
			t.Errorf("/%s has mode %v, want %v", want.path, info.Mode(), want.mode)
		}
		if owner, ok := info.Sys().(*ext4.StatT); !ok || owner.UID != 0 || owner.GID != 0 {
			t.Errorf("/%s belongs to %+v, want root", want.path, info.Sys())
		}
		if want.mode.IsDir() {
			continue
		}
		got, err := filesystem.ReadFile(want.path)
		if err != nil || !bytes.Equal(got, want.data) {
			t.Errorf("/%s reads back as %d bytes, %v; want the %d that were written", want.path, len(got), err, len(want.data))
		}
	}
}

// guest is a machine whose console a test talks to.
type guest struct {
	t   *testing.T
	ctx context.Context
	vm  *qemu.VM
}

// start powers a machine on, for a few minutes at most.
func start(t *testing.T, machine qemu.Machine) guest {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	vm, err := machine.Start(ctx)
	if err != nil {
		cancel()
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = vm.Stop() // it may have ended long ago
		cancel()
	})
	return guest{t: t, ctx: ctx, vm: vm}
}

// expect waits for a line of the console and returns the groups of the pattern.
func (g guest) expect(pattern string) []string {
	g.t.Helper()
	match, err := g.vm.Console.Expect(g.ctx, regexp.MustCompile(pattern))
	if err != nil {
		g.t.Fatal(err)
	}
	return match.Groups
}

func (g guest) send(line string) {
	g.t.Helper()
	if err := g.vm.Console.Send(line + "\n"); err != nil {
		g.t.Fatal(err)
	}
}

// end waits until the machine has switched itself off.
func (g guest) end() {
	g.t.Helper()
	if err := g.vm.Wait(); err != nil && !errors.Is(err, qemu.ErrConsoleClosed) {
		g.t.Fatal(err)
	}
}
