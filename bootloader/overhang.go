package bootloader

import "math"

// Overhang is how many bytes of a disk's partitions lie beyond its end: a disk that has been cut short has some. A table that cannot
// be read has none.
func Overhang(d Disk) int64 {
	sector := d.SectorSize
	if sector == 0 {
		sector = 512
	}
	const endless = math.MaxInt64 / 2
	parts, err := readPartitions(d, endless, sector)
	if err != nil {
		return 0
	}
	over := int64(0)
	for _, p := range parts {
		if p.Start < endless-p.Size {
			over = max(over, p.Start+p.Size-d.Size)
		}
	}
	return over
}
