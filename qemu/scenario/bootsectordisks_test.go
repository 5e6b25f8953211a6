package scenario_test

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/bootlun/bootlun/bootloader/int13h"
	"github.com/bootlun/bootlun/initramfs/rootfs"
	"github.com/bootlun/bootlun/internal/testkernel"
)

// bootSectorDisks are installations with a boot sector.
var bootSectorDisks = []installation{
	{debian12, "bios", "grub", "ext4"},
	{debian12, "bios", "grub", "xfs"},
	{debian12, "bios", "grub", "xfsboot"},
	{debian12, "bios", "grub", "btrfs"},
	{debian12, "bios", "grub", "lvm"},
	{debian12, "bios", "extlinux", "ext4"},
	{backports12, "bios", "grub", "ext4"},
	{backports12, "bios", "grub", "xfs"},
	{backports12, "bios", "grub", "xfsboot"},
	{backports12, "bios", "grub", "btrfs"},
	{backports12, "bios", "grub", "lvm"},
	{backports12, "bios", "extlinux", "ext4"},
}

// The boot sectors of disks that grub-install and extlinux have made, in a
// machine of their own, run on this one: what they start is what is on the disk.
func TestBootSectorDisks(t *testing.T) {
	if os.Getenv("BOOTLUN_TEST_INT13H") == "" {
		t.Skip("SKIP: installs a dozen systems: make test-int13h")
	}
	need(t, "qemu-system-x86_64", "apt-get", "mmdebstrap", "mke2fs", "debugfs")
	for _, i := range bootSectorDisks {
		t.Run(i.name(), func(t *testing.T) {
			disk := openDiskFile(t, i.image(t))
			var screen bytes.Buffer
			h, err := int13h.Boot(t.Context(), int13h.Config{Disk: disk, ReadOnly: true, Screen: &screen})
			if err != nil {
				t.Fatalf("%v\nscreen: %q", err, screen.String())
			}
			t.Logf("%s: %d million steps; %s", h.Why, h.Steps/1e6, h.Cmdline)
			kernel, initrd, err := rootfs.BootFiles(i.system.image(t), t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			if err := testkernel.Compare(h.Kernel, readFile(t, kernel)); err != nil {
				t.Error(err)
			}
			if !bytes.Equal(h.Initrd, readFile(t, initrd)) {
				t.Errorf("an initramfs of %d bytes that is not the disk's", len(h.Initrd))
			}
			if want := i.commandLine(t, disk); h.Cmdline != want {
				t.Errorf("command line %q, want %q", h.Cmdline, want)
			}
		})
	}
}

// commandLine is the kernel's, as the boot loader's configuration on the disk has it.
func (i installation) commandLine(t *testing.T, disk diskFile) string {
	t.Helper()
	if i.loader == "extlinux" {
		volume := fmt.Sprintf("%s?offset=%d", disk.path, extlinuxMenu.offset)
		config, err := exec.CommandContext(t.Context(), "debugfs", "-R", "cat "+extlinuxMenu.file, volume).Output()
		if err != nil {
			t.Fatal(err)
		}
		m := regexp.MustCompile(`\n\tlinux (\S+)\n\tinitrd (\S+)\n\s*append (.*)\n`).FindSubmatch(config)
		if m == nil {
			t.Fatalf("%s: %s", extlinuxMenu.file, config)
		}
		return fmt.Sprintf("BOOT_IMAGE=%s %s initrd=%s", m[1], m[3], m[2])
	}
	// The text of grub.cfg is somewhere on the disk, whatever the file system.
	pattern := regexp.MustCompile(`\n\tlinux\t(/\S*vmlinuz-.*)\n`)
	var found []string
	window := make([]byte, 4<<20)
	for at := int64(0); at < disk.Size(); at += int64(len(window)) / 2 {
		n, err := disk.ReadAt(window, at)
		if err != nil && err != io.EOF {
			t.Fatal(err)
		}
		for _, m := range pattern.FindAllSubmatch(window[:n], -1) {
			line := "BOOT_IMAGE=" + strings.Join(strings.Fields(string(m[1])), " ")
			if !strings.Contains(line, " single") && !slices.Contains(found, line) {
				found = append(found, line)
			}
		}
	}
	if len(found) != 1 {
		t.Fatalf("the disk has %d command lines: %q", len(found), found)
	}
	return found[0]
}

// diskFile is a disk image for int 13h.
type diskFile struct {
	*io.SectionReader
	path string
}

func (diskFile) BlockSize() int { return 512 }

func openDiskFile(t *testing.T, path string) diskFile {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	return diskFile{io.NewSectionReader(f, 0, info.Size()), path}
}

func readFile(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
