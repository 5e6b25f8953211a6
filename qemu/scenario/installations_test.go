package scenario_test

import (
	"cmp"
	"context"
	_ "embed"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bootlun/bootlun/initramfs/rootfs"
	"github.com/bootlun/bootlun/internal/golden"
	"github.com/bootlun/bootlun/qemu"
	"github.com/bootlun/bootlun/qemu/scenario"
	"github.com/bootlun/bootlun/qemu/xen"
)

//go:embed testdata/install.sh
var installScript string

// system is what is installed: a Debian with the tools of its boot loaders and
// file systems.
type system struct {
	name      string
	dracut    bool
	backports bool
	xen       bool
}

// The systems of the matrix.
var (
	debian12    = system{name: "debian"}
	withDracut  = system{name: "dracut", dracut: true}
	backports12 = system{name: "backports", backports: true}
	xenHost     = system{name: "xen", xen: true}
)

const backportsSources = `deb http://deb.debian.org/debian bookworm main
deb http://deb.debian.org/debian-security bookworm-security main
deb http://deb.debian.org/debian bookworm-backports main`

// xenSerial is what somebody types who has a serial console and a Xen host.
const xenSerial = `GRUB_CMDLINE_XEN="com1=115200,8n1 console=com1 dom0_mem=1024M,max:1024M"
GRUB_CMDLINE_LINUX_XEN_REPLACE="console=hvc0"
`

func (s system) config() rootfs.DebianConfig {
	config := rootfs.DebianConfig{
		Label: "source", Source: true, Dracut: s.dracut,
		Packages: []string{
			"fdisk", "dosfstools", "xfsprogs", "btrfs-progs", "lvm2",
			"grub2-common", "grub-pc-bin", "grub-efi-amd64-bin", "extlinux", "u-boot-menu", "systemd-boot", "binutils",
		},
	}
	if s.backports {
		config.Mirror = backportsSources
		config.Packages = append(config.Packages, "linux-image-cloud-amd64/bookworm-backports")
	}
	if s.xen {
		config.Kernel = "linux-image-amd64"
		config.Packages = append(config.Packages, "xen-system-amd64")
		config.Files = map[string]string{"etc/default/grub.d/xen-serial.cfg": xenSerial}
	}
	return config
}

// image makes the system, as an image that an installer copies.
func (s system) image(t *testing.T) string {
	t.Helper()
	return debianImage(t, "source-"+s.name+".img", s.config())
}

// installation is a system on a disk, as the distribution's own tools put it
// there in a machine of their own: testdata/install.sh.
type installation struct {
	system   system
	firmware string // bios, efi: of the machine that boots it
	loader   string // grub, extlinux, sdboot, uki
	layout   string // ext4, xfs, xfsboot, btrfs, lvm
}

func (i installation) name() string {
	return strings.Join([]string{i.system.name, i.firmware, i.loader, i.layout}, "-")
}

// image makes the disk, once.
func (i installation) image(t *testing.T) string {
	t.Helper()
	path := filepath.Join(images(t).Dir, "installed-"+strings.Join([]string{i.system.name, i.loader, i.layout}, "-")+".img")
	settings := fmt.Sprintf("loader=%s\nlayout=%s\npassword=%s\n", i.loader, i.layout, scenario.RootPassword)
	config := i.system.config()
	recipe := config.Key() + "\n" + settings + installScript
	if noted, err := os.ReadFile(path + ".recipe"); err == nil && string(noted) == recipe {
		return path
	}
	source, tools := i.system.image(t), debian12.image(t)
	dir := t.TempDir()
	kernel, initrd, err := rootfs.BootFiles(tools, dir)
	if err != nil {
		t.Fatal(err)
	}
	script := writeFile(t, "install.sh", []byte(settings+installScript+strings.Repeat("\n", 512)))
	disk := path + ".tmp"
	if err := cmp.Or(os.WriteFile(disk, nil, 0o644), os.Truncate(disk, 3<<30)); err != nil {
		t.Fatal(err)
	}
	defer os.Remove(disk)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 40*time.Minute)
	defer cancel()
	vm, err := qemu.Machine{
		Name: "installer", Memory: 1024, CPUs: 2, NoReboot: true, Kernel: kernel, Initrd: initrd,
		Append: "console=ttyS0,115200 quiet root=/dev/vda1 rw panic=-1 init=/bin/sh -- /dev/vdb",
		Disks: []qemu.Disk{
			{Path: tools, Snapshot: true}, {Path: script, ReadOnly: true}, {Path: source, ReadOnly: true}, {Path: disk},
		},
	}.Start(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer vm.Stop()
	if testing.Verbose() {
		vm.Console.Tee(t.Output())
	}
	m, err := vm.Console.Expect(ctx, regexp.MustCompile("^install: (done|FAILED)|^BusyBox"))
	if err != nil {
		t.Fatal(err)
	}
	if m.Groups[1] != "done" {
		t.Fatalf("the installation has failed:\n%s", lastLines(vm.Console))
	}
	if err := vm.Wait(); err != nil {
		t.Fatal(err)
	}
	if err := cmp.Or(os.Rename(disk, path), os.WriteFile(path+".recipe", []byte(recipe), 0o644)); err != nil {
		t.Fatal(err)
	}
	return path
}

