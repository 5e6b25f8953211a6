package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bootlun/bootlun/internal/cli"
)

// tableFile returns a file of the test's own that holds a golden table.
func tableFile(t *testing.T, golden string) string {
	t.Helper()
	b, err := os.ReadFile(goldenDir + golden + ".bin")
	if err != nil {
		t.Fatal(err)
	}
	return write(t, golden+".bin", string(b))
}

func TestDiff(t *testing.T) {
	plain, chap := goldenDir+"ipxe-plain.bin ", goldenDir+"ipxe-chap.bin "
	for line, want := range map[string]struct {
		code     int
		out, err string
	}{
		"diff --help":                    {cli.ExitOK, "ibft diff before.bin after.bin", ""},
		"diff":                           {cli.ExitUsage, "", "wants two tables"},
		"diff - -":                       {cli.ExitUsage, "", "only one of the two"},
		"diff " + plain + plain:          {cli.ExitOK, "", ""},
		"diff --json " + plain + plain:   {cli.ExitOK, "[]\n", ""},
		"diff " + plain + chap:           {exitDiffer, "target0.chap                 none > mutual\n", ""},
		"diff --json " + plain + chap:    {exitDiffer, `"path": "target0.chap"`, ""},
		"diff " + plain + "/nonexistent": {exitUnreadable, "", "no such file"},
		"diff - " + plain:                {exitUnreadable, "", "ibft: -: "},
	} {
		code, out, errout := runIn(t, "", line)
		if code != want.code || !strings.Contains(out, want.out) || !strings.Contains(errout, want.err) ||
			(want.err == "") != (errout == "") || (want.out == "") != (out == "") {
			t.Errorf("ibft %s: exit %d, output %q, error %q; want %+v", line, code, out, errout, want)
		}
		if strings.Contains(out, "machine-secret") {
			t.Errorf("ibft %s gives a secret away", line)
		}
	}
}

func TestDiffSecret(t *testing.T) {
	a, b := tableFile(t, "ipxe-chap"), tableFile(t, "ipxe-chap")
	runIn(t, "new", "set target0.chap_secret@=- "+b)
	if code, out, _ := runIn(t, "", "diff "+a+" "+b); code != exitDiffer || out != "target0.chap_secret          differs\n" {
		t.Errorf("exit %d, %q", code, out)
	}
}

func TestSetInPlace(t *testing.T) {
	file, secret := tableFile(t, "ipxe-plain"), write(t, "secret", "s3cret\n")
	code, out, errout := runIn(t, "", "set target0.ip=2001:db8::1 nic0.vlan=42 initiator.name=iqn.x target0.chap_secret@="+secret+" "+file)
	if code != cli.ExitOK || out+errout != "" {
		t.Fatalf("exit %d: %s%s", code, out, errout)
	}
	_, got, _ := runIn(t, "", "diff "+goldenDir+"ipxe-plain.bin "+file)
	want := `initiator.name               iqn.2026-01.com.example:machine > iqn.x
nic0.vlan                    0 > 42
target0.ip                   10.0.2.2 > 2001:db8::1
target0.chap_secret          (none) > ********
`
	if got != want {
		t.Errorf("changed:\n%swant:\n%s", got, want)
	}
	if _, shown, _ := runIn(t, "", "show --reveal-secrets "+file); !strings.Contains(shown, " s3cret\n") {
		t.Errorf("the secret is not what the file holds:\n%s", shown)
	}
	if left, _ := filepath.Glob(filepath.Dir(file) + "/.*"); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestSetElsewhere(t *testing.T) {
	file := tableFile(t, "edk2-chap")
	before, _ := os.ReadFile(file)
	out := filepath.Join(t.TempDir(), "new.bin")
	if code, _, errout := runIn(t, "", "set nic0.vlan=42 "+file+" -o "+out); code != cli.ExitOK {
		t.Fatal(errout)
	}
	if after, _ := os.ReadFile(file); string(after) != string(before) {
		t.Error("the source changed")
	}
	written, _ := os.ReadFile(out)
	if code, piped, errout := runIn(t, string(before), "set nic0.vlan=42 -"); code != cli.ExitOK || piped != string(written) {
		t.Errorf("through a pipe: exit %d, %s; other bytes than to a file", code, errout)
	}
	if _, d, _ := runIn(t, "", "diff "+file+" "+out); d != "nic0.vlan                    0 > 42\n" {
		t.Errorf("changed:\n%s", d)
	}
}

// What is not just a table is not overwritten by one.
func TestSetKeepsWhatFollows(t *testing.T) {
	b, err := os.ReadFile(goldenDir + "ipxe-plain.bin")
	if err != nil {
		t.Fatal(err)
	}
	file := write(t, "more", string(b)+"more")
	code, _, errout := runIn(t, "", "set nic0.vlan=42 "+file)
	if code != cli.ExitFailed || !strings.Contains(errout, "use --out FILE") {
		t.Errorf("exit %d, %s", code, errout)
	}
	if after, _ := os.ReadFile(file); string(after) != string(b)+"more" {
		t.Error("the file changed")
	}
}

func TestSetUsage(t *testing.T) {
	file := tableFile(t, "ipxe-plain")
	for line, want := range map[string]struct {
		code     int
		out, err string
	}{
		"set --help":                                    {cli.ExitOK, "--out FILE", ""},
		"set":                                           {cli.ExitUsage, "", "wants either FIELD=VALUE or --list"},
		"set --list nic0.vlan=1":                        {cli.ExitUsage, "", "wants either"},
		"set nic0.vlan=1":                               {cli.ExitUsage, "", "wants a file, or --out"},
		"set nic0.vlan=1 a b":                           {cli.ExitUsage, "", `"b" is no FIELD=VALUE`},
		"set --list " + file:                            {cli.ExitOK, "\ntarget0.chap_secret\n", ""},
		"set nic0.colour=red " + file:                   {cli.ExitFailed, "", "it has: signature"},
		"set nic0.vlan=red " + file:                     {cli.ExitFailed, "", "nic0.vlan: "},
		"set target0.chap_secret=x " + file:             {cli.ExitUsage, "", "use target0.chap_secret@=FILE"},
		"set target0.chap_secret@= " + file:             {cli.ExitUsage, "", "names no file"},
		"set target0.chap_secret@=/nonexistent " + file: {cli.ExitFailed, "", "no such file"},
		"set nic0.vlan=1 /nonexistent/=":                {cli.ExitFailed, "", "no such file"},
		"set nic0.vlan=1 --root /nonexistent --out x":   {cli.ExitFailed, "", "no table"},
	} {
		code, out, errout := runIn(t, "", line)
		if code != want.code || !strings.Contains(out, want.out) || !strings.Contains(errout, want.err) {
			t.Errorf("ibft %s: exit %d, output %q, error %q; want %+v", line, code, out, errout, want)
		}
	}
}
