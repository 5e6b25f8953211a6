package ibft

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// cpio itself reads the archive, and finds in it a table that differs by its signature alone.
func TestEarlyCPIO(t *testing.T) {
	table := golden(t)["ipxe-chap"]
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
	archive, err := EarlyCPIO(golden(t)["ipxe-plain"])
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
