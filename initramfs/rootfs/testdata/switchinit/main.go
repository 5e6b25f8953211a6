//go:build linux

// Command switchinit is /init of the initramfs under which the tests boot an
// image as a plain disk: it loads drivers, mounts the first partition of the
// first virtio disk read-only and hands the machine over to what is there.
package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/u-root/u-root/pkg/mount"
	"golang.org/x/sys/unix"

	"github.com/bootlun/bootlun/initramfs/modules"
)

const (
	disk    = "/dev/vda1"
	newRoot = "/newroot"
)

func main() {
	fmt.Println("FAILED:", handOver())
	unix.Sync()
	fmt.Println("reboot:", unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF))
}

// handOver returns only if it fails.
func handOver() error {
	for _, m := range []struct{ kind, dir string }{{"proc", "/proc"}, {"sysfs", "/sys"}, {"devtmpfs", "/dev"}} {
		if err := unix.Mount(m.kind, m.dir, m.kind, 0, ""); err != nil {
			return fmt.Errorf("mount %s: %w", m.dir, err)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	loader, err := modules.Open("/")
	if err != nil {
		return err
	}
	if _, err := loader.LoadForDevices(ctx); err != nil {
		fmt.Println("drivers:", err)
	}
	if err := loader.Load(ctx, "ext4"); err != nil {
		return err
	}
	for ctx.Err() == nil {
		if _, err := os.Stat(disk); err == nil {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if err := unix.Mount(disk, newRoot, "ext4", unix.MS_RDONLY, ""); err != nil {
		return fmt.Errorf("mount %s: %w", disk, err)
	}
	return mount.SwitchRoot(newRoot, "/sbin/init")
}
