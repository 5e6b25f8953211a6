package ibft

import (
	"bytes"
	"errors"
	"fmt"
	"path"
	"strconv"
)

// cpioName is where Linux looks for ACPI tables in an initial RAM disk (its Documentation/admin-guide/acpi,
// "initrd table override").
const cpioName = "kernel/firmware/acpi/ibft.aml"

const cpioTrailer = "TRAILER!!!"

// EarlyCPIO returns an uncompressed newc archive that hands the table to Linux on any firmware: put before an
// initial RAM disk, a kernel with CONFIG_ACPI_TABLE_UPGRADE that is not locked down adds the table to those of the
// firmware. The kernel knows the signature IBFT only, so the table in the archive bears that one. Equal tables make
// equal archives. The archive's length is a multiple of 512 bytes, so others may follow it.
func EarlyCPIO(table []byte) ([]byte, error) {
	t, err := Parse(table)
	if err != nil {
		return nil, err
	}
	aml, err := t.Build(BuildOptions{Signature: SignatureACPI})
	if err != nil {
		return nil, err
	}

	var w bytes.Buffer
	inode := 0
	entry := func(name string, mode int, data []byte) {
		inode++
		fmt.Fprintf(&w, cpioMagic+"%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%s\x00",
			inode, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name)+1, 0, name)
		pad(&w, 4)
		w.Write(data)
		pad(&w, 4)
	}
	for _, dir := range []string{"kernel", "kernel/firmware", "kernel/firmware/acpi"} {
		entry(dir, 0o40755, nil)
	}
	entry(cpioName, 0o100600, aml)
	entry(cpioTrailer, 0, nil)
	pad(&w, 512)
	return w.Bytes(), nil
}

const (
	cpioMagic     = "070701"
	cpioHeaderLen = 110 // the magic, and 13 numbers of 8 hexadecimal digits
)

// decodeCPIO returns the tables in an early initial RAM disk: Linux takes all files in the folder of cpioName. What
// follows the archive, the initial RAM disk proper, is not looked at.
func decodeCPIO(data []byte) ([]Found, error) {
	var found []Found
	for at := 0; ; {
		name, file, next, ok := cpioEntry(data[at:])
		if !ok {
			return nil, fmt.Errorf("ibft: cpio archive: no entry at %#x", at)
		}
		if name == cpioTrailer {
			break
		}
		if path.Dir(name) == path.Dir(cpioName) && len(file) >= 4 && Signature(file[:4]).known() {
			found = append(found, newFound(name, file))
		}
		at += next
	}
	if len(found) == 0 {
		return nil, errors.New("ibft: cpio archive: no table in " + path.Dir(cpioName))
	}
	return found, nil
}

// cpioEntry reads the entry that b begins with. next is where the one after it begins.
func cpioEntry(b []byte) (name string, file []byte, next int, ok bool) {
	if len(b) < cpioHeaderLen || string(b[:len(cpioMagic)]) != cpioMagic {
		return "", nil, 0, false
	}
	number := func(i int) int { // as much as a file here has, at most
		v, err := strconv.ParseUint(string(b[len(cpioMagic)+8*i:][:8]), 16, 32)
		if err != nil {
			return -1
		}
		return int(v)
	}
	size, nameLen := number(6), number(11)
	start := (cpioHeaderLen + nameLen + 3) &^ 3
	if size < 0 || nameLen < 1 || start+size > len(b) {
		return "", nil, 0, false
	}
	name = string(b[cpioHeaderLen:][:nameLen-1])
	return name, b[start:][:size], min((start+size+3)&^3, len(b)), true
}

func pad(w *bytes.Buffer, align int) {
	for w.Len()%align != 0 {
		w.WriteByte(0)
	}
}
