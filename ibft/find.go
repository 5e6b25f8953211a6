package ibft

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// Found is a table found on this machine, or what looks like one.
type Found struct {
	// Source says where: a file's path, or "memory at 0x9a350".
	Source string
	// Raw are the table's bytes, secrets in clear; nil for one rebuilt from /sys/firmware/ibft.
	Raw []byte
	// Table is nil when Err is set, and Err says why.
	Table *Table
	Err   error
}

// FindOptions say where Find looks. The zero value means this machine.
type FindOptions struct {
	// Root is the directory that holds sys and dev; "/" when empty.
	Root string
	// Memory is physical memory; Root/dev/mem when nil.
	Memory io.ReaderAt
}

// maxACPITable bounds what is read of one ACPI table.
const maxACPITable = 1 << 20

// Find looks for tables in all the places where Linux does and returns them in the order of its preference: low
// memory (on a BIOS machine, where it may be read), the ACPI tables, then what the kernel's iscsi_ibft module says
// under /sys/firmware/ibft, made into a table. The same table is often in several places.
//
// To find none is no error. An error means that a place could not be searched; what others hold is returned with it.
func Find(o FindOptions) ([]Found, error) {
	if o.Root == "" {
		o.Root = "/"
	}
	fsys := os.DirFS(o.Root)
	memory, err1 := findInMemory(fsys, o.Memory)
	acpi, err2 := findInACPI(fsys)
	found := append(memory, acpi...)
	sysfs, err3 := findInSysfs(fsys)
	if sysfs != nil {
		found = append(found, *sysfs)
	}
	return found, errors.Join(err1, err2, err3)
}

func findInMemory(fsys fs.FS, mem io.ReaderAt) ([]Found, error) {
	if _, err := fs.Stat(fsys, "sys/firmware/efi"); err == nil {
		return nil, nil // UEFI publishes it by ACPI only (iBFT, 1.4.3.1), and what lies here is not its own
	}
	if mem == nil {
		f, err := fsys.Open("dev/mem")
		if err != nil {
			return nil, ignoreUnreadable(err)
		}
		defer f.Close()
		var ok bool
		if mem, ok = f.(io.ReaderAt); !ok {
			return nil, fmt.Errorf("/dev/mem: %T does not read by address", f)
		}
	}
	found, err := ScanMemory(mem)
	return found, ignoreUnreadable(err)
}

// ignoreUnreadable forgets errors that mean that a kernel does not have, or does not show, a place.
func ignoreUnreadable(err error) error {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		return nil
	}
	return err
}

// findInACPI reads the tables that the kernel got by ACPI, in the order in which it tries their signatures. A
// second table of a signature has its number behind the name.
func findInACPI(fsys fs.FS) ([]Found, error) {
	const dir = "sys/firmware/acpi/tables"
	var found []Found
	for _, s := range []Signature{SignatureACPI, SignatureIBFT, SignatureBroadcom} {
		for _, pattern := range []string{"", "[0-9]", "[0-9][0-9]"} {
			names, err := fs.Glob(fsys, dir+"/"+string(s)+pattern)
			if err != nil {
				return found, err
			}
			for _, name := range names {
				found = append(found, readTable(fsys, name))
			}
		}
	}
	return found, nil
}

func readTable(fsys fs.FS, name string) Found {
	f := Found{Source: "/" + name}
	file, err := fsys.Open(name)
	if err != nil {
		f.Err = err
		return f
	}
	defer file.Close()
	raw, err := io.ReadAll(io.LimitReader(file, maxACPITable))
	if err != nil {
		f.Err = fmt.Errorf("read %s: %w", f.Source, err)
		return f
	}
	return newFound(f.Source, raw)
}
