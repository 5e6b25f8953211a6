package boot

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bootlun/bootlun/bootloader"
	"github.com/bootlun/bootlun/initiator/devmapper"
	"github.com/bootlun/bootlun/initiator/kernel"
)

// waitDisk waits for the disk of the table's LUN, by all of its paths.
func waitDisk(ctx context.Context, m *machine) (string, error) {
	var errs []error
	var paths, astray []sessionPath
	var disks []kernel.Disk
	for _, p := range m.paths {
		d, err := p.session.Disk(ctx)
		if err == nil && len(disks) > 0 && !sameDisk(disks[0], d) {
			err = fmt.Errorf("%s by %s is another disk than %s", d.Name, p.session.Portal, disks[0].Name)
		}
		if err != nil {
			errs, astray = append(errs, err), append(astray, p)
			continue
		}
		paths, disks = append(paths, p), append(disks, d)
	}
	if len(disks) == 0 {
		return "", errors.Join(errs...)
	}
	m.paths = paths
	for i, p := range astray {
		m.log.Warn("a path does not lead to the disk: it is given up", "error", errs[i])
		if err := p.session.Logout(ctx); err != nil {
			m.log.Warn("log out of a path that is none", "error", err)
		}
	}
	m.disk = disks[0]
	alone := fmt.Sprintf("%s, %d MiB", m.disk.Device, m.disk.Size>>20)
	// With a path that may come later the disk needs a device that can take it.
	if len(disks) == 1 && (len(m.missing) == 0 || !hasNAA(disks[0])) {
		return alone, nil
	}
	if err := m.assemble(ctx, disks); err != nil && len(disks) == 1 {
		m.log.Warn("no path can be added later", "error", err)
		return alone, nil
	} else if err != nil {
		return "", permanentError{err}
	}
	return fmt.Sprintf("%s, %d MiB, by %d of %d paths", m.disk.Device, m.disk.Size>>20, len(disks), len(disks)+len(m.missing)), nil
}

// wwid is what the kernel knows of a disk's identity (VPD page 0x83), such as "naa.6001405…".
func wwid(disk string) string {
	b, err := os.ReadFile(filepath.Join("/sys/block", disk, "device/wwid"))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// sameDisk goes by an NAA identifier: other kinds are not always unique.
func sameDisk(a, b kernel.Disk) bool {
	return hasNAA(a) && wwid(a.Name) == wwid(b.Name) && a.Size == b.Size
}

func hasNAA(d kernel.Disk) bool { return strings.HasPrefix(wwid(d.Name), "naa.") }

// multipathDisk is the root's disk where it has several paths.
type multipathDisk struct {
	Name    string // device-mapper's
	WWID    string
	Sectors uint64            // of 512 bytes
	Paths   map[string]string // names of the paths' disks, such as "sda", by their numbers, such as "8:0"
	Ranks   map[string]int    // how good paths are, by their numbers; see rank
	Missing []keptSession     // those by which nobody was there
}

// What the devices of the root's disk are called, and how their UUIDs begin: multipathd takes up only maps whose own is "mpath-",
// and so leaves ours to the keeper.
const (
	mapName   = "bootlun-root"
	uuidMap   = "bootlun-disk-"
	uuidPart  = "bootlun-part-"
	mapperDev = "/dev/mapper/control"
)

// failover is how long I/O waits on a path that has lost its connection before it goes by another.
const failover = 5 * time.Second

// assemble puts the paths under one device, and makes devices of its partitions in place of those of the paths.
func (m *machine) assemble(ctx context.Context, disks []kernel.Disk) error {
	for _, module := range []string{"dm_mod", "dm_multipath", "dm_service_time", "scsi_dh_alua"} {
		if err := m.loadModule(ctx, module); err != nil {
			return err
		}
	}
	mapper, err := devmapper.Open(mapperDev)
	if err != nil {
		return err
	}
	defer mapper.Close()
	shared := &multipathDisk{Name: mapName, WWID: wwid(disks[0].Name), Sectors: uint64(disks[0].Size / 512), Paths: make(map[string]string), Ranks: make(map[string]int)}
	for _, d := range disks {
		number, err := blockNumber(d.Name)
		if err != nil {
			return err
		}
		shared.Paths[number] = d.Name
		if shared.Ranks[number], err = pathRank(d.Name); err != nil {
			m.log.Warn("how good a path is is not known", "error", err)
		}
	}
	name, err := mapper.Create(mapName, uuidMap+shared.WWID, shared.table(shared.groups()))
	if err != nil {
		return err
	}
	for _, d := range disks {
		if err := hidePartitions(d.Device); err != nil {
			m.log.Warn("the partitions of a path stay visible", "disk", d.Name, "error", err)
		}
	}
	m.disk = kernel.Disk{Name: name, Device: "/dev/" + name, Size: disks[0].Size, SectorSize: disks[0].SectorSize}
	m.shared = shared
	for i := range m.paths {
		p := &m.paths[i]
		p.config.Timeouts.Replacement = failover
		if err := p.session.SetReplacement(failover); err != nil {
			return err
		}
	}
	for _, c := range m.missing {
		c.Timeouts.Replacement = failover
		shared.Missing = append(shared.Missing, m.keptSession(c))
	}
	return m.mapPartitions(mapper, shared.WWID)
}

// mapPartitions makes the devices that the kernel makes of other disks' partitions by itself, under the names that it would have
// given them.
func (m *machine) mapPartitions(mapper *devmapper.Mapper, id string) error {
	device, err := os.Open(m.disk.Device)
	if err != nil {
		return err
	}
	defer device.Close()
	volumes, err := bootloader.Scan(bootloader.Disk{
		ReaderAt: device, Size: m.disk.Size, SectorSize: m.disk.SectorSize, Name: m.disk.Name,
	})
	if err != nil {
		return err
	}
	for _, v := range volumes {
		if v.Number == 0 {
			continue
		}
		name := fmt.Sprintf("%s-part%d", mapName, v.Number)
		part, err := mapper.Create(name, fmt.Sprintf("%s%d-%s", uuidPart, v.Number, id),
			devmapper.Linear(m.disk.Device, uint64(v.Start/512), uint64(v.Size/512)))
		if err != nil {
			return err
		}
		if err := os.Symlink(part, v.Device()); err != nil && !errors.Is(err, os.ErrExist) {
			return err
		}
	}
	return nil
}

// hidePartitions has the kernel forget a disk's partitions (BLKPG, linux/blkpg.h): by one path they would be a way past the other
// paths.
func hidePartitions(device string) error {
	f, err := os.Open(device)
	if err != nil {
		return err
	}
	defer f.Close()
	parts, err := filepath.Glob(filepath.Join("/sys/block", filepath.Base(device), "*", "partition"))
	if err != nil {
		return err
	}
	for _, p := range parts {
		var number int
		text, err := os.ReadFile(p)
		if err == nil {
			_, err = fmt.Sscan(string(text), &number)
		}
		if err == nil {
			err = deletePartition(f, number)
		}
		if err != nil && !errors.Is(err, unix.ENXIO) {
			return fmt.Errorf("%s: %w", filepath.Dir(p), err)
		}
	}
	return nil
}
