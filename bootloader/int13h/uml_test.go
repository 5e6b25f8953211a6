package int13h_test

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// umlInit is the init of a Linux that runs as a process (user-mode-linux), with
// the folders of this machine to read and its own devices.
const umlInit = `#!/bin/sh
PATH=/usr/sbin:/usr/bin:/sbin:/bin
echo STARTED
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t tmpfs none /run
mount -t tmpfs none /mnt
(
set -e
%s
) && echo DONE
exec halt -f
`

// inLinux does what needs a mounted file system or a device: the script finds the
// disk as /dev/ubda.
func (w workshop) inLinux(disk, script string) {
	w.Helper()
	init := w.write("init", fmt.Appendf(nil, umlInit, script))
	if err := os.Chmod(init, 0o755); err != nil {
		w.Fatal(err)
	}
	cmd := exec.CommandContext(w.Context(), "linux.uml", "mem=256M", "ubda="+disk, "root=/dev/root", "rootfstype=hostfs", "rootflags=/", "ro",
		"uml_dir="+w.dir, "con=null", "con0=null,fd:1", "init="+init)
	cmd.Env = append(os.Environ(), "TMPDIR="+w.dir, "HOME="+w.dir)
	switch out, err := cmd.CombinedOutput(); {
	case strings.Contains(string(out), "DONE"):
	case !strings.Contains(string(out), "STARTED"):
		w.Skipf("SKIP: user-mode-linux does not start here: %v\n%s", err, out) // as where processes may not be traced
	default:
		w.Fatalf("user-mode-linux: %v\n%s", err, out)
	}
}
