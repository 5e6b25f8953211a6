package rootfs

import (
	"fmt"
	"io/fs"
	"path"
	"strings"
	"time"
)

// madeAt is the time stamp of every file that comes from no package, so that an
// image made twice is the same twice.
var madeAt = time.Date(2026, time.January, 1, 0, 0, 0, 0, time.UTC)

// entry is a file, folder or symbolic link of a root file system.
type entry struct {
	path   string      // from the root, without a slash in front
	mode   fs.FileMode // type and permissions
	data   []byte      // of a file
	target string      // of a symbolic link
}

func folder(path string, mode fs.FileMode) entry {
	return entry{path: path, mode: fs.ModeDir | mode}
}

func file(path string, mode fs.FileMode, data []byte) entry {
	return entry{path: path, mode: mode, data: data}
}

func text(path, content string) entry { return file(path, 0o644, []byte(content)) }

func link(path, target string) entry {
	return entry{path: path, mode: fs.ModeSymlink | 0o777, target: target}
}

// tinyTree is the tiny root, file by file. busybox answers to the names of
// commands (import paths).
func tinyTree(c TinyConfig, id identity, init, busybox []byte) []entry {
	tree := []entry{
		folder("bin", 0o755), folder("dev", 0o755), folder("etc", 0o755), folder("home", 0o755),
		folder("mnt", 0o755), folder("proc", 0o555), folder("root", 0o700), folder("run", 0o755),
		folder("sbin", 0o755), folder("sys", 0o555), folder("tmp", 0o777|fs.ModeSticky),
		folder("usr", 0o755), folder("var", 0o755), folder("var/log", 0o755),
		link("init", "sbin/init"), link("usr/bin", "../bin"), link("usr/sbin", "../sbin"),
		link("var/run", "../run"), link("var/tmp", "../tmp"),
		text("etc/fstab", fmt.Sprintf("UUID=%s / ext4 rw,noatime 0 1\n", id.filesystem)),
		text("etc/hostname", c.Hostname+"\n"),
		text("etc/hosts", hosts(c.Hostname)),
		text("etc/os-release", tinyRelease),
		text("etc/passwd", "root:x:0:0:root:/root:/bin/sh\n"),
		text("etc/group", "root:x:0:\n"),
		file("sbin/init", 0o755, init),
		link("bin/poweroff", "../sbin/init"), link("bin/reboot", "../sbin/init"), link("bin/halt", "../sbin/init"),
		file("bin/busybox", 0o755, busybox),
		link("bin/sh", "gosh"),
	}
	for _, command := range c.Commands {
		tree = append(tree, link("bin/"+path.Base(command), "busybox"))
	}
	return tree
}

const tinyRelease = `NAME="bootlun tiny root"
ID=bootlun-tiny
PRETTY_NAME="bootlun tiny root"
HOME_URL="https://github.com/bootlun/bootlun"
`

func hosts(hostname string) string {
	names := []string{"localhost", hostname}
	if hostname == "localhost" {
		names = names[:1]
	}
	return fmt.Sprintf("127.0.0.1 %s\n::1 localhost\n", strings.Join(names, " "))
}
