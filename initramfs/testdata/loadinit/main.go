// Command loadinit is /init of the image that the smoke test boots: it loads
// what the machine asks for, says what came of it, and switches the machine off.
package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bootlun/bootlun/initramfs/modules"
)

func main() {
	var up unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &up); err == nil {
		fmt.Printf("init started after %d ms\n", time.Duration(up.Nano()).Milliseconds())
	}
	if err := load(); err != nil {
		fmt.Println("FAILED:", err)
	}
	fmt.Println("END")
	unix.Sync()
	if err := unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF); err != nil {
		fmt.Println("reboot:", err)
	}
}

func load() error {
	for _, m := range []struct{ kind, dir string }{{"proc", "/proc"}, {"sysfs", "/sys"}, {"devtmpfs", "/dev"}} {
		if err := unix.Mount(m.kind, m.dir, m.kind, 0, ""); err != nil {
			return fmt.Errorf("mount %s: %w", m.dir, err)
		}
	}
	ctx := context.Background()
	start := time.Now()
	loader, err := modules.Open("/")
	if err != nil {
		return err
	}
	fmt.Printf("index of %d modules read in %v\n", loader.Index().Len(), time.Since(start).Round(time.Millisecond))
	start = time.Now()
	loaded, err := loader.LoadForDevices(ctx)
	if err != nil {
		fmt.Println("for devices:", err)
	}
	fmt.Printf("%d modules in %v: %s\n", len(loaded), time.Since(start).Round(time.Millisecond), strings.Join(loaded, " "))
	for _, name := range []string{"iscsi_tcp", "iscsi-tcp", "fs-vfat", "ext4"} {
		if err := loader.Load(ctx, name); err != nil {
			return err
		}
		fmt.Println("loaded:", name)
	}
	if err := loader.Load(ctx, "no_such_module"); !errors.Is(err, modules.ErrNotFound) {
		return fmt.Errorf("no_such_module: %v", err)
	}
	for _, name := range []string{"sr_mod", "xfs"} {
		fmt.Printf("present: %s %t\n", name, exists("/sys/module/"+name))
	}
	return showCards()
}

// showCards prints each network card with its driver.
func showCards() error {
	cards, err := filepath.Glob("/sys/class/net/*/device/driver")
	if err != nil {
		return err
	}
	for _, link := range cards {
		driver, err := os.Readlink(link)
		if err != nil {
			return err
		}
		fmt.Println("card:", filepath.Base(driver))
	}
	return nil
}

func exists(name string) bool {
	_, err := os.Stat(name)
	return !errors.Is(err, fs.ErrNotExist)
}
