package boot

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/bootlun/bootlun/bootloader"
	"github.com/bootlun/bootlun/initramfs/modules"
)

// bootModules are needed by what no device asks for: the iSCSI transport, and
// the kernel's own view of the table under /sys/firmware/ibft.
var bootModules = []string{"iscsi_tcp", "sd_mod", "iscsi_ibft", "af_packet"}

// loadDrivers loads what this machine's devices ask for, and bootModules.
func loadDrivers(ctx context.Context, m *machine) (string, error) {
	loader, err := modules.Open("/")
	if errors.Is(err, fs.ErrNotExist) {
		return "no modules in this image, or none for this kernel", nil
	}
	if err != nil {
		return "", permanentError{err}
	}
	m.modules = loader
	loaded, err := loader.LoadForDevices(ctx)
	if err != nil {
		// The device that boots may be another one.
		m.log.Warn("load drivers", "error", err)
	}
	for _, name := range bootModules {
		if err := m.loadModule(ctx, name); err != nil {
			return "", permanentError{err}
		}
	}
	return fmt.Sprintf("%d drivers loaded", len(loaded)), nil
}

// loadModule loads a module; one that the index does not know may be built in.
func (m *machine) loadModule(ctx context.Context, name string) error {
	if m.modules == nil {
		return nil
	}
	if err := m.modules.Load(ctx, name); err != nil && !errors.Is(err, modules.ErrNotFound) {
		return err
	}
	return nil
}

// loadFileSystems loads the drivers of the file systems on a disk.
func (m *machine) loadFileSystems(ctx context.Context, disk bootloader.Disk) error {
	volumes, err := bootloader.Scan(disk)
	if err != nil {
		return err
	}
	var types []string
	for _, v := range volumes {
		if v.FS.CanHoldRoot() && !slices.Contains(types, v.FS.Type) {
			types = append(types, v.FS.Type)
		}
	}
	for _, t := range types {
		if err := m.loadModule(ctx, "fs-"+t); err != nil {
			return err
		}
	}
	return nil
}