func lastLines(c *qemu.Console) string {
	var text strings.Builder
	lines := c.Lines()
	for _, l := range lines[max(0, len(lines)-30):] {
		fmt.Fprintln(&text, l.Text)
	}
	return text.String()
}

// installations are the cells of the table in docs/own-kernel.md.
var installations = []installation{
	{debian12, "bios", "grub", "ext4"},
	{debian12, "efi", "grub", "ext4"},
	{withDracut, "bios", "grub", "ext4"},
	{withDracut, "efi", "grub", "ext4"},
	{debian12, "bios", "grub", "lvm"},
	{debian12, "efi", "grub", "lvm"},
	{debian12, "bios", "grub", "btrfs"},
	{debian12, "efi", "grub", "btrfs"},
	{debian12, "bios", "grub", "xfs"},
	{debian12, "bios", "grub", "xfsboot"},
	{debian12, "efi", "grub", "xfsboot"},
	{debian12, "bios", "extlinux", "ext4"},
	{debian12, "efi", "sdboot", "ext4"},
	{withDracut, "efi", "uki", "ext4"},
	{backports12, "bios", "grub", "ext4"},
	{backports12, "efi", "grub", "ext4"},
	{xenHost, "bios", "grub", "ext4"},
	{xenHost, "efi", "grub", "ext4"},
}

// The firmware of a UEFI machine, and where it finds iPXE.
const (
	uefiFirmware = "/usr/share/ovmf/OVMF.fd"
	ipxeLoaders  = "/usr/lib/ipxe"
)

// withoutCX16 is a processor for Linux 6.12 on QEMU 7.2 without virtualisation: what emulates CMPXCHG16B there leaves odd flags behind,
// and an interrupt after it stops the kernel, also one that QEMU itself has started.
const withoutCX16 = "max,-cx16"

// installedUp is agetty's line before it asks for a name.
var installedUp = regexp.MustCompile(`^[^\[]* ttyS0\s*$`)

// A Xen host's first domain has its console at the hypervisor's, which owns the
// serial line.
var xenHostUp = regexp.MustCompile(`^[^\[]* hvc0\s*$`)

// Installations that the distribution's own tools have made boot by their own
// kernels. With -update, what was seen goes into the documentation.
func TestInstallations(t *testing.T) {
	if os.Getenv(installationsEnable) == "" {
		t.Skip("SKIP: takes an hour: make test-installations")
	}
	need(t, "qemu-system-x86_64", "apt-get", "mmdebstrap", "mke2fs", "grub-mkimage")
	for _, file := range []string{uefiFirmware, filepath.Join(ipxeLoaders, "snponly.efi")} {
		if _, err := os.Stat(file); err != nil {
			t.Skipf("SKIP: needs %s: make deps installs it", file)
		}
	}
	for _, i := range installations {
		t.Run(i.name(), func(t *testing.T) {
			row := i.boot(t)
			t.Log(row)
			if *golden.Update && !t.Failed() {
				writeRow(t, row)
			}
		})
	}
}

