package entries

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// blockListSector is the unit of GRUB's block lists, in bytes.
const blockListSector = 512

// Blocks gives the place on its volume of a file that GRUB names by its blocks, such as "512+1" (GRUB's manual, "How to specify
// block lists"; of one stretch): size bytes from at on. ok is false for a file that has a path.
//
// GRUB 2.14, and SUSE's before, keep an environment so in what btrfs leaves free at its begin, as they cannot write to its files.
func (f File) Blocks() (at, size int64, ok bool) {
	start, count, ok := strings.Cut(f.Path, "+")
	if !ok || strings.HasPrefix(f.Path, "/") {
		return 0, 0, false
	}
	first, err1 := strconv.ParseUint(start, 10, 48)
	sectors, err2 := strconv.ParseUint(count, 10, 16)
	if err1 != nil || err2 != nil || sectors == 0 {
		return 0, 0, false
	}
	return int64(first) * blockListSector, int64(sectors) * blockListSector, true
}

// readBlocks reads size bytes of the volume from at on.
func (v *Volume) readBlocks(at, size, limit int64) ([]byte, error) {
	if v.Raw == nil {
		return nil, errors.New("only files can be read of this volume")
	}
	if size > limit {
		return nil, fmt.Errorf("%w: %d bytes, at most %d are read", ErrTooLarge, size, limit)
	}
	data := make([]byte, size)
	if n, err := v.Raw.ReadAt(data, at); n < len(data) {
		return nil, fmt.Errorf("%d bytes at byte %d of the volume: %w", size, at, err)
	}
	return data, nil
}
