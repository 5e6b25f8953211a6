package bootloader

import (
	"errors"
	"fmt"
	"io"
	"strconv"
)

// Disk is what Scan and FindRoot read: bytes, and the name Linux knows them by.
type Disk struct {
	// ReaderAt gives the bytes: an open block device, an image file, a LUN of the userspace initiator.
	io.ReaderAt
	// Size is in bytes.
	Size int64
	// SectorSize is the logical block size in bytes; 0 is 512.
	SectorSize int
	// Name is the kernel's name for it, such as "sda"; "disk" in messages if it has none.
	Name string
}

// Volume is a place where a file system can be: a partition, or a disk without a partition table.
type Volume struct {
	Partition
	FS FileSystem
	// Name is the kernel's name for it: "sda1", "nvme0n1p1", or the disk's own.
	Name string
	// LVM is what makes it of LogicalVolumes; nil for a partition or disk.
	LVM *LogicalVolume
}

// Device is the path of the volume's node in /dev.
func (v Volume) Device() string { return "/dev/" + v.Name }

// String describes the volume in one line for messages: name, type, label, UUID.
func (v Volume) String() string {
	kind := v.FS.Type
	if kind == "" {
		kind = "nothing known"
	}
	s := fmt.Sprintf("%s: %s, %d MiB", v.Name, kind, v.Size>>20)
	if v.FS.Label != "" {
		s += ", LABEL=" + strconv.Quote(v.FS.Label)
	}
	if v.FS.UUID != "" {
		s += ", UUID=" + v.FS.UUID
	}
	return s
}

// Scan lists the volumes of a disk in the order of their numbers, each with what its superblock says.
func Scan(d Disk) ([]Volume, error) {
	if d.ReaderAt == nil || d.Size <= 0 {
		return nil, errors.New("scan the disk: it is empty")
	}
	if d.Name == "" {
		d.Name = "disk"
	}
	sector := d.SectorSize
	if sector == 0 {
		sector = 512
	}
	if sector < 512 || sector > 64<<10 || sector&(sector-1) != 0 {
		return nil, fmt.Errorf("scan %s: a sector size of %d bytes makes no sense", d.Name, sector)
	}
	parts, err := readPartitions(d, d.Size, sector)
	if err != nil {
		return nil, fmt.Errorf("scan %s: %w", d.Name, err)
	}
	if len(parts) == 0 {
		parts = []Partition{{Size: d.Size}}
	}
	volumes := make([]Volume, 0, len(parts))
	for _, p := range parts {
		v := Volume{Partition: p, Name: partitionName(d.Name, p.Number)}
		v.FS, err = Probe(io.NewSectionReader(d, p.Start, p.Size), p.Size)
		if err != nil {
			return nil, fmt.Errorf("scan %s: %w", v.Name, err)
		}
		volumes = append(volumes, v)
	}
	return volumes, nil
}

// partitionName follows Linux: a "p" keeps the number apart from a disk name that ends in a digit.
func partitionName(disk string, number int) string {
	switch last := disk[len(disk)-1]; {
	case number == 0:
		return disk
	case last >= '0' && last <= '9':
		return fmt.Sprintf("%sp%d", disk, number)
	default:
		return fmt.Sprintf("%s%d", disk, number)
	}
}
