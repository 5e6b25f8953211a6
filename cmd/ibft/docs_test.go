//go:build !bootlun_small

package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bootlun/bootlun/ibft"
	"github.com/bootlun/bootlun/internal/cli/clitest"
)

var update = flag.Bool("update", false, "write docs/ibft.md anew, with what the commands in it print")

const (
	docsFile = "../../docs/ibft.md"
	// docsHome stands in the documentation for the folder that the commands run in.
	docsHome  = "/home/me"
	docsRules = "<!-- from here on made of \"ibft check --rules\" -->\n"
)

// The commands in docs/ibft.md print what it says they do, and its list of rules is the one that check has.
func TestDocs(t *testing.T) {
	b, err := os.ReadFile(docsFile)
	if err != nil {
		t.Fatal(err)
	}
	want := string(b)
	text, _, ok := strings.Cut(want, docsRules)
	if !ok {
		t.Fatalf("%s: no %s", docsFile, docsRules)
	}
	rerun := clitest.Rerun{Dir: docsFiles(t), Shown: docsHome, Path: clitest.ProgramDir(t, "ibft")}
	got := rerun.Text(t, text) + docsRules + rulesForDocs()
	if *update {
		if err := os.WriteFile(docsFile, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	clitest.SameText(t, docsFile, got, want)
}

// docsFiles returns a folder with what the commands work on.
func docsFiles(t *testing.T) string {
	t.Helper()
	raw, err := os.ReadFile(goldenDir + "ipxe-chap.bin")
	if err != nil {
		t.Fatal(err)
	}
	plain, err := os.ReadFile(goldenDir + "ipxe-plain.bin")
	if err != nil {
		t.Fatal(err)
	}
	home := t.TempDir()
	files := map[string]string{
		"table.bin": string(raw), "other.bin": string(plain), "machine.yaml": docsYAML, "lease.json": docsLease,
		"server/sys/firmware/acpi/tables/iBFT":  string(plain),
		"server/sys/class/net/ens3/address":     "52:54:00:12:34:56\n",
		"server/sys/class/net/ens3/device/name": "",
	}
	for name, content := range plainSysfs() {
		files["server/sys/firmware/"+name] = content
	}
	for name, content := range files {
		name = filepath.Join(home, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return home
}

const (
	docsYAML = `initiator:
  flags: valid,boot-selected
  name: iqn.2026-01.com.example:machine
  isns: 192.0.2.5
nics:
  - {index: 0, flags: valid, mac: 52:54:00:12:34:56, ip: 192.0.2.10, prefix_len: 24, origin: manual}
  - {index: 1, flags: valid, mac: 52:54:00:12:34:57, origin: dhcp}
targets:
  - index: 0
    flags: valid,boot-selected
    nic: 0
    ip: 192.0.2.1
    port: 3260
    lun: 1
    name: iqn.2026-01.com.example:disk
`
	docsLease = `{
  "ip-address": "192.0.2.10", "hw-address": "52:54:00:12:34:56",
  "options": {
    "1": "255.255.255.0", "3": ["192.0.2.254"], "12": "machine", "54": "192.0.2.3",
    "17": "iscsi:192.0.2.1::::iqn.2026-01.com.example:disk",
    "203": "iqn.2026-01.com.example:machine"
  }
}
`
)

// rulesForDocs returns the rules as tables, the specification's and then each group of consumers'.
func rulesForDocs() string {
	var b strings.Builder
	group := "-"
	for _, r := range ibft.Rules() {
		if who := strings.Join(names(r.Consumers), ", "); who != group {
			group = who
			title := "By the specification"
			if who != "" {
				title = "For " + who
			}
			fmt.Fprintf(&b, "\n### %s\n\n| rule | severity | from | what is found | remedy |\n|---|---|---|---|---|\n", title)
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s |\n", r.ID, r.Severity, r.Section, r.Summary, r.Remedy)
	}
	return b.String()
}