// boot boots the installation and gives its row of the table.
func (i installation) boot(t *testing.T) string {
	t.Helper()
	kernel, image, err := images(t).Netboot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	lab := scenario.Lab{
		Kernel: kernel.Image, Image: image, OwnKernel: true, CHAPName: "machine", CHAPSecret: "secret-of-machine",
		Root: scenario.Root{Path: i.image(t), Up: installedUp, Quiet: true},
	}
	if i.system.xen {
		lab.CPU, lab.Memory, lab.Root.Up = xen.CPU, 2048, xenHostUp
		lab.Entry = "Debian GNU/Linux, with Xen hypervisor" // the default, but for grub-reboot
	}
	if i.firmware == "efi" {
		lab.Firmware, lab.LoaderDir = uefiFirmware, ipxeLoaders
	}
	if i.system.backports {
		lab.CPU = withoutCX16
	}
	running, ctx := startWithin(t, lab, 3*timeout)
	waitUp(ctx, t, running)
	g := logIn(ctx, t, running)
	g.run("dmesg -n 1") // nothing of the kernel's comes between
	g.seesTable()
	g.seesFirmware(i.firmware == "efi" && !i.system.xen) // Xen is started as without it
	said := g.run("cat /sys/class/iscsi_session/session*/targetname; findmnt -no SOURCE,FSTYPE / | tr -s ' '; cat /sys/hypervisor/type 2>/dev/null; uname -r")
	for _, want := range i.wants() {
		if !slices.Contains(said, want) {
			t.Errorf("the machine says %q, want %q among it", said, want)
		}
	}
	if i.loader == "grub" && lab.Entry == "" {
		i.sawNextEntry(g)
	}
	initramfs := "initramfs-tools"
	if i.system.dracut {
		initramfs = "dracut"
	}
	name := "Debian 12"
	if i.system.backports {
		name = "Debian 12 with backports"
	}
	if i.system.xen {
		name = "Debian 12 on Xen, as dom0"
	}
	return fmt.Sprintf("| %s, kernel %s | %s | %s | %s | %s | boots |",
		name, said[len(said)-1], inWords[i.loader], initramfs, inWords[i.layout], inWords[i.firmware])
}

// sawNextEntry looks whether the next entry that grub-reboot has chosen counts no more, but on btrfs, where GRUB could not write either.
func (i installation) sawNextEntry(g *guest) {
	g.t.Helper()
	want, console := "next_entry=", `grubenv: next_entry=""`
	if i.layout == "btrfs" {
		want, console = "next_entry=0", "for the next boot is not written.*btrfs has checksums of its data"
	}
	if said := g.run("grub-editenv list"); !slices.Contains(said, want) {
		g.t.Errorf("GRUB's environment is %q, want %s in it", said, want)
	}
	seen := func(l qemu.Line) bool { return regexp.MustCompile(console).MatchString(l.Text) }
	if !slices.ContainsFunc(g.console.Lines(), seen) {
		g.t.Errorf("no line of the console matches %q", console)
	}
}

// wants are lines that the installed system says of itself.
func (i installation) wants() []string {
	want := []string{scenario.TargetName, i.root()}
	if i.system.xen {
		want = append(want, "xen")
	}
	return want
}

// root is the root's device and file system, as findmnt has them.
func (i installation) root() string {
	switch i.layout {
	case "lvm":
		return "/dev/mapper/debian--vg-root ext4"
	case "btrfs":
		return "/dev/sda2[/@rootfs] btrfs"
	case "xfs":
		return "/dev/sda3 xfs"
	case "xfsboot":
		return "/dev/sda2 xfs"
	}
	return "/dev/sda2 ext4"
}

// inWords is how the table has it.
var inWords = map[string]string{
	"bios": "BIOS", "efi": "UEFI",
	"grub":     "GRUB (`grub-install`, `update-grub`)",
	"extlinux": "extlinux (`extlinux --install`, `u-boot-update`)",
	"sdboot":   "systemd-boot, Type 1 (`bootctl`, `kernel-install`)",
	"uki":      "systemd-boot, Type 2 (`dracut --uefi`)",
	"ext4":     "ext4", "xfs": "XFS, `/boot` ext4", "xfsboot": "XFS, `/boot` too", "btrfs": "btrfs, subvolume `@rootfs`", "lvm": "ext4 on LVM, `/boot` too",
}

// writeRow puts a row into the documentation's table, in place of the one of the same installation.
func writeRow(t *testing.T, row string) {
	t.Helper()
	const file, end = "../../docs/own-kernel.md", "<!-- end of installations -->\n"
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, after, ok := strings.Cut(string(text), end)
	if !ok {
		t.Fatalf("%s has no line %q", file, end)
	}
	// What may have changed since is the kernel's release.
	release := regexp.MustCompile(`kernel \S+`)
	var lines []string
	for line := range strings.Lines(before) {
		if release.ReplaceAllString(line, "") != release.ReplaceAllString(row+"\n", "") {
			lines = append(lines, line)
		}
	}
	if err := os.WriteFile(file, []byte(strings.Join(lines, "")+row+"\n"+end+after), 0o644); err != nil {
		t.Fatal(err)
	}
}
