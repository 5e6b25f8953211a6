package rootfs

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/diskfs/go-diskfs"
	"github.com/diskfs/go-diskfs/partition/gpt"

	"github.com/bootlun/bootlun/initramfs"
	"github.com/bootlun/bootlun/qemu"
)

// tinyImage is the tiny root that make boot uses, made if need be.
func tinyImage(t *testing.T) string {
	t.Helper()
	path := filepath.Join(buildDir, "root-tiny.img")
	config := TinyConfig{Log: testLog(t)}
	inBuildDir(t, func() {
		if Fresh(path, config.Key()) {
			return
		}
		if err := Tiny(t.Context(), path, config); err != nil {
			t.Fatal(err)
		}
	})
	return path
}

// copyOf copies an image for a test that changes it.
func copyOf(t *testing.T, image string) string {
	t.Helper()
	content, err := os.ReadFile(image)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), filepath.Base(image))
	if err := os.WriteFile(path, content, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestTiny(t *testing.T) {
	image := copyOf(t, tinyImage(t))

	config := TinyConfig{}.withDefaults()
	root := openRoot(t, image)
	init, err := root.ReadFile("sbin/init")
	if err != nil {
		t.Fatal(err)
	}
	busybox, err := root.ReadFile("bin/busybox")
	if err != nil {
		t.Fatal(err)
	}
	checkEntries(t, root, tinyTree(config, identify(config.Key()), init, busybox))
	if root.Label() != config.Label {
		t.Errorf("label is %q, want %q", root.Label(), config.Label)
	}

	disk, err := diskfs.Open(image, diskfs.WithOpenMode(diskfs.ReadOnly))
	if err != nil {
		t.Fatal(err)
	}
	defer disk.Close()
	if table, ok := disk.Table.(*gpt.Table); !ok || table.RecoveredFromBackup || table.Verify(disk.Backend, uint64(disk.Size)) != nil {
		t.Errorf("the partition table is not as it should be: %+v", disk.Table)
	}

	t.Run("sfdisk", func(t *testing.T) {
		needs(t, sfdisk)
		output(t, sfdisk, "--verify", image)
	})
	t.Run("e2fsck", func(t *testing.T) {
		needs(t, fsck)
		checkExt4(t, image, rootStart)
	})
}

func TestTinyRefuses(t *testing.T) {
	path := filepath.Join(t.TempDir(), "folder", "image")
	err := Tiny(t.Context(), path, TinyConfig{Source: t.TempDir()})
	if err == nil || !strings.Contains(err.Error(), "source tree of bootlun") {
		t.Errorf("outside of the source tree: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Tiny(ctx, path, TinyConfig{}); !errors.Is(err, context.Canceled) {
		t.Errorf("when it is to end: %v", err)
	}
	if err := Tiny(t.Context(), path, TinyConfig{Label: "much too long a label"}); err == nil {
		t.Error("no error for a label that ext4 has no room for")
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("there is an image")
	}
}

// TestTinyBoots hands a machine over to the tiny root, talks to its shell, and
// looks at what is left on the disk after the machine has switched itself off.
func TestTinyBoots(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIP: boots a virtual machine")
	}
	needs(t, qemuPC)
	image := copyOf(t, tinyImage(t))
	kernel, initrd := testKernel(t)

	g := start(t, qemu.Machine{
		Memory: 512, Kernel: kernel.Image, Initrd: initrd, Append: "console=ttyS0 panic=-1 quiet",
		Disks: []qemu.Disk{{Path: image}}, NoReboot: true,
	})
	up := g.expect(`bootlun tiny root: / is (\S+) \((\S+)\), up in [\d.]+ s|FAILED.*`)
	if up[1] != "/dev/vda1" || up[2] != "ext4" {
		t.Fatalf("the banner is %q", up[0])
	}
	g.expect(`\$ `)
	g.send("echo proof-$((40+2)) > /root/proof; cat /root/proof")
	g.expect(`^proof-42`)
	g.send("mount; hostname; ls -l /dev/null; ping -c 1 127.0.0.1")
	g.expect(`/dev/vda1 on / type ext4 \(rw,|/dev/vda1 / ext4 rw,`)
	g.expect(`^bootlun$`)
	g.expect(`64 bytes from 127\.0\.0\.1`)
	g.expect(`\$ `)
	g.send("exit")
	g.expect(`init: the shell has ended; here is another`)
	g.expect(`\$ `)
	g.send("poweroff")
	g.expect(`init: powering off`)
	g.end()

	proof, err := openRoot(t, image).ReadFile("root/proof")
	if err != nil || string(proof) != "proof-42\n" {
		t.Errorf("/root/proof has %q, %v", proof, err)
	}
	needs(t, fsck)
	checkExt4(t, image, rootStart)
}

// testKernel obtains a kernel and an initramfs that switches to the first disk.
func testKernel(t *testing.T) (kernel initramfs.Kernel, initrd string) {
	t.Helper()
	inBuildDir(t, func() {
		var err error
		kernel, err = initramfs.DebianKernel(t.Context(), initramfs.KernelConfig{Dir: filepath.Join(buildDir, "kernel"), Logger: testLog(t)})
		if err != nil {
			t.Skip("SKIP: needs Debian's kernel: ", err)
		}
	})
	initrd = filepath.Join(t.TempDir(), "initrd")
	_, err := initramfs.Build(t.Context(), initramfs.Config{
		Kernel: kernel, Output: initrd, Logger: testLog(t),
		Init: "github.com/bootlun/bootlun/initramfs/rootfs/testdata/switchinit", Commands: []string{},
	})
	if err != nil {
		t.Fatal(err)
	}
	return kernel, initrd
}
