package boot

import (
	"context"
	"fmt"
	"os"

	"github.com/bootlun/bootlun/bootloader"
)

// Where the root is mounted, and where a candidate is looked into.
const (
	rootDir = "/newroot"
	lookDir = "/run/bootlun/look"
)

// mountRoot finds the root file system on the LUN's disk, mounts it, and
// checks that it can be handed the machine.
func mountRoot(ctx context.Context, m *machine) (string, error) {
	device, err := os.Open(m.disk.Device)
	if err != nil {
		return "", err
	}
	defer device.Close()
	disk := bootloader.Disk{
		ReaderAt: device, Size: m.disk.Size, SectorSize: m.disk.SectorSize, Name: m.disk.Name,
	}
	if err := m.loadFileSystems(ctx, disk); err != nil {
		return "", err
	}
	volume, err := bootloader.FindRoot(ctx, disk, m.cfg.Root, bootloader.MountLook(lookDir))
	if err != nil {
		return "", permanentError{err}
	}
	if err := bootloader.Mount(ctx, volume, rootDir, m.cfg.Root.MountOptions()); err != nil {
		return "", permanentError{err}
	}
	m.handoff = bootloader.SwitchRoot{Root: rootDir, Init: m.cfg.Root.Init, Args: m.cfg.Root.Args, Logger: m.log}
	if err := m.handoff.Check(); err != nil {
		return "", permanentError{err}
	}
	return volume.String(), nil
}

// handOff gives the machine to what the LUN holds.
func (m *machine) handOff(c console) error {
	if err := m.tellNetwork(); err != nil {
		m.log.Warn("tell the installed system's network managers", "error", err)
	}
	m.awaitKeeper()
	c.result(Result{Step: m.handoff.String(), Took: uptime(), Detail: "after the kernel's start; the LUN's own system takes over"})
	return &StepError{
		Step: m.handoff.String(), Remedy: "name the program with init=",
		Err: fmt.Errorf("start the system on %s: %w", m.disk.Device, m.handoff.Start()),
	}
}
