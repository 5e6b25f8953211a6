package kexec

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// readACPI reads where ACPI begins, which the running kernel's decompressor has found (boot_params.acpi_rsdp_addr).
func (m machine) readACPI() (acpiRoot, error) {
	if len(m.bootParams) < 0x78 || binary.LittleEndian.Uint64(m.bootParams[0x70:]) == 0 {
		return acpiRoot{}, errors.New("the running kernel does not tell where ACPI begins")
	}
	f, err := os.Open("/dev/mem")
	if err != nil {
		return acpiRoot{}, err
	}
	defer f.Close()
	return readACPI(mapped{f}, binary.LittleEndian.Uint64(m.bootParams[0x70:]))
}

// mapped reads physical memory by mapping it: read(2) of /dev/mem reaches only to the end of RAM, behind which firmware puts its tables.
type mapped struct{ file *os.File }

func (m mapped) ReadAt(b []byte, at int64) (int, error) {
	if at < 0 || len(b) > 1<<20 {
		return 0, fmt.Errorf("%d bytes at %#x are not read", len(b), at)
	}
	before := int(at % pageSize)
	pages, err := unix.Mmap(int(m.file.Fd()), at-int64(before), before+len(b), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return 0, fmt.Errorf("map %s: %w", m.file.Name(), err)
	}
	defer unix.Munmap(pages)
	return copy(b, pages[before:]), nil
}
