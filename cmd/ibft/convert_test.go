package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bootlun/bootlun/ibft"
	"github.com/bootlun/bootlun/internal/cli"
)

func TestConvertTo(t *testing.T) {
	file := tableFile(t, "ipxe-chap")
	for _, f := range ibft.Formats() {
		if !f.Export {
			continue
		}
		line := "convert --reveal-secrets --to " + string(f.Format) + " " + file
		code, out, errout := runIn(t, "", line)
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		table, err := ibft.Parse(raw)
		if err != nil {
			t.Fatal(err)
		}
		want, err := table.Export(f.Format, ibft.ExportOptions{RevealSecrets: true, File: file})
		if err != nil {
			t.Fatal(err)
		}
		if code != cli.ExitOK || out != string(want.Bytes) {
			t.Errorf("ibft %s: exit %d, %s\n%s\nwant\n%s", line, code, errout, out, want.Bytes)
		}
		for _, n := range want.Notes {
			if !strings.Contains(errout, "note: "+n) {
				t.Errorf("ibft %s: no note %q in %q", line, n, errout)
			}
		}
	}
}

func TestConvertWritesTable(t *testing.T) {
	file := tableFile(t, "ipxe-chap")
	table, line := filepath.Join(t.TempDir(), "new.bin"), filepath.Join(t.TempDir(), "line")
	code, out, errout := runIn(t, "", "convert --to qemu --table "+table+" --out "+line+" "+file)
	if code != cli.ExitOK || out != "" || !strings.Contains(errout, "secrets are left out") {
		t.Fatalf("exit %d, %q, %q", code, out, errout)
	}
	if got, _ := os.ReadFile(line); string(got) != "-acpitable file="+table+"\n" {
		t.Errorf("%q", got)
	}
	want := "target0.chap_secret          ******** > (none)\ntarget0.reverse_chap_secret  ******** > (none)\n"
	if _, d, _ := runIn(t, "", "diff "+file+" "+table); d != want {
		t.Errorf("the new file differs in\n%s", d)
	}
}

// Every text that can be read makes the table that it came from, as far as it says all of it.
func TestConvertFrom(t *testing.T) {
	const cmdline = "quiet ip=192.0.2.10::192.0.2.254:255.255.255.0:machine:eth0:none rd.iscsi.initiator=iqn.m netroot=iscsi:192.0.2.1::::iqn.d"
	file := write(t, "cmdline", cmdline)
	out := filepath.Join(t.TempDir(), "table.bin")
	if code, _, errout := runIn(t, "", "convert --from dracut "+file+" --out "+out); code != cli.ExitOK {
		t.Fatal(errout)
	}
	_, shown, _ := runIn(t, "", "show "+out)
	for _, want := range []string{"192.0.2.10/24 (manual)", "192.0.2.254", "iscsi:192.0.2.1::::iqn.d"} {
		if !strings.Contains(shown, want) {
			t.Errorf("no %q in\n%s", want, shown)
		}
	}
	for _, to := range []string{"json", "open-iscsi", "ipxe", "dracut"} {
		_, text, _ := runIn(t, cmdline, "convert --from dracut --to "+to)
		code, raw, errout := runIn(t, text, "convert --from "+to)
		if code != cli.ExitOK {
			t.Errorf("%s: exit %d, %s", to, code, errout)
		}
		if _, d, _ := runIn(t, raw, "diff - "+out); strings.Contains(d, "target") || strings.Contains(d, ".ip ") {
			t.Errorf("by way of %s:\n%s", to, d)
		}
	}
}

func TestConvertUsage(t *testing.T) {
	file := tableFile(t, "ipxe-plain")
	trailing := write(t, "more", "x")
	b, _ := os.ReadFile(file)
	if err := os.WriteFile(trailing, append(b, "more"...), 0o600); err != nil {
		t.Fatal(err)
	}
	for line, want := range map[string]struct {
		code     int
		out, err string
	}{
		"convert --help":                          {cli.ExitOK, "  dracut          to, from  ", ""},
		"convert":                                 {cli.ExitUsage, "", "wants --to or --from"},
		"convert --to docx " + file:               {cli.ExitUsage, "", `format "docx" cannot be written`},
		"convert --from netplan x":                {cli.ExitUsage, "", "cannot be read"},
		"convert --to json --table x " + file:     {cli.ExitUsage, "", "--table is not for it"},
		"convert --from json --to qemu x":         {cli.ExitUsage, "", "--table FILE is wanted"},
		"convert --to qemu -":                     {cli.ExitFailed, "", "ibft: -: "},
		"convert --to qemu " + trailing:           {cli.ExitFailed, "", "just the table's bytes"},
		"convert --to json /nonexistent":          {cli.ExitFailed, "", "no such file"},
		"convert --from dracut /nonexistent":      {cli.ExitFailed, "", "no such file"},
		"convert --from dracut":                   {cli.ExitFailed, "", "netroot: none is there"},
		"convert --to json --root /nowhere":       {cli.ExitFailed, "", "no table"},
		"convert --to xl --table /nope/x " + file: {cli.ExitFailed, "", "no such file"},
	} {
		code, out, errout := runIn(t, "", line)
		if code != want.code || !strings.Contains(out, want.out) || !strings.Contains(errout, want.err) {
			t.Errorf("ibft %s: exit %d, output %q, error %q; want %+v", line, code, out, errout, want)
		}
	}
}
