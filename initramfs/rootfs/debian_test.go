package rootfs

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/bootlun/bootlun/qemu"
)

// TestDebian makes the image that make boot ROOT=debian uses, unless it is there
// already, looks at it with other programs, and boots it by itself: GRUB,
// Debian's kernel and initramfs, a login.
func TestDebian(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIP: installs Debian and boots it")
	}
	needs(t, mmdebstrap, mke2fs, grubImage, qemuPC)
	config := DebianConfig{SelfBooting: true, RootPassword: "bootlun", Log: testLog(t)}
	image := filepath.Join(buildDir, "root-debian.img")
	inBuildDir(t, func() {
		if Fresh(image, config.Key()) {
			return
		}
		if err := Debian(t.Context(), image, config); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("on disk", func(t *testing.T) { checkDebian(t, image, config.withDefaults()) })
	t.Run("booted", func(t *testing.T) { bootDebian(t, image) })
}

func checkDebian(t *testing.T, image string, config DebianConfig) {
	root := openRoot(t, image)
	if root.Label() != config.Label {
		t.Errorf("label is %q, want %q", root.Label(), config.Label)
	}
	b := debianBuild{DebianConfig: config, id: identify(config.Key())}
	checkEntries(t, root, b.tree())
	for _, link := range []string{"vmlinuz", "initrd.img"} {
		target, err := root.ReadLink(link)
		if err != nil {
			t.Errorf("/%s: %v", link, err)
			continue
		}
		if info, err := root.Stat(target); err != nil || info.Size() < 1<<20 {
			t.Errorf("/%s: %v, %v", target, info, err)
		} else {
			t.Logf("/%s has %.1f MB", target, float64(info.Size())/1e6)
		}
	}
	kernel, initramfs, err := BootFiles(image, t.TempDir())
	if err != nil {
		t.Error(err)
	}
	for _, name := range []string{kernel, initramfs} {
		if info, err := os.Stat(name); err != nil || info.Size() < 1<<20 {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
	for _, dir := range []string{"proc", "sys", "dev", "run", "tmp", "var/lib/apt/lists"} {
		if left, err := root.ReadDir(dir); err != nil || slices.ContainsFunc(left, notDots) {
			t.Errorf("/%s holds %v, %v; want nothing", dir, left, err)
		}
	}
	needs(t, sfdisk, fsck)
	output(t, sfdisk, "--verify", image)
	checkExt4(t, image, rootStart)
}

func notDots(e fs.DirEntry) bool { return e.Name() != "." && e.Name() != ".." }

func bootDebian(t *testing.T, image string) {
	g := start(t, qemu.Machine{
		Disks:    []qemu.Disk{{Path: image, Snapshot: true}},
		NoReboot: true,
		// iscsi_auto has the initramfs wait for a network card.
		ExtraArgs: []string{"-nic", "user,model=virtio-net-pci,restrict=on"},
	})
	g.expect(`Run /init as init process`)
	g.expect(`login: $`)
	g.send("root")
	g.expect(`Password: $`)
	g.send("bootlun")
	g.expect(`root@debian:~# $`)
	g.send("findmnt -n -o SOURCE,FSTYPE,OPTIONS /")
	g.expect(`^/dev/vda1 +ext4 +rw,`)
	g.send("systemctl list-units --failed --no-legend --plain | wc -l | sed s/^/failed=/")
	g.expect(`^failed=0$`)
	g.expect(`# $`)
	g.send("systemctl is-enabled systemd-networkd; poweroff")
	g.expect(`^disabled`)
	g.end()
}

// TestDebianArguments looks at what mmdebstrap is told.
func TestDebianArguments(t *testing.T) {
	const secret = "very-secret"
	config := DebianConfig{RootPassword: secret, Packages: []string{"fio"}, Mirror: "http://mirror.example/debian"}
	b := debianBuild{DebianConfig: config.withDefaults(), id: identify(config.Key())}
	if err := b.workspace(); err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(b.dir)

	args := b.arguments()
	if all := strings.Join(args, " "); strings.Contains(all, secret) {
		t.Errorf("the arguments show the password: %s", all)
	}
	if tail := args[len(args)-3:]; !slices.Equal(tail, []string{"bookworm", "-", "http://mirror.example/debian"}) {
		t.Errorf("the arguments end with %q", tail)
	}
	include := args[slices.IndexFunc(args, func(s string) bool { return strings.HasPrefix(s, "--include=") })]
	for _, p := range []string{"systemd-sysv", "open-iscsi", "fio"} {
		if !strings.Contains(include+",", p+",") {
			t.Errorf("%s is not among %s", p, include)
		}
	}
	if strings.Contains(include, "linux-image") {
		t.Errorf("an image that does not boot by itself has a kernel: %s", include)
	}
	for _, name := range []string{"scripts/customize.sh", "scripts/essential.sh", "files/etc/fstab", "out"} {
		if _, err := os.Stat(filepath.Join(b.dir, name)); err != nil {
			t.Error(err)
		}
	}
}

// TestDebianTree looks at the files that depend on the configuration.
func TestDebianTree(t *testing.T) {
	const (
		getty = "etc/systemd/system/serial-getty@ttyS0.service.d/autologin.conf"
		grub  = "boot/grub/grub.cfg"
		iscsi = "etc/iscsi/iscsi.initramfs"
		conf  = "etc/dracut.conf.d/bootlun.conf"
		few   = "etc/initramfs-tools/modules"
	)
	for name, c := range map[string]struct {
		config     DebianConfig
		has, lacks []string
	}{
		"plain":        {DebianConfig{}, []string{"etc/fstab", "etc/hostname"}, []string{getty, grub, iscsi}},
		"autologin":    {DebianConfig{Autologin: true}, []string{getty}, []string{grub, iscsi}},
		"self-booting": {DebianConfig{SelfBooting: true}, []string{grub, iscsi}, []string{getty, conf}},
		"dracut":       {DebianConfig{SelfBooting: true, Dracut: true}, []string{grub, conf}, []string{getty, iscsi}},
		"Xen host":     {DebianConfig{XenHost: true}, []string{grub, few}, []string{getty, iscsi}},
	} {
		b := debianBuild{DebianConfig: c.config.withDefaults(), id: identify("test")}
		files := make(map[string]string)
		for _, e := range b.tree() {
			files[e.path] = string(e.data)
		}
		for _, path := range c.has {
			if files[path] == "" {
				t.Errorf("%s: /%s is missing", name, path)
			}
		}
		for _, path := range c.lacks {
			if _, ok := files[path]; ok {
				t.Errorf("%s: /%s is there", name, path)
			}
		}
		if root := "UUID=" + b.id.filesystem.String(); !strings.Contains(files["etc/fstab"], root+" / ext4") ||
			b.SelfBooting && !strings.Contains(files[grub], "root="+root) {
			t.Errorf("%s: the root is not named by its UUID", name)
		}
		if xen := strings.Contains(files[grub], "multiboot2"); xen != b.XenHost {
			t.Errorf("%s: GRUB starts Xen: %v", name, xen)
		}
	}
}
