package scenario_test

import (
	"testing"

	"github.com/bootlun/bootlun/qemu/scenario"
)

// The LUN's own kernel, found by the LUN's own grub.cfg, is started by kexec, and its own initramfs brings up its root by the
// table that was handed on.
func TestBootOwnKernel(t *testing.T) {
	need(t, "qemu-system-x86_64", "apt-get", "mmdebstrap", "mke2fs", "grub-mkimage")
	tests := []struct {
		name, root string
		set        func(*scenario.Lab)
	}{
		{"initramfs-tools", scenario.RootDebian, func(*scenario.Lab) {}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			lab := labFor(t, tt.root)
			lab.OwnKernel = true
			lab.CHAPName, lab.CHAPSecret = "machine", "secret-of-machine"
			tt.set(&lab)
			running, ctx := boot(t, lab)
			g := logIn(ctx, t, running)
			g.seesRootOnLUN()
			g.seesTable()
		})
	}
}
