package scenario_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"testing"

	"github.com/bootlun/bootlun/qemu/scenario"
	"github.com/bootlun/bootlun/qemu/xen"
)

// bootSectorMenu is a boot loader's menu that waits for a key, and whose second
// entry leaves a mark.
type bootSectorMenu struct {
	file    string // its configuration
	config  string // with the root's device to be filled in
	offset  int64  // of its volume on the disk
	modules []string
}

var grubMenu = bootSectorMenu{file: "/boot/grub/grub.cfg", offset: 1 << 20, config: `serial --unit=0 --speed=115200
terminal_input serial console
terminal_output serial console
set timeout=60
menuentry "Debian, not to be chosen" {
	linux /vmlinuz root=/dev/none
	initrd /initrd.img
}
menuentry "Debian, chosen by a key" {
	linux /vmlinuz root=%s ro console=ttyS0,115200 chosen=by-key
	initrd /initrd.img
}
`}

var extlinuxMenu = bootSectorMenu{
	file: "/boot/extlinux/extlinux.conf", offset: 2 << 20, config: `serial 0 115200
ui menu.c32
timeout 600
label other
	menu label Debian, not to be chosen
	linux /vmlinuz
	initrd /initrd.img
	append root=/dev/none
label chosen
	menu label Debian, chosen by a key
	linux /vmlinuz
	initrd /initrd.img
	append root=%s ro console=ttyS0,115200 chosen=by-key
`,
	modules: []string{"menu.c32", "libutil.c32", "libcom32.c32"},
}

// syslinuxModules is where Debian has the parts of syslinux's menu.
const syslinuxModules = "/usr/lib/syslinux/modules/bios"

// The LUN's own boot sector runs in the image; a key is pressed in its boot
// loader's menu, on the serial line, and the kernel that this loads is started.
func TestBootSector(t *testing.T) {
	if os.Getenv("BOOTLUN_TEST_INT13H") == "" {
		t.Skip("SKIP: a processor in Go on one in QEMU takes minutes: make test-int13h")
	}
	need(t, "qemu-system-x86_64", "apt-get", "mmdebstrap", "mke2fs", "debugfs", "grub-mkimage")
	t.Run("GRUB", func(t *testing.T) {
		root, err := images(t).Root(t.Context(), scenario.RootDebian)
		if err != nil {
			t.Fatal(err)
		}
		root.Path = grubMenu.on(t, root.Path)
		bootsByKey(t, root)
	})
	t.Run("extlinux", func(t *testing.T) {
		if _, err := os.Stat(syslinuxModules); err != nil {
			t.Skip("SKIP: needs syslinux's modules (apt install syslinux-common)")
		}
		image := installation{debian12, "bios", "extlinux", "ext4"}.image(t)
		bootsByKey(t, scenario.Root{Path: extlinuxMenu.on(t, image), Up: installedUp, Quiet: true})
	})
}

// bootsByKey boots a root whose menu waits, chooses the second entry and logs in.
func bootsByKey(t *testing.T, root scenario.Root) {
	t.Helper()
	images := images(t)
	images.BootSector = true
	kernel, image, err := images.Netboot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	running, ctx := startWithin(t, scenario.Lab{Kernel: kernel.Image, Image: image, Root: root, BootSector: true}, 3*timeout)
	expect(ctx, t, running, "chosen by a key")
	if err := running.VM.Console.Send("\x1b[B\r"); err != nil {
		t.Fatal(err)
	}
	waitUp(ctx, t, running)
	g := logIn(ctx, t, running)
	g.run("dmesg -n 1") // nothing of the kernel's comes between
	g.seesTable()
	said := g.run("findmnt -no SOURCE,FSTYPE /; cat /sys/class/iscsi_session/session*/targetname /proc/cmdline")
	for _, want := range []string{`^/dev/sda\d +ext4`, "^" + regexp.QuoteMeta(scenario.TargetName), "chosen=by-key"} {
		expectLine(t, said, want)
	}
}

// The boot sector of a Xen host runs in the image, and Xen is started with what
// its GRUB has loaded.
func TestBootSectorXen(t *testing.T) {
	if os.Getenv("BOOTLUN_TEST_INT13H") == "" {
		t.Skip("SKIP: a processor in Go on one in QEMU takes minutes: make test-int13h")
	}
	need(t, "qemu-system-x86_64", "apt-get", "mmdebstrap", "mke2fs", "grub-mkimage")
	images := images(t)
	images.BootSector = true
	kernel, image, err := images.Netboot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	host := installation{xenHost, "bios", "grub", "ext4"}
	running, ctx := startWithin(t, scenario.Lab{
		Kernel: kernel.Image, Image: image, BootSector: true, CPU: xen.CPU, Memory: 2048,
		Root: scenario.Root{Path: host.image(t), Up: xenHostUp, Quiet: true},
	}, 3*timeout)
	expect(ctx, t, running, "with Xen hypervisor")
	// grub-reboot has chosen the first entry, and Xen's is the third.
	if err := running.VM.Console.Send("\x1b[B\x1b[B\r"); err != nil {
		t.Fatal(err)
	}
	waitUp(ctx, t, running)
	g := logIn(ctx, t, running)
	g.run("dmesg -n 1") // nothing of the kernel's comes between
	g.seesTable()
	said := g.run("findmnt -no SOURCE,FSTYPE / | tr -s ' '; cat /sys/hypervisor/type")
	for _, want := range []string{host.root(), "xen"} {
		if !slices.Contains(said, want) {
			t.Errorf("the machine says %q, want %q among it", said, want)
		}
	}
}

// on copies a disk with Debian and gives the copy this menu.
func (m bootSectorMenu) on(t *testing.T, image string) string {
	t.Helper()
	dir := t.TempDir()
	changed, config := filepath.Join(dir, "disk.img"), filepath.Join(dir, "menu")
	do := func(program string, args ...string) []byte {
		out, err := exec.CommandContext(t.Context(), program, args...).CombinedOutput()
		if err != nil {
			t.Fatalf("%s %s: %v\n%s", program, args, err, out)
		}
		return out
	}
	do("cp", "--sparse=always", image, changed)
	volume := fmt.Sprintf("%s?offset=%d", changed, m.offset)
	old := do("debugfs", "-R", "cat "+m.file, volume)
	device := regexp.MustCompile(`root=(UUID=\S+)`).FindSubmatch(old)
	if device == nil {
		t.Fatalf("no root in the image's %s: %s", m.file, old)
	}
	if err := os.WriteFile(config, fmt.Appendf(nil, m.config, device[1]), 0o644); err != nil {
		t.Fatal(err)
	}
	do("debugfs", "-w", "-R", "rm "+m.file, volume)
	do("debugfs", "-w", "-R", "write "+config+" "+m.file, volume)
	for _, name := range m.modules {
		do("debugfs", "-w", "-R", "write "+filepath.Join(syslinuxModules, name)+" "+filepath.Join(filepath.Dir(m.file), name), volume)
	}
	return changed
}
