//go:build !bootlun_small

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bootlun/bootlun/internal/cli"
)

// Every table goes to YAML and back, by each of the three ways, and the YAML to JSON and back.
func TestYAMLRoundTrip(t *testing.T) {
	names, err := filepath.Glob(goldenDir + "*.bin")
	if err != nil || len(names) == 0 {
		t.Fatal(names, err)
	}
	for _, name := range names {
		_, text, errout := runIn(t, "", "show --yaml --reveal-secrets "+name)
		if errout != "" {
			t.Fatal(errout)
		}
		_, converted, _ := runIn(t, "", "convert --to yaml --reveal-secrets "+name)
		if converted != text {
			t.Errorf("%s: convert says\n%s\nshow says\n%s", name, converted, text)
		}
		layout, _, _ := strings.Cut(filepath.Base(name), "-")
		want, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if code, got, errout := runIn(t, text, "build - --layout "+layout); code != cli.ExitOK || got != string(want) {
			t.Errorf("%s: exit %d, %s; other bytes of\n%s", name, code, errout, text)
		}
		_, text, _ = runIn(t, text, "convert --from yaml --to json --reveal-secrets")
		if _, back, _ := runIn(t, text, "convert --from json --to yaml --reveal-secrets"); back != converted {
			t.Errorf("%s: by way of JSON\n%s\nwant\n%s", name, back, converted)
		}
	}
}

func TestYAMLMasksSecrets(t *testing.T) {
	for _, line := range []string{"show --yaml ", "convert --to yaml "} {
		if _, out, _ := runIn(t, "", line+goldenDir+"ipxe-chap.bin"); strings.Contains(out, "-secret\n") || !strings.Contains(out, "chap: mutual") {
			t.Errorf("ibft %s:\n%s", line, out)
		}
	}
}

// Text that looks like a number, a date or no is text all the same.
func TestYAMLByHand(t *testing.T) {
	const text = `
initiator: {index: 0, flags: valid, name: iqn.m}
nics:
  - {mac: 52:54:00:12:34:56, pci: 00:03.0, hostname: 012 , flags: valid}
targets:
  - flags: valid,boot-selected
    ip: 2001:db8::1
    port: 3260
    lun: 1   # hexadecimal, as everywhere
    name: iqn.2026-01.com.example:disk
    chap: chap
    chap_name: 1e3 # a thousand
    chap_secret: 0123456789012
`
	code, raw, errout := runIn(t, text, "build -")
	if code != cli.ExitOK {
		t.Fatal(errout)
	}
	_, got, _ := runIn(t, raw, "show --reveal-secrets -")
	for _, want := range []string{"host name         012", "LUN               1", "CHAP name         1e3", "CHAP secret       0123456789012"} {
		if !strings.Contains(got, want+"\n") {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
}

func TestYAMLErrors(t *testing.T) {
	for text, want := range map[string]string{
		"":                                      "yaml: nothing in it",
		"nics:\n  - colour: red":                `-: yaml: line 2: unknown field "colour"`,
		"targets:\n  - chap_secret: '********'": "masked",
		"targets:\n  - lun: x":                  `LUN "x"`,
		"oem_id: a\n---\noem_id: b":             "more than one table",
		"targets:\n  - [chap_secret, hush]":     "line 2",
		"nics:\n  - hostname: [a]":              "want text",
		"targets: {chap_secret: hush":           "line 1",
	} {
		code, _, errout := runIn(t, text, "build -")
		if code != cli.ExitFailed || !strings.Contains(errout, want) || strings.Contains(errout, "hush") {
			t.Errorf("%s: exit %d, %s; want %q", text, code, errout, want)
		}
	}
}

// The netboot image's ibft has no YAML and says so, and does all else.
func TestSmall(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIP: compiles a program, and not -short")
	}
	small := filepath.Join(t.TempDir(), "ibft")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-tags", "bootlun_small", "-o", small, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	file := write(t, "table.yaml", "oem_id: X\n")
	for line, want := range map[string]string{
		"show --yaml " + goldenDir + "ipxe-plain.bin": "without YAML: use JSON",
		"build " + file: "table.yaml: this ibft is the netboot image's",
		"show --json " + goldenDir + "ipxe-plain.bin":  `"oem_id": "FENSYS"`,
		"build " + goldenDir + "ipxe-plain.json --hex": "69 42 46 54",
	} {
		out, _ := exec.CommandContext(t.Context(), small, strings.Fields(line)...).CombinedOutput()
		if !strings.Contains(string(out), want) {
			t.Errorf("ibft %s: %s, want %q", line, out, want)
		}
	}
}
