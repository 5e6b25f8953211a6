package ibft

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// monitor talks to a QEMU's monitor on its standard input and output.
type monitor struct {
	in  io.Writer
	out *bufio.Scanner
}

func (m monitor) do(t *testing.T, command string, arguments map[string]any) {
	t.Helper()
	b, err := json.Marshal(map[string]any{"execute": command, "arguments": arguments})
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(m.in, "%s\n", b)
	for m.out.Scan() {
		switch line := m.out.Text(); {
		case strings.Contains(line, `"return"`):
			return
		case strings.Contains(line, `"error"`):
			t.Fatalf("%s: %s", command, line)
		}
	}
	t.Fatalf("%s: QEMU is gone: %v", command, m.out.Err())
}

// startQEMU starts a machine whose firmware publishes a table by ACPI.
func startQEMU(t *testing.T, table []byte) monitor {
	t.Helper()
	const program = "qemu-system-x86_64"
	if _, err := exec.LookPath(program); err != nil || testing.Short() {
		t.Skipf("SKIP: needs %s (apt install qemu-system-x86), and not -short", program)
	}
	file := filepath.Join(t.TempDir(), "table.bin")
	if err := os.WriteFile(file, table, 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	cmd := exec.CommandContext(ctx, program, "-machine", "q35", "-accel", "tcg", "-m", "16", "-nodefaults", "-display", "none",
		"-acpitable", "file="+file, "-qmp", "stdio")
	in, err1 := cmd.StdinPipe()
	out, err2 := cmd.StdoutPipe()
	if err := cmd.Start(); err != nil || err1 != nil || err2 != nil {
		t.Fatal(err, err1, err2)
	}
	t.Cleanup(func() {
		cancel()
		_ = cmd.Wait() // killed
	})
	m := monitor{in, bufio.NewScanner(out)}
	m.do(t, "qmp_capabilities", map[string]any{})
	return m
}

// A table given to QEMU is found in its guest's memory, saved as an image and dumped as an ELF core.
func TestDecodeQEMU(t *testing.T) {
	want := foreignTables(t)["ipxe-chap"]
	m := startQEMU(t, want)
	dir := t.TempDir()
	image, core := filepath.Join(dir, "image"), filepath.Join(dir, "core")
	var found []Found
	for start := time.Now(); len(found) == 0; time.Sleep(200 * time.Millisecond) { // nothing tells when the firmware is done
		if time.Since(start) > 30*time.Second {
			t.Fatal("no table in memory after 30 s")
		}
		m.do(t, "pmemsave", map[string]any{"val": 0, "size": 16 << 20, "filename": image})
		found = decodeFile(t, image)
	}
	m.do(t, "dump-guest-memory", map[string]any{"paging": false, "protocol": "file:" + core})
	for _, f := range append(found, decodeFile(t, core)...) {
		if !strings.Contains(f.Source, ", ACPI table at 0x") || !bytes.Equal(f.Raw, want) {
			t.Errorf("%s: %v, %d bytes, want %d", f.Source, f.Err, len(f.Raw), len(want))
		}
	}
	if len(decodeFile(t, core)) == 0 {
		t.Error("no table in the core")
	}
}

// decodeFile returns the tables in a file, none if there are none.
func decodeFile(t *testing.T, name string) []Found {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	found, err := Decode(b)
	if err != nil && !strings.Contains(err.Error(), "no table") {
		t.Fatal(err)
	}
	return found
}
