package scenario_test

import (
	"testing"

	"github.com/bootlun/bootlun/qemu/scenario"
)

// The LUN's own kernel, found by the LUN's own grub.cfg, is started by kexec, and its own initramfs (initramfs-tools, open-iscsi) brings
// up its root by the table that was handed on, secrets and all.
func TestBootOwnKernel(t *testing.T) {
	need(t, "qemu-system-x86_64", "apt-get", "mmdebstrap", "mke2fs", "grub-mkimage")
	lab := labFor(t, scenario.RootDebian)
	lab.OwnKernel = true
	lab.CHAPName, lab.CHAPSecret = "machine", "secret-of-machine"
	lab.ReverseCHAPName, lab.ReverseCHAPSecret = "target", "secret-of-target"
	running, ctx := boot(t, lab)
	g := logIn(ctx, t, running)
	g.seesRootOnLUN()
	g.seesTable()
	g.seesFirmware(false)
}
