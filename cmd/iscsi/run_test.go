package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bootlun/bootlun/internal/bytesize"
	"github.com/bootlun/bootlun/internal/cli"
	"github.com/bootlun/bootlun/internal/cli/clitest"
	"github.com/bootlun/bootlun/internal/peers"
	"github.com/bootlun/bootlun/iscsi"
)

const (
	testTarget = "iqn.2026-01.org.bootlun:command"
	testSecret = "a secret of alice's"
)

// runIn runs one command line, its words separated by spaces, in an environment
// with one variable.
func runIn(t *testing.T, stdin, line string) (code int, stdout, stderr string) {
	t.Helper()
	t.Setenv("SECRET", testSecret)
	var out, errout bytes.Buffer
	code = program().Run(t.Context(), strings.Fields(line), strings.NewReader(stdin), &out, &errout)
	return code, out.String(), errout.String()
}

func TestUsage(t *testing.T) {
	const url = " iscsi://192.0.2.1/iqn.2026-01.com.example:disk/1"
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, []byte("\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for line, want := range map[string]struct {
		code int
		out  string // in standard output
		err  string // in standard error
	}{
		"":                {cli.ExitUsage, "", "no command given"},
		"--help":          {cli.ExitOK, "Examples:", ""},
		"help":            {cli.ExitOK, "iscsi COMMAND --help", ""},
		"frobnicate":      {cli.ExitUsage, "", `unknown command "frobnicate"`},
		"discover --help": {cli.ExitOK, "--chap-secret-file FILE", ""},
		"info --help":     {cli.ExitOK, "--json", ""},
		"read --help":     {cli.ExitOK, "--length BYTES", ""},
		"write --help":    {cli.ExitOK, "OVERWRITING", ""},
		"discover":        {cli.ExitUsage, "", "no portal given"},
		"info a b":        {cli.ExitUsage, "", `unexpected argument "b"`},
		"discover a:b":    {cli.ExitUsage, "", "is no port"},
		"read":            {cli.ExitUsage, "", "no URL given"},
		"read x":          {cli.ExitUsage, "", "is neither iscsi://HOST/TARGET/LUN nor a root path"},
		"read iscsi:::::iqn.2026-01.com.example:disk":         {cli.ExitUsage, "", "names no server"},
		"read iscsi://192.0.2.1":                              {cli.ExitUsage, "", "names no target"},
		"read iscsi://192.0.2.1/iqn.2026-01.com.e:d":          {cli.ExitUsage, "", "names no LUN"},
		"read iscsi://192.0.2.1/iqn.2026-01.com.e:d/one":      {cli.ExitUsage, "", `LUN "one"`},
		"read iscsi://a%b@192.0.2.1/iqn.d/1":                  {cli.ExitUsage, "", "a secret has no place in a URL"},
		"read iscsi://a@192.0.2.1/iqn.d/1":                    {cli.ExitUsage, "", "CHAP wants both"},
		"read --chap-secret-env SECRET" + url:                 {cli.ExitUsage, "", "CHAP wants both"},
		"read --chap-user a --chap-secret-env X" + url:        {cli.ExitFailed, "", "the environment has no X"},
		"read --chap-secret-file /nonexistent" + url:          {cli.ExitFailed, "", "no such file"},
		"read --chap-secret-file " + empty + url:              {cli.ExitFailed, "", "is empty"},
		"read --chap-secret-file x --chap-secret-env y" + url: {cli.ExitUsage, "", "exclude each other"},
		"read --target-secret-env SECRET" + url:               {cli.ExitUsage, "", "only to who has"},
		"read --target-user bob" + url:                        {cli.ExitUsage, "", "--target-user wants"},
		"read --header-digest maybe" + url:                    {cli.ExitUsage, "", "want no, allow, prefer or require"},
		"read --offset -1" + url:                              {cli.ExitUsage, "", "want a number of bytes"},
		"read --timeout 0s" + url:                             {cli.ExitUsage, "", "is not positive"},
		"read --connections 0" + url:                          {cli.ExitUsage, "", "from 1 to 32"},
		"read --recovery-level 3" + url:                       {cli.ExitUsage, "", "is 0, 1 or 2"},
		"read --initiator me" + url:                           {cli.ExitUsage, "", "--initiator"},
		"write -i /nonexistent" + url:                         {cli.ExitFailed, "", "no such file"},
		"write -i /" + url:                                    {cli.ExitFailed, "", "is a directory"},
		"copy x y":                                            {cli.ExitUsage, "", "is a URL"},
		"copy iscsi:x iscsi:y":                                {cli.ExitUsage, "", "two URLs"},
		"copy x":                                              {cli.ExitUsage, "", "wants a URL and a FILE"},
		"verify" + url + " /nonexistent":                      {cli.ExitFailed, "", "no such file"},
		"bench --kind write" + url:                            {cli.ExitUsage, "", "--overwrite"},
		"bench --depth 0" + url:                               {cli.ExitUsage, "", "--depth"},
		"bench --kind swim" + url:                             {cli.ExitUsage, "", "want one of"},
		"cdb" + url:                                           {cli.ExitUsage, "", "0 bytes"},
		"cdb" + url + " zz":                                   {cli.ExitUsage, "", "invalid byte"},
		"cdb --in 1 --out 00" + url + " 000000000000":         {cli.ExitUsage, "", "reads or writes"},
		"reserve" + url + " grab":                             {cli.ExitUsage, "", "want one of show"},
		"reserve" + url + " register":                         {cli.ExitUsage, "", "--key"},
		"reserve --key x" + url:                               {cli.ExitUsage, "", "want a number"},
		"reserve --key 1" + url + " preempt":                  {cli.ExitUsage, "", "--victim"},
		"read --isid 12" + url:                                {cli.ExitUsage, "", "--isid"},
		"read --portal a:b" + url:                             {cli.ExitUsage, "", "portal"},
		"read --recover -1s" + url:                            {cli.ExitUsage, "", "--recover"},
		"discover --isns --slp x":                             {cli.ExitUsage, "", "one of --isns"},
		"discover --firmware a b":                             {cli.ExitUsage, "", "one FILE"},
		"discover --firmware --root /nonexistent":             {exitNothingFound, "", "no table"},
		"sessions -P 4":                                       {cli.ExitUsage, "", "0 to 3"},
		"sessions --root /nonexistent":                        {exitNothingFound, "", "no sessions"},
		"detach":                                              {cli.ExitUsage, "", "--all"},
		"attach --portal x" + url:                             {cli.ExitUsage, "", "one portal"},
		"discover 127.0.0.1:1":                                {exitNoConnection, "", "nothing listens there"},
	} {
		code, out, errout := runIn(t, "", line)
		if code != want.code || !strings.Contains(out, want.out) || !strings.Contains(errout, want.err) {
			t.Errorf("iscsi %s: exit %d, output %q, error %q; want %+v", line, code, out, errout, want)
		}
		if want.err == "" && errout != "" || want.out == "" && out != "" {
			t.Errorf("iscsi %s: unexpected output %q, error %q", line, out, errout)
		}
	}
}

