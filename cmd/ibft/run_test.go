package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bootlun/bootlun/ibft"
	"github.com/bootlun/bootlun/internal/cli"
	"github.com/bootlun/bootlun/internal/cli/clitest"
)

const goldenDir = "../../ibft/testdata/"

// runIn runs one command line, its words separated by spaces.
func runIn(t *testing.T, stdin, line string) (code int, stdout, stderr string) {
	t.Helper()
	return runWords(t, stdin, strings.Fields(line)...)
}

func runWords(t *testing.T, stdin string, words ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errout bytes.Buffer
	code = run(t.Context(), words, strings.NewReader(stdin), &out, &errout)
	return code, out.String(), errout.String()
}

func write(t *testing.T, name, content string) string {
	t.Helper()
	name = filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestUsage(t *testing.T) {
	const ok = "--root-path iscsi:192.0.2.1::::iqn.d --initiator iqn.m "
	for line, want := range map[string]struct {
		code int
		out  string // in standard output
		err  string // in standard error
	}{
		"":                                      {cli.ExitUsage, "", "no command given"},
		"help":                                  {cli.ExitOK, "ibft COMMAND --help", ""},
		"--help":                                {cli.ExitOK, "Examples:", ""},
		"frobnicate":                            {cli.ExitUsage, "", `unknown command "frobnicate"`},
		"show --help":                           {cli.ExitOK, "--reveal-secrets", ""},
		"build --help":                          {cli.ExitOK, "--chap-secret-file FILE", ""},
		"show a b":                              {cli.ExitUsage, "", `unexpected argument "b"`},
		"show --yes":                            {cli.ExitUsage, "", "flag provided but not defined: -yes"},
		"show /nonexistent":                     {cli.ExitFailed, "", "no such file"},
		"show -":                                {cli.ExitFailed, "", "ibft: -: header at 0x0: 0 bytes"},
		"show --root /nonexistent":              {cli.ExitFailed, "", "this machine has no table"},
		"build":                                 {cli.ExitUsage, "", "wants either a file or --root-path and --initiator"},
		"build --root-path iscsi:a::::b":        {cli.ExitUsage, "", "wants either"},
		"build x.json --initiator a":            {cli.ExitUsage, "", "--initiator goes with --root-path"},
		"build /nonexistent":                    {cli.ExitFailed, "", "no such file"},
		"build -":                               {cli.ExitFailed, "", "-: "},
		"build --root-path x --initiator iqn.m": {cli.ExitFailed, "", `root path "x"`},
		"build " + ok + "--mac 1":               {cli.ExitUsage, "", "invalid value"},
		"build " + ok + "--ip 192.0.2.1":        {cli.ExitUsage, "", "invalid value"},
		"build " + ok + "--vlan 4095":           {cli.ExitUsage, "", "want a number up to 4094"},
		"build " + ok + "--vlan 12a":            {cli.ExitUsage, "", "want a number up to 4094"},
		"build " + ok + "--layout ibm":          {cli.ExitUsage, "", "not one of"},
		"build " + ok + "--signature DSDT":      {cli.ExitFailed, "", `signature "DSDT"`},
		"build " + ok + "--max-size 100":        {cli.ExitFailed, "", "does not fit"},
		"build " + ok + "--chap-name a":         {cli.ExitFailed, "", "CHAP wants both"},
		"build " + ok + "--chap-secret-file /nonexistent": {cli.ExitFailed, "", "read the secret"},
		"build " + ok + "--out /nonexistent/x":            {cli.ExitFailed, "", "no such file"},
	} {
		code, out, errout := runIn(t, "", line)
		if code != want.code || !strings.Contains(out, want.out) || !strings.Contains(errout, want.err) {
			t.Errorf("ibft %s: exit %d, output %q, error %q; want %+v", line, code, out, errout, want)
		}
		if want.err == "" && errout != "" || want.out == "" && out != "" {
			t.Errorf("ibft %s: unexpected output %q, error %q", line, out, errout)
		}
	}
}

func TestShow(t *testing.T) {
	code, out, errout := runIn(t, "", "show "+goldenDir+"ipxe-chap.bin")
	if code != cli.ExitOK || errout != "" {
		t.Fatalf("exit %d: %s", code, errout)
	}
	for _, want := range []string{
		"made by           FENSYS iPXE", "address           10.0.2.15/24 (dhcp)", "portal            10.0.2.2:13260",
		"CHAP secret       ********", "Paths 1 usable",
		"NIC 0 > target 0  iscsi:10.0.2.2::13260:1:iqn.2026-01.com.example:secret-disk",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in:\n%s", want, out)
		}
	}
}

