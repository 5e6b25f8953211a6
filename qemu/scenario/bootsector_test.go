package scenario_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/bootlun/bootlun/qemu/scenario"
)

// chosenMenu is a grub.cfg that waits, and whose second entry leaves a mark.
const chosenMenu = `serial --unit=0 --speed=115200
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
`

// The LUN's own boot sector runs in the image; a key is pressed in its GRUB's
// menu, on the serial line, and the kernel that GRUB loads is started.
func TestBootSector(t *testing.T) {
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
	root, err := images.Root(t.Context(), scenario.RootDebian)
	if err != nil {
		t.Fatal(err)
	}
	root.Path = withMenu(t, root.Path)
	running, ctx := start(t, scenario.Lab{Kernel: kernel.Image, Image: image, Root: root, BootSector: true})
	expect(ctx, t, running, "chosen by a key")
	if err := running.VM.Console.Send("\x1b[B\r"); err != nil {
		t.Fatal(err)
	}
	waitUp(ctx, t, running)
	g := logIn(ctx, t, running)
	g.seesRootOnLUN()
	if lines := g.run("cat /proc/cmdline"); !slices.ContainsFunc(lines, func(s string) bool { return strings.Contains(s, "chosen=by-key") }) {
		t.Errorf("the kernel's command line: %q", lines)
	}
	if names := g.run("cat /sys/firmware/ibft/target0/target-name"); !slices.Contains(names, scenario.TargetName) {
		t.Errorf("the machine's table says %q", names)
	}
}

// withMenu copies a Debian image and gives the copy's GRUB another menu.
func withMenu(t *testing.T, image string) string {
	t.Helper()
	dir := t.TempDir()
	changed, config := filepath.Join(dir, "disk.img"), filepath.Join(dir, "grub.cfg")
	do := func(program string, args ...string) []byte {
		out, err := exec.CommandContext(t.Context(), program, args...).CombinedOutput()
		if err != nil {
			t.Fatalf("%s %s: %v\n%s", program, args, err, out)
		}
		return out
	}
	do("cp", "--sparse=always", image, changed)
	volume := changed + "?offset=1048576"
	old := do("debugfs", "-R", "cat /boot/grub/grub.cfg", volume)
	device := regexp.MustCompile(`root=(UUID=\S+)`).FindSubmatch(old)
	if device == nil {
		t.Fatalf("no root in the image's grub.cfg: %s", old)
	}
	if err := os.WriteFile(config, fmt.Appendf(nil, chosenMenu, device[1]), 0o644); err != nil {
		t.Fatal(err)
	}
	do("debugfs", "-w", "-R", "rm /boot/grub/grub.cfg", volume)
	do("debugfs", "-w", "-R", "write "+config+" /boot/grub/grub.cfg", volume)
	return changed
}
