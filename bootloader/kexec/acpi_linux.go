package kexec

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// systemTable is what Linux tells of EFI's configuration table, in lines such as "ACPI20=0x7fb7e014".
const systemTable = "/sys/firmware/efi/systab"

// readACPI reads where ACPI begins.
func (m machine) readACPI() (acpiRoot, error) {
	at, err := m.acpiAddress(systemTable)
	if err != nil {
		return acpiRoot{}, err
	}
	f, err := os.Open("/dev/mem")
	if err != nil {
		return acpiRoot{}, err
	}
	defer f.Close()
	return readACPI(mapped{f}, at)
}

// acpiAddress is where the root pointer's structure lies: on a BIOS machine the running kernel's decompressor has searched for it
// (boot_params.acpi_rsdp_addr), EFI says it.
func (m machine) acpiAddress(systemTable string) (uint64, error) {
	if len(m.bootParams) >= 0x78 {
		if at := binary.LittleEndian.Uint64(m.bootParams[0x70:]); at != 0 {
			return at, nil
		}
	}
	text, err := os.ReadFile(systemTable)
	if err != nil {
		return 0, fmt.Errorf("where ACPI begins: %w", err)
	}
	for _, name := range []string{"ACPI20=", "ACPI="} {
		for line := range strings.Lines(string(text)) {
			if value, ok := strings.CutPrefix(strings.TrimSpace(line), name); ok {
				return strconv.ParseUint(value, 0, 64)
			}
		}
	}
	return 0, errors.New("neither the running kernel nor EFI tells where ACPI begins")
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