func TestParseLocation(t *testing.T) {
	const iqn = "iqn.2026-01.com.example:disk"
	lun := func(n int) iscsi.LUN { l, _ := iscsi.MakeLUN(n); return l }
	for s, want := range map[string]location{
		"iscsi://192.0.2.1/" + iqn + "/1":                       {"", "192.0.2.1:3260", iqn, lun(1), true},
		"iscsi://192.0.2.1/" + iqn:                              {"", "192.0.2.1:3260", iqn, 0, false},
		"iscsi://192.0.2.1/" + iqn + "/":                        {"", "192.0.2.1:3260", iqn, 0, false},
		"iscsi://alice@host:13260/" + iqn + "/300":              {"alice", "host:13260", iqn, lun(300), true},
		"iscsi://[2001:db8::1]:1/" + iqn + "/0":                 {"", "[2001:db8::1]:1", iqn, 0, true},
		"iscsi://h/" + iqn + "/4001-0002-0000-0000":             {"", "h:3260", iqn, 0x4001_0002_0000_0000, true},
		"iscsi:192.0.2.1::::" + iqn:                             {"", "192.0.2.1:3260", iqn, 0, true},
		"iscsi:192.0.2.1:6:13260:2:" + iqn:                      {"", "192.0.2.1:13260", iqn, lun(2), true},
		"iscsi:[2001:db8::1]:::4001-2-0-0:eui.0123456789abcdef": {"", "[2001:db8::1]:3260", "eui.0123456789abcdef", 0x4001_0002_0000_0000, true},
	} {
		if got, err := parseLocation(s); err != nil || got != want {
			t.Errorf("%s: %+v, %v; want %+v", s, got, err, want)
		}
	}
}

func TestSize(t *testing.T) {
	for s, want := range map[string]int64{
		"0": 0, "4096": 4096, "0x1000": 4096, "4K": 4096, "4KiB": 4096, "3M": 3 << 20, "2G": 2 << 30, "1TiB": 1 << 40,
		"": -1, "K": -1, "-1": -1, "1X": -1, "9999999T": -1, "1.5M": -1,
	} {
		var f sizeFlag
		if err := f.Set(s); (err == nil) != (want >= 0) || err == nil && f.bytes != want {
			t.Errorf("%q: %d, %v", s, f.bytes, err)
		}
	}
	for n, want := range map[int64]string{0: "0 bytes", 1023: "1023 bytes", 1024: "1 KiB", 1 << 20: "1 MiB", 10e9: "9.313 GiB"} {
		if got := bytesize.Format(n); got != want {
			t.Errorf("%d: %s", n, got)
		}
	}
}

