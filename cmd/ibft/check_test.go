package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bootlun/bootlun/ibft"
	"github.com/bootlun/bootlun/internal/cli"
)

func TestCheck(t *testing.T) {
	raw, err := os.ReadFile(goldenDir + "ipxe-chap.bin")
	if err != nil {
		t.Fatal(err)
	}
	bad := strings.Replace(string(raw), "iBFT", "BIFT", 1)
	for _, tt := range []struct {
		stdin, line string
		code        int
		out, err    string
	}{
		{string(raw), "check -", cli.ExitOK, "-: 0 errors, 0 warnings, 1 note\n", ""},
		{string(raw), "check - --for early-cpio", cli.ExitFailed, `error for early-cpio: header: Linux refuses the signature "iBFT" here, wants IBFT
  bytes 0x0 to 0x3, rule early-cpio-signature (Linux, drivers/acpi/tables.c, acpi_table_upgrade)
  remedy: sign the table IBFT
`, ""},
		{bad, "check - --for freebsd,linux", cli.ExitFailed, "error: header: checksum 0x41, want 0x", ""},
		{bad, "check - --for freebsd,linux", cli.ExitFailed, "error for freebsd: header: isboot does not find the table", ""},
		{bad, "check - --for all", cli.ExitFailed, "error for xen: header: hvmloader", ""},
		{"\x01", "check -", cli.ExitFailed, "error: table: 1 bytes, a table has at least 66", ""},
		{"", "check -", exitUnreadable, "", "ibft: -: nothing in it"},
		{"", "check /nonexistent", exitUnreadable, "", "no such file"},
		{"", "check --root /nonexistent", exitUnreadable, "", "no table whose bytes can be read"},
		{"", "check - --for vms", cli.ExitUsage, "", `consumer "vms": not one of [linux `},
		{"", "check --rules", cli.ExitOK, "nic-length (error; iBFT, 1.4.6)\n  a NIC structure is not 102 bytes long\n", ""},
		{"", "check --help", cli.ExitOK, "--for CONSUMERS", ""},
	} {
		code, out, errout := runIn(t, tt.stdin, tt.line)
		if code != tt.code || !strings.Contains(out, tt.out) || !strings.Contains(errout, tt.err) || (tt.err == "") != (errout == "") {
			t.Errorf("ibft %s: exit %d, output %q, error %q; want %+v", tt.line, code, out, errout, tt)
		}
	}
}

func TestCheckJSON(t *testing.T) {
	for line, want := range map[string]int{
		"check --json " + goldenDir + "edk2-chap.bin":            3,
		"check --json --for qemu " + goldenDir + "edk2-chap.bin": 3,
	} {
		var found []ibft.Finding
		code, out, errout := runIn(t, "", line)
		if err := json.Unmarshal([]byte(out), &found); err != nil || code != cli.ExitOK || len(found) != want {
			t.Errorf("ibft %s: exit %d, %s%s, %v; want %d findings", line, code, out, errout, err, want)
		}
	}
	var rules []ibft.Rule
	if _, out, _ := runIn(t, "", "check --rules --json"); json.Unmarshal([]byte(out), &rules) != nil || len(rules) != len(ibft.Rules()) {
		t.Errorf("rules: %s", out)
	}
}

// This machine's table is judged even if nothing can be read in it.
func TestCheckThisMachine(t *testing.T) {
	root := t.TempDir()
	tables := filepath.Join(root, "sys/firmware/acpi/tables")
	if err := os.MkdirAll(tables, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(tables, "IBFT"), make([]byte, 100), 0o600); err != nil {
		t.Fatal(err)
	}
	code, out, _ := runIn(t, "", "check --root "+root)
	if code != cli.ExitFailed || !strings.Contains(out, "rule header-signature") || !strings.Contains(out, "/sys/firmware/acpi/tables/IBFT: ") {
		t.Errorf("exit %d:\n%s", code, out)
	}
}
