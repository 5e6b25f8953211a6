package boot

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/bootlun/bootlun/bootloader"
	"github.com/bootlun/bootlun/bootloader/entries"
	"github.com/bootlun/bootlun/bootloader/files"
	"github.com/bootlun/bootlun/initiator/devmapper"
)

// openVolumes opens all volumes with files on them. One that cannot be read is
// passed over: another may have what is looked for.
func (m *machine) openVolumes(ctx context.Context) ([]*entries.Volume, error) {
	scanned, err := m.scanLUN(m.own.lun)
	if err != nil {
		return nil, err
	}
	var volumes []*entries.Volume
	for _, v := range scanned {
		if v.FS.Type != "vfat" && !v.FS.CanHoldRoot() {
			continue
		}
		open, err := files.Open(m.own.lun, v)
		if err != nil {
			m.log.Debug("mounting instead", "error", err)
			if open, err = m.mountVolume(ctx, v); err != nil {
				m.log.Warn("a volume cannot be read", "volume", v.String(), "error", err)
				continue
			}
		}
		volumes = append(volumes, &entries.Volume{Volume: v, Files: open, Raw: v.Reader(m.own.lun)})
	}
	return volumes, nil
}

// scanLUN lists a disk's partitions, and the logical volumes on them.
func (m *machine) scanLUN(disk bootloader.Disk) ([]bootloader.Volume, error) {
	scanned, err := bootloader.Scan(disk)
	if err != nil {
		return nil, err
	}
	logical, err := bootloader.LogicalVolumes(disk, scanned)
	if err != nil {
		m.log.Warn("logical volumes", "error", err)
	}
	return append(scanned, logical...), nil
}

// mountVolume has Linux read a volume of the LUN, over a session of its own.
func (m *machine) mountVolume(ctx context.Context, wanted bootloader.Volume) (*bootloader.MountedFiles, error) {
	if len(m.paths) == 0 {
		if _, err := logIn(ctx, m); err != nil {
			return nil, err
		}
	}
	if m.disk.Device == "" {
		if _, err := waitDisk(ctx, m); err != nil {
			return nil, err
		}
	}
	v, err := m.onDisk(wanted)
	if err != nil {
		return nil, err
	}
	if v.LVM != nil {
		if err := m.activate(ctx, v); err != nil {
			return nil, err
		}
	}
	for _, name := range driversOf(v.FS.Type) {
		if err := m.loadModule(ctx, name); err != nil {
			return nil, err
		}
	}
	mounted, err := bootloader.MountFiles(ctx, v, filepath.Join("/run/bootlun/volumes", filepath.Base(v.Name)))
	if err != nil {
		return nil, err
	}
	m.own.mounted = append(m.own.mounted, mounted)
	return mounted, nil
}

// driversOf are the modules for a type of file system. The tables of characters that FAT's driver needs, by what the kernel has for its
// default, it would have modprobe load, which is not there.
func driversOf(fsType string) []string {
	drivers := []string{"fs-" + fsType}
	if fsType == "vfat" {
		drivers = append(drivers, "nls_cp437", "nls_ascii", "nls_iso8859_1", "nls_utf8")
	}
	return drivers
}

// onDisk is a volume of the LUN as the kernel has it.
func (m *machine) onDisk(wanted bootloader.Volume) (bootloader.Volume, error) {
	device, err := os.Open(m.disk.Device)
	if err != nil {
		return bootloader.Volume{}, err
	}
	defer device.Close()
	disk := bootloader.Disk{ReaderAt: device, Size: m.disk.Size, SectorSize: m.disk.SectorSize, Name: m.disk.Name}
	scanned, err := m.scanLUN(disk)
	if err != nil {
		return bootloader.Volume{}, err
	}
	for _, v := range scanned {
		if v.Number == wanted.Number && (v.LVM == nil) == (wanted.LVM == nil) && (v.LVM == nil || v.LVM.UUID == wanted.LVM.UUID) {
			return v, nil
		}
	}
	return bootloader.Volume{}, fmt.Errorf("%s has no volume that corresponds to %s", m.disk.Device, wanted.Name)
}

// activate makes the device of a logical volume, under LVM's name.
func (m *machine) activate(ctx context.Context, v bootloader.Volume) error {
	if err := m.loadModule(ctx, "dm_mod"); err != nil {
		return err
	}
	mapper, err := devmapper.Open(mapperDev)
	if err != nil {
		return err
	}
	defer mapper.Close()
	var targets []devmapper.Target
	at := uint64(0)
	for _, p := range v.LVM.Pieces {
		t := devmapper.Linear(m.disk.Device, uint64(p.Start/512), uint64(p.Size/512))
		t.Start = at
		at += t.Length
		targets = append(targets, t)
	}
	id := "LVM-" + strings.ReplaceAll(v.LVM.GroupUUID+v.LVM.UUID, "-", "")
	device, err := mapper.Create(filepath.Base(v.Name), id, targets...)
	if err != nil {
		return err
	}
	if err := os.Symlink("../"+device, v.Device()); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	return nil
}