func TestShowSecrets(t *testing.T) {
	for _, form := range []string{"", " --json"} {
		_, masked, _ := runIn(t, "", "show "+goldenDir+"ipxe-chap.bin"+form)
		_, clear, _ := runIn(t, "", "show --reveal-secrets "+goldenDir+"ipxe-chap.bin"+form)
		for _, secret := range []string{"machine-secret", "server-secret"} {
			if strings.Contains(masked, secret) {
				t.Errorf("show%s gives %s away", form, secret)
			}
			if !strings.Contains(clear, secret) {
				t.Errorf("show%s does not reveal %s", form, secret)
			}
		}
	}
}

// A table's strings do not reach the terminal as they are.
func TestShowQuotes(t *testing.T) {
	table := &ibft.Table{Initiator: &ibft.Initiator{Name: "iqn.\x1b[2Jevil"}}
	b, err := table.Build(ibft.BuildOptions{})
	if err != nil {
		t.Fatal(err)
	}
	_, out, _ := runIn(t, string(b), "show -")
	if strings.Contains(out, "\x1b") || !strings.Contains(out, `"iqn.\x1b[2Jevil"`) {
		t.Errorf("printed %q", out)
	}
}

func TestShowThisMachine(t *testing.T) {
	raw, err := os.ReadFile(goldenDir + "ipxe-plain.bin")
	if err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	tables := filepath.Join(root, "sys/firmware/acpi/tables")
	if err := os.MkdirAll(tables, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string][]byte{"IBFT": raw[:100], "iBFT": raw, "BIFT": raw} {
		if err := os.WriteFile(filepath.Join(tables, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	code, out, errout := runIn(t, "", "show --root "+root)
	if code != cli.ExitOK || !strings.HasPrefix(out, "Table /sys/firmware/acpi/tables/iBFT\n") ||
		!strings.Contains(out, "also at           /sys/firmware/acpi/tables/BIFT") {
		t.Errorf("exit %d:\n%s", code, out)
	}
	if !strings.Contains(errout, "warning: /sys/firmware/acpi/tables/IBFT") {
		t.Errorf("no warning of the broken table: %s", errout)
	}
}

func TestBuild(t *testing.T) {
	out := filepath.Join(t.TempDir(), "table.bin")
	secret, reverse := write(t, "secret", "s3cret\n"), write(t, "reverse", "r3verse")
	code, stdout, errout := runIn(t, "", "build --root-path iscsi:192.0.2.1:::1:iqn.d --root-path iscsi:[2001:db8::1]::::iqn.d"+
		" --initiator iqn.m --hostname m --mac 52:54:00:12:34:56 --pci 00:03.0 --ip 192.0.2.10/24 --gateway 192.0.2.254"+
		" --dns 192.0.2.53 --dns2 192.0.2.54 --vlan 42 --chap-name u --chap-secret-file "+secret+
		" --reverse-chap-name v --reverse-chap-secret-file "+reverse+" --layout ipxe --signature IBFT --out "+out)
	if code != cli.ExitOK || stdout != "" || errout != "" {
		t.Fatalf("exit %d: %s%s", code, stdout, errout)
	}
	if info, err := os.Stat(out); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v: a file with secrets that others may read", info.Mode(), err)
	}
	_, got, _ := runIn(t, "", "show --reveal-secrets "+out)
	want := `
  signature         IBFT
  made by           BOOTLN bootlun

Initiator valid,boot-selected
  name              iqn.m

NIC 0 valid,boot-selected,global
  MAC               52:54:00:12:34:56
  PCI               00:03.0
  address           192.0.2.10/24 (manual)
  gateway           192.0.2.254
  DNS server        192.0.2.53
  DNS server 2      192.0.2.54
  VLAN              42
  host name         m

Target 0 valid,boot-selected
  name              iqn.d
  portal            192.0.2.1:3260
  LUN               1
  by NIC            0
  authentication    mutual
  CHAP name         u
  CHAP secret       s3cret
  reverse name      v
  reverse secret    r3verse

Target 1 valid,boot-selected
  name              iqn.d
  portal            [2001:db8::1]:3260
  LUN               0
  by NIC            0
  authentication    mutual
  CHAP name         u
  CHAP secret       s3cret
  reverse name      v
  reverse secret    r3verse

Paths 2 usable, the preferred one first
  NIC 0 > target 0  iscsi:192.0.2.1:::1:iqn.d
  NIC 0 > target 1  iscsi:[2001:db8::1]::::iqn.d
`
	if want = "Table " + out + want; got != want {
		t.Errorf("shown as:\n%s\nwant:\n%s", got, want)
	}
}

// What show prints as JSON, build makes the same table of.
func TestBuildFromJSON(t *testing.T) {
	names, err := filepath.Glob(goldenDir + "*.bin")
	if err != nil || len(names) == 0 {
		t.Fatal(names, err)
	}
	for _, name := range names {
		want, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		_, text, _ := runIn(t, "", "show --json --reveal-secrets "+name)
		layout, _, _ := strings.Cut(filepath.Base(name), "-")
		code, got, errout := runIn(t, text, "build - --layout "+layout)
		if code != cli.ExitOK || got != string(want) {
			t.Errorf("%s: exit %d, %s; %x, want %x", name, code, errout, got, want)
		}
	}
}

func TestBuildFromJSONErrors(t *testing.T) {
	for text, want := range map[string]string{
		`{"nics":[{"colour":"red"}]}`:              "unknown field",
		`{"targets":[{"chap_secret":"********"}]}`: "masked",
		`{"targets":[{"lun":"x"}]}`:                `LUN "x"`,
		`{} {}`:                                    "more than one table",
	} {
		if code, _, errout := runIn(t, text, "build -"); code != cli.ExitFailed || !strings.Contains(errout, want) {
			t.Errorf("%s: exit %d, %s; want %q", text, code, errout, want)
		}
	}
}

func TestBuildCPIO(t *testing.T) {
	raw, err := os.ReadFile(goldenDir + "ipxe-plain.bin")
	if err != nil {
		t.Fatal(err)
	}
	want, err := ibft.EarlyCPIO(raw)
	if err != nil {
		t.Fatal(err)
	}
	if code, got, errout := runIn(t, "", "build "+goldenDir+"ipxe-plain.json --layout ipxe --cpio"); code != cli.ExitOK || got != string(want) {
		t.Errorf("exit %d, %s; %d bytes, want %d", code, errout, len(got), len(want))
	}
}

// A server's name is looked up; when the caller gives up, so does build.
func TestBuildCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var out, errout bytes.Buffer
	args := strings.Fields("build --root-path iscsi:disks.invalid::::iqn.d --initiator iqn.m")
	if code := run(ctx, args, nil, &out, &errout); code != cli.ExitFailed || !strings.Contains(errout.String(), `server "disks.invalid"`) {
		t.Errorf("exit %d, %s", code, errout.String())
	}
}

// What --help, the man page and the completion say of a command is all there.
func TestEveryCommandIsDescribed(t *testing.T) { clitest.Described(t, program) }
