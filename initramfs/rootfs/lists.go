package rootfs

import "slices"

// recipeVersion goes up when the code changes what is on an image in a way that
// the settings and the lists below do not show.
const recipeVersion = 1

// tinyCommands are u-root's commands on the tiny root.
var tinyCommands = [...]string{
	"cat", "chmod", "cp", "date", "df", "dmesg", "du", "echo", "find", "free",
	"gosh", "grep", "head", "hexdump", "hostname", "id", "insmod", "ip", "kill",
	"ln", "ls", "lsmod", "mkdir", "mknod", "mktemp", "more", "mount", "mv",
	"netstat", "pidof", "ping", "printenv", "ps", "pwd", "rm", "rmmod", "seq",
	"shasum", "sleep", "sort", "stty", "sync", "tail", "tar", "tee", "time",
	"touch", "tr", "umount", "uname", "uniq", "uptime", "wc", "which",
}

// TinyCommands returns the import paths of the commands on board a tiny root.
func TinyCommands() []string {
	paths := make([]string, len(tinyCommands))
	for i, name := range tinyCommands {
		paths[i] = "github.com/u-root/u-root/cmds/core/" + name
	}
	return paths
}

var (
	// debianBase is what a Debian root has besides apt and what is Essential.
	debianBase = [...]string{
		"systemd-sysv", "udev", "dbus", "kmod", // the system itself
		"mount", "login", "passwd", "e2fsprogs", "procps", // what a person at the console expects
		"iproute2", "iputils-ping", "less",
		"open-iscsi", // takes over the session that the initramfs opened
	}

	// debianKernel is the usual kernel, debianBoot what it takes besides to boot by itself.
	debianKernel = "linux-image-cloud-amd64"
	debianBoot   = [...]string{
		"busybox", "zstd", // recommended by initramfs-tools and open-iscsi; any normal installation has them
	}
	// With one of these two that makes its initramfs.
	debianInitramfsTools = [...]string{"initramfs-tools"}
	debianDracut         = [...]string{
		"dracut", "dracut-network",
		"gawk", // with mawk, Debian's usual awk, dracut passes over every NIC of an iBFT
	}

	// debianXen is what it takes besides to be a Xen host with HVM guests.
	debianXen = [...]string{
		"linux-image-amd64", "initramfs-tools", // the cloud kernel cannot be dom0's
		"busybox", "zstd",
		"xen-system-amd64", "xenstore-utils", "qemu-system-xen", "bridge-utils",
	}

	// debianWithout are the paths that packages do not get to install. The
	// copyright files stay: their licences ask for that.
	debianWithout = [...]string{
		"path-exclude=/usr/share/man/*",
		"path-exclude=/usr/share/info/*",
		"path-exclude=/usr/share/locale/*",
		"path-exclude=/usr/share/doc/*",
		"path-include=/usr/share/doc/*/copyright",
	}

	// grubModules is what the embedded GRUB needs to read the root file system
	// and to start a Linux kernel with a serial console.
	grubModules = [...]string{
		"biosdisk", "part_gpt", "ext2", "normal", "configfile", "linux", "serial", "terminal", "echo", "test", "ls", "cat", "reboot", "halt",
	}

	// grubXenModules is what it needs besides to find Xen and start it.
	grubXenModules = [...]string{"multiboot2", "gzio", "regexp"}
)

func (b *debianBuild) packages() []string {
	packages := slices.Clone(debianBase[:])
	switch {
	case b.XenHost:
		packages = append(packages, debianXen[:]...)
	case b.SelfBooting, b.Source:
		packages = append(append(packages, orDefault(b.Kernel, debianKernel)), debianBoot[:]...)
		if b.Dracut {
			packages = append(packages, debianDracut[:]...)
		} else {
			packages = append(packages, debianInitramfsTools[:]...)
		}
	}
	return append(packages, b.Packages...)
}

func (b *debianBuild) grubModules() []string {
	if b.XenHost {
		return append(grubModules[:], grubXenModules[:]...)
	}
	return grubModules[:]
}
