package ibft

import (
	"bytes"
	"fmt"
)

// cpioName is where Linux looks for ACPI tables in an initial RAM disk (its Documentation/admin-guide/acpi,
// "initrd table override").
const cpioName = "kernel/firmware/acpi/ibft.aml"

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
		fmt.Fprintf(&w, "070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%s\x00",
			inode, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name)+1, 0, name)
		pad(&w, 4)
		w.Write(data)
		pad(&w, 4)
	}
	for _, dir := range []string{"kernel", "kernel/firmware", "kernel/firmware/acpi"} {
		entry(dir, 0o40755, nil)
	}
	entry(cpioName, 0o100600, aml)
	entry("TRAILER!!!", 0, nil)
	pad(&w, 512)
	return w.Bytes(), nil
}

func pad(w *bytes.Buffer, align int) {
	for w.Len()%align != 0 {
		w.WriteByte(0)
	}
}
