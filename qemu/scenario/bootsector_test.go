package scenario_test

import (
	"bytes"
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

// serialTerminal has GRUB's menu on the serial line.
const serialTerminal = `serial --unit=0 --speed=115200
terminal_input serial
terminal_output serial`

// xenHostRoot is where the second volume of an installation with GRUB begins.
const xenHostRoot = 162 << 20

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
	lab := scenario.Lab{Kernel: kernel.Image, Image: image, Root: root, BootSector: true}
	if testing.Verbose() {
		lab.Console = t.Output()
	}
	running, ctx := startWithin(t, lab, 3*timeout)
	expect(ctx, t, running, "chosen by a key")
	if err := running.VM.Console.Send("\x1b[B\r"); err != nil {
		t.Fatal(err)
	}
	waitUp(ctx, t, running)
	if got := detail(running, "boot sector"); !regexp.MustCompile(`the kernel of \w+:/vmlinuz$`).MatchString(got) {
		t.Errorf("the boot sector: %q, want the kernel's file on the LUN", got)
	}
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
	need(t, "qemu-system-x86_64", "apt-get", "mmdebstrap", "mke2fs", "debugfs", "grub-mkimage")
	images := images(t)
	images.BootSector = true
	kernel, image, err := images.Netboot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	host := installation{xenHost, "bios", "grub", "ext4"}
	// As update-grub writes it with GRUB_TERMINAL=serial and GRUB_TIMEOUT=60. Otherwise GRUB draws, which is not shown.
	disk := withFile(t, host.image(t), xenHostRoot, grubMenu.file, func(old []byte) []byte {
		serial := bytes.Replace(old, []byte("terminal_output gfxterm"), []byte(serialTerminal), 1)
		return bytes.ReplaceAll(serial, []byte("set timeout=5"), []byte("set timeout=60"))
	})
	lab := scenario.Lab{
		Kernel: kernel.Image, Image: image, BootSector: true, CPU: xen.CPU, Memory: 2048,
		Root: scenario.Root{Path: disk, Up: xenHostUp, Quiet: true},
	}
	if testing.Verbose() {
		lab.Console = t.Output()
	}
	running, ctx := startWithin(t, lab, 3*timeout)
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
	changed := withFile(t, image, m.offset, m.file, func(old []byte) []byte {
		device := regexp.MustCompile(`root=(UUID=\S+)`).FindSubmatch(old)
		if device == nil {
			t.Fatalf("no root in the image's %s: %s", m.file, old)
		}
		return fmt.Appendf(nil, m.config, device[1])
	})
	for _, name := range m.modules {
		output(t, "debugfs", "-w", "-R", "write "+filepath.Join(syslinuxModules, name)+" "+filepath.Join(filepath.Dir(m.file), name),
			fmt.Sprintf("%s?offset=%d", changed, m.offset))
	}
	return changed
}

// withFile copies a disk and changes a file on the copy's ext4 at offset.
func withFile(t *testing.T, image string, offset int64, file string, change func(old []byte) []byte) string {
	t.Helper()
	changed := filepath.Join(t.TempDir(), "disk.img")
	output(t, "cp", "--sparse=always", image, changed)
	volume := fmt.Sprintf("%s?offset=%d", changed, offset)
	content := writeFile(t, "changed", change(output(t, "debugfs", "-R", "cat "+file, volume)))
	output(t, "debugfs", "-w", "-R", "rm "+file, volume)
	output(t, "debugfs", "-w", "-R", "write "+content+" "+file, volume)
	return changed
}

// output is what a program prints; debugfs begins its errors with its version.
func output(t *testing.T, program string, args ...string) []byte {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", program, args, err, &stderr)
	}
	return out
}
