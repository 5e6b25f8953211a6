package ibft

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// cpio itself reads the archive, and finds in it a table that differs by its signature alone.
func TestEarlyCPIO(t *testing.T) {
	table := foreignTables(t)["ipxe-chap"]
	archive, err := EarlyCPIO(table)
	if err != nil {
		t.Fatal(err)
	}
	again, err := EarlyCPIO(table)
	if err != nil || !bytes.Equal(again, archive) {
		t.Errorf("a second archive differs, %v", err)
	}
	if len(archive)%512 != 0 {
		t.Errorf("%d bytes, want a multiple of 512", len(archive))
	}

	got := unpackCPIO(t, archive)
	want := mustBuild(t, mustParse(t, table), BuildOptions{Signature: SignatureACPI})
	if !bytes.Equal(got, want) {
		t.Errorf("it holds %x, want %x", got, want)
	}
}

// What was wrapped is found again, also where an initial RAM disk follows it.
func TestDecodeCPIO(t *testing.T) {
	table := foreignTables(t)["ipxe-chap"]
	archive, err := EarlyCPIO(table)
	if err != nil {
		t.Fatal(err)
	}
	found, err := Decode(append(bytes.Clone(archive), "\x1f\x8b and so on"...))
	if err != nil || len(found) != 1 || found[0].Source != cpioName || len(Diff(found[0].Table, mustParse(t, table))) != 1 {
		t.Fatalf("%+v, %v", found, err)
	}
	for cut := range len(archive) - 512 {
		if cut > 6 {
			_, _ = Decode(archive[:cut]) // which does not panic
		}
	}
	other := bytes.ReplaceAll(archive, []byte("acpi/ibft"), []byte("acpj/ibft"))
	if _, err := Decode(other); err == nil || !strings.Contains(err.Error(), "no table in kernel/firmware/acpi") {
		t.Errorf("another folder: %v", err)
	}
	other = bytes.ReplaceAll(archive, []byte(cpioTrailer), []byte("TRAILER!!?"))
	if _, err := Decode(other); err == nil || !strings.Contains(err.Error(), "no entry at") {
		t.Errorf("without an end: %v", err)
	}
}

func unpackCPIO(t *testing.T, archive []byte) []byte {
	t.Helper()
	cpio, err := exec.LookPath("cpio")
	if err != nil {
		t.Skip("SKIP: needs cpio (apt install cpio)")
	}
	dir := t.TempDir()
	cmd := exec.CommandContext(t.Context(), cpio, "--extract", "--quiet", "--make-directories")
	cmd.Dir, cmd.Stdin = dir, bytes.NewReader(archive)
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
		t.Fatalf("cpio: %v: %s", err, out)
	}
	b, err := os.ReadFile(filepath.Join(dir, cpioName))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// The bytes that Linux looks at (its find_cpio_data): magic, sizes and name of each entry, all at 4-byte boundaries.
func TestEarlyCPIOEntries(t *testing.T) {
	archive, err := EarlyCPIO(foreignTables(t)["ipxe-plain"])
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"kernel", "kernel/firmware", "kernel/firmware/acpi", cpioName, "TRAILER!!!"} {
		at := bytes.Index(archive, []byte(name+"\x00")) - 110
		if at < 0 || at%4 != 0 || string(archive[at:at+6]) != "070701" {
			t.Errorf("%s: no header at %d", name, at)
		}
	}
}

func TestEarlyCPIOError(t *testing.T) {
	if _, err := EarlyCPIO([]byte("not a table")); err == nil {
		t.Error("no error")
	}
}
