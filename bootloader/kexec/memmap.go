package kexec

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Kinds of memory as E820 numbers them (ACPI 6.5, 15.1, "Address Range Types").
const (
	memoryRAM      = 1
	memoryReserved = 2
)

// Where things lie.
const (
	pageSize = 4096
	// lowEnd is the end of low memory, ibftStart where Linux's ibft_find begins to look (drivers/firmware/iscsi_ibft_find.c).
	lowEnd, ibftStart = 0xA0000, 0x80000
	highStart         = 1 << 20
)

func pages(n int) uint64 { return (uint64(n) + pageSize - 1) &^ (pageSize - 1) }

// region is a range of physical memory.
type region struct {
	start, size uint64
	kind        uint32
}

func (r region) end() uint64 { return r.start + r.size }

// memoryKinds are Linux's names of the kinds (arch/x86/kernel/e820.c).
var memoryKinds = map[string]uint32{
	"System RAM": memoryRAM, "ACPI Tables": 3, "ACPI Non-volatile Storage": 4, "Unusable memory": 5,
	"Persistent Memory": 7, "Persistent Memory (legacy)": 12,
}

// readMemoryMap reads the map that the firmware gave, from Linux's /sys/firmware/memmap.
func readMemoryMap(dir string) (regions []region, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("the firmware's memory map: %w", err)
	}
	for _, e := range entries {
		var numbers [2]uint64
		for i, name := range []string{"start", "end"} {
			text, err := os.ReadFile(filepath.Join(dir, e.Name(), name))
			if err == nil {
				numbers[i], err = strconv.ParseUint(strings.TrimSpace(string(text)), 0, 64)
			}
			if err != nil {
				return nil, fmt.Errorf("the firmware's memory map: %w", err)
			}
		}
		kind, err := os.ReadFile(filepath.Join(dir, e.Name(), "type"))
		if err != nil {
			return nil, fmt.Errorf("the firmware's memory map: %w", err)
		}
		number, known := memoryKinds[strings.TrimSpace(string(kind))]
		if !known {
			number = memoryReserved
		}
		if numbers[1] < numbers[0] || numbers[1]-numbers[0] == ^uint64(0) {
			return nil, fmt.Errorf("the firmware's memory map has a range from %#x to %#x", numbers[0], numbers[1])
		}
		regions = append(regions, region{numbers[0], numbers[1] - numbers[0] + 1, number})
	}
	if len(regions) == 0 {
		return nil, errors.New("the firmware's memory map is empty")
	}
	slices.SortFunc(regions, func(a, b region) int {
		if a.start < b.start {
			return -1
		}
		return 1
	})
	return regions, nil
}

// place takes size bytes of RAM at a multiple of align out of the free memory, the lowest in [low, high), or the highest if top.
func place(free *[]region, size, align, low, high uint64, top bool) (uint64, error) {
	best, found := uint64(0), false
	for _, r := range *free {
		start, end := max(r.start, low), min(r.end(), high)
		if r.kind != memoryRAM || end < start || end-start < size {
			continue
		}
		at := (start + align - 1) / align * align
		if top {
			at = (end - size) / align * align
		}
		if at < start || at > end-size {
			continue
		}
		if !found || top && at > best || !top && at < best {
			best, found = at, true
		}
	}
	if !found {
		return 0, fmt.Errorf("no %d bytes of memory are free between %#x and %#x", size, low, high)
	}
	*free = carve(*free, region{best, size, memoryReserved})
	return best, nil
}

// carve gives a range of a map another kind.
func carve(regions []region, hole region) []region {
	var out []region
	for _, r := range regions {
		if r.end() <= hole.start || r.start >= hole.end() {
			out = append(out, r)
			continue
		}
		if r.start < hole.start {
			out = append(out, region{r.start, hole.start - r.start, r.kind})
		}
		if r.end() > hole.end() {
			out = append(out, region{hole.end(), r.end() - hole.end(), r.kind})
		}
	}
	out = append(out, hole)
	slices.SortFunc(out, func(a, b region) int {
		if a.start < b.start {
			return -1
		}
		return 1
	})
	return out
}