// startTGT starts a tgtd with a target of one disk of 8 MiB as LUN 1, and another
// that wants CHAP.
func startTGT(t *testing.T) (portal string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "bootlun-iscsi")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	disk := filepath.Join(dir, "disk")
	if err := os.WriteFile(disk, make([]byte, 8<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	g := peers.TGTFor(t, "127.0.0.1")
	if _, err := g.Target(testTarget, []string{disk}); err != nil {
		t.Fatal(err)
	}
	tid, err := g.Target(testTarget+"-chap", []string{disk})
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Account(tid, "alice", testSecret, false); err != nil {
		t.Fatal(err)
	}
	return g.Portal
}

// The whole command against tgt.
func TestTGT(t *testing.T) {
	portal := startTGT(t)
	url := "iscsi://" + portal + "/" + testTarget + "/1"
	must := func(stdin, line string) string {
		t.Helper()
		code, out, errout := runIn(t, stdin, line)
		if code != cli.ExitOK || errout != "" {
			t.Fatalf("iscsi %s: exit %d: %s", line, code, errout)
		}
		return out
	}

	if out := must("", "discover "+portal); !strings.Contains(out, portal+",1 "+testTarget+"\n") {
		t.Errorf("discover: %s", out)
	}
	var targets []jsonTarget
	if err := json.Unmarshal([]byte(must("", "discover --json "+portal)), &targets); err != nil || len(targets) != 2 ||
		targets[0].Addresses[0].Portal != portal || *targets[0].Addresses[0].Tag != 1 {
		t.Errorf("discover --json: %+v, %v", targets, err)
	}

	out := must("", "info "+url)
	for _, want := range []string{testTarget, portal, "8 MiB (8388608 bytes)", "VIRTUAL-DISK", "LUN 0", "no disk", "naa.6", "VPD 0xb0", "512 bytes", "MaxBurstLength", "Reached by"} {
		if !strings.Contains(out, want) {
			t.Errorf("info: no %q in\n%s", want, out)
		}
	}
	var r report
	if err := json.Unmarshal([]byte(must("", "info --json "+url)), &r); err != nil || r.LUN == nil || r.LUN.Bytes != 8<<20 ||
		len(r.LUNs) != 2 || r.Negotiated.MaxBurstLength == 0 {
		t.Errorf("info --json: %+v, %v", r, err)
	}
	if out := must("", "info iscsi://"+portal+"/"+testTarget); strings.Contains(out, "Serial") {
		t.Errorf("info without a LUN tells of one:\n%s", out)
	}

	data := make([]byte, 5<<20+77)
	for i := range data {
		data[i] = byte(rand.Uint32())
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	must("", "write "+url+" --offset 1001 -i "+file)
	must("in between", "write "+url+" --offset 3K")
	copy(data[3072-1001:], "in between")
	root := strings.Replace(portal, ":", "::", 1)
	if got := must("", fmt.Sprintf("read iscsi:%s:1:%s --offset 1001 --length %d", root, testTarget, len(data))); got != string(data) {
		t.Error("read: not what was written")
	}
	whole := file + ".whole"
	must("", "read -o "+whole+" --header-digest allow "+url)
	if got, err := os.ReadFile(whole); err != nil || len(got) != 8<<20 || !bytes.Equal(got[1001:][:len(data)], data) {
		t.Errorf("read -o: %d bytes, %v", len(got), err)
	}

	for line, want := range map[string]string{
		"read --offset 9M " + url:                       "go beyond its end",
		"read --offset 1 --length 8M " + url:            "go beyond its end",
		"write --offset 8388000 -i " + file + " " + url: "do not fit",
		"read " + url[:len(url)-1] + "0":                "no disk at this LUN",
		"read " + url[:len(url)-1] + "9":                "no disk at this LUN",
		"info iscsi://" + portal + "/iqn.2026-01.x:y":   "target not found",
	} {
		if code, _, errout := runIn(t, "", line); code == cli.ExitOK || code == cli.ExitUsage || !strings.Contains(errout, want) {
			t.Errorf("iscsi %s: exit %d: %s", line, code, errout)
		}
	}
	if code, _, errout := runIn(t, strings.Repeat("x", 600), "write --offset 8388096 "+url); code != cli.ExitFailed || !strings.Contains(errout, "beyond the end") {
		t.Errorf("write from a pipe over the end: exit %d: %s", code, errout)
	}
}

// CHAP with the secret from a file and from the environment; it never shows.
func TestTGTCHAP(t *testing.T) {
	portal := startTGT(t)
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte(testSecret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	url := portal + "/" + testTarget + "-chap/1"
	for line, want := range map[string]int{
		"info --chap-secret-env SECRET iscsi://alice@" + url:                      cli.ExitOK,
		"info --chap-user alice --chap-secret-file " + secret + " iscsi://" + url: cli.ExitOK,
		"info --chap-secret-env SECRET iscsi://bob@" + url:                        exitCHAPRefused,
		"info iscsi://" + url: exitCHAPRefused,
	} {
		code, out, errout := runIn(t, "", line)
		if code != want || strings.Contains(out+errout, testSecret) || want == cli.ExitOK && !strings.Contains(out, "authentication CHAP") {
			t.Errorf("iscsi %s: exit %d: %s%s", line, code, out, errout)
		}
	}
}

// What --help, the man page and the completion say of a command is all there.
func TestEveryCommandIsDescribed(t *testing.T) { clitest.Described(t, program) }
