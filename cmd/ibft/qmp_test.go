package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bootlun/bootlun/internal/cli"
)

// startQEMU starts a machine with a table, by the very line that convert writes, and returns its monitor's socket.
func startQEMU(t *testing.T, table string, more ...string) string {
	t.Helper()
	const program = "qemu-system-x86_64"
	if _, err := exec.LookPath(program); err != nil || testing.Short() {
		t.Skipf("SKIP: needs %s (apt install qemu-system-x86), and not -short", program)
	}
	_, line, errout := runIn(t, "", "convert --to qemu --reveal-secrets "+table)
	if line == "" {
		t.Fatal(errout)
	}
	dir, err := os.MkdirTemp("", "qmp") // t.TempDir's name may be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(dir, "monitor")
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	cmd := exec.CommandContext(ctx, program, append([]string{
		"-accel", "tcg", "-nodefaults", "-display", "none", "-qmp", "unix:" + socket + ",server=on,wait=off",
	}, append(strings.Fields(line), more...)...)...)
	var complaints strings.Builder
	cmd.Stderr = &complaints
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		cancel()
		<-ended // killed
		os.RemoveAll(dir)
	})
	for start := time.Now(); ; time.Sleep(50 * time.Millisecond) { // nothing tells when the socket is there
		if _, err := os.Stat(socket); err == nil {
			return "qmp:" + socket
		}
		select {
		case err := <-ended:
			ended <- err
			t.Fatalf("QEMU refuses %s: %v\n%s", line, err, &complaints)
		default:
		}
		if time.Since(start) > 30*time.Second {
			t.Fatal("no monitor after 30 s")
		}
	}
}

// waitForTable waits until the machine's firmware has published its table.
func waitForTable(t *testing.T, source string) {
	t.Helper()
	for start := time.Now(); ; time.Sleep(time.Second) { // nothing tells when the firmware is done, and a search slows it
		code, _, errout := runIn(t, "", "show "+source)
		if code == cli.ExitOK {
			return
		}
		if !strings.Contains(errout, "has no table") || time.Since(start) > time.Minute {
			t.Fatalf("exit %d: %s", code, errout)
		}
	}
}

// A running machine is a source for every command.
func TestQMP(t *testing.T) {
	table := tableFile(t, "ipxe-chap")
	source := startQEMU(t, table, "-machine", "pc", "-m", "64")
	waitForTable(t, source)
	for line, want := range map[string]string{
		"show " + source:                              "Table " + source + " (ACPI table at 0x",
		"show --hex " + source:                        "IP address  10.0.2.15",
		"check " + source:                             "): 0 errors, 0 warnings, 1 note",
		"diff " + table + " " + source:                "",
		"find " + source:                              "\n  Linux uses this one\n",
		"find --json " + source:                       `"sysfs": "elsewhere"`,
		"convert --to dracut " + source:               "netroot=iscsi:10.0.2.2::13260:1:iqn.2026-01.com.example:secret-disk",
		"set nic0.vlan=42 -o - " + source:             "iBFT",
		"convert --to hex --reveal-secrets " + source: "69 42 46 54 ",
	} {
		if code, out, errout := runIn(t, "", line); code != cli.ExitOK || !strings.Contains(out, want) || want == "" && out != "" {
			t.Errorf("ibft %s: exit %d, %s%s; want %q", line, code, out, errout, want)
		}
	}
	if code, _, errout := runIn(t, "", "set nic0.vlan=42 "+source); code != cli.ExitFailed || !strings.Contains(errout, "use --out FILE") {
		t.Errorf("exit %d, %s", code, errout)
	}
}

// UEFI keeps its ACPI tables at the end of memory, and the table is another width of the root table's.
func TestQMPUnderUEFI(t *testing.T) {
	const firmware = "/usr/share/OVMF/OVMF_CODE_4M.fd"
	if _, err := os.Stat(firmware); err != nil {
		t.Skip("SKIP: needs " + firmware + " (apt install ovmf)")
	}
	table := tableFile(t, "edk2-chap")
	source := startQEMU(t, table, "-machine", "q35", "-m", "128", "-net", "none",
		"-drive", "if=pflash,format=raw,readonly=on,file="+firmware)
	waitForTable(t, source)
	if code, out, errout := runIn(t, "", "diff "+table+" "+source); code != cli.ExitOK {
		t.Errorf("exit %d, %s%s", code, out, errout)
	}
}

func TestQMPUnreachable(t *testing.T) {
	for source, want := range map[string]string{
		"qmp:/nonexistent":   "-qmp unix:SOCKET,server=on,wait=off",
		"qmp:127.0.0.1:1":    "connection refused",
		"qmp:" + t.TempDir(): "qmp:",
	} {
		for command, wantCode := range map[string]int{"show ": cli.ExitFailed, "check ": exitUnreadable, "convert --to json ": cli.ExitFailed} {
			if code, _, errout := runIn(t, "", command+source); code != wantCode || !strings.Contains(errout, want) {
				t.Errorf("%s%s: exit %d, %s", command, source, code, errout)
			}
		}
	}
}

func TestMemoryWords(t *testing.T) {
	for text, want := range map[string]string{
		"0000000000000000: 0x0807060504030201 0x100f0e0d0c0b0a09\r\n0000000000000010: 0x01\r\n": "0102030405060708090a0b0c0d0e0f100100000000000000",
		"0000100000000000: Cannot access memory\r\n":                                            "",
		"unknown command: 'xp'\r\n":                                                             "",
		"":                                                                                      "",
	} {
		if got := strings.ReplaceAll(strings.TrimSpace(hexLines(memoryWords(text))), " ", ""); strings.ReplaceAll(got, "\n", "") != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
}
