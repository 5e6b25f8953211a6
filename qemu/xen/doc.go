// Package xen runs a Xen host in an emulated PC, and one HVM guest on it: the way to see what Xen's firmware and
// toolstack make of a guest's settings, on a machine that has no Xen and no hardware virtualisation. QEMU emulates the
// processor's own virtualisation (AMD SVM), and Xen uses that.
//
//	host := xen.Host{Image: image, LAN: l.Socket()}
//	vm, err := host.Start(ctx, xen.Guest{Disk: disk, MAC: mac})
//	_, err = vm.Console.Expect(ctx, regexp.MustCompile(`login: $`)) // The guest's.
//	err = vm.Stop()
//
// The console is the guest's once that has been created; before, it is the boot loader's, Xen's and dom0's. A host that
// cannot create its guest says so in a line that begins with "dom0: failed:" and powers itself off, as it does when the
// guest has ended: who waits for text on the console need not wait for long.
//
// Limits: one guest a host, with one network card and one disk; no hardware virtualisation is used where there is some.
//
// Start reading at host.go; dom0.sh is what the host does.
package xen
