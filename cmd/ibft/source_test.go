package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bootlun/bootlun/internal/cli"
)

// Every command that takes a SOURCE takes it in every form.
func TestSources(t *testing.T) {
	names, err := filepath.Glob(goldenDir + "sources/ipxe-chap.*")
	if err != nil || len(names) == 0 {
		t.Fatal(names, err)
	}
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for command, want := range map[string]string{
			"show": "portal            10.0.2.2:13260", "show --hex": "IP address  10.0.2.15", "check": "0 errors, 0 warnings, 1 note",
		} {
			for line, stdin := range map[string]string{command + " " + name: "", command + " -": string(text)} {
				if code, out, errout := runIn(t, stdin, line); code != cli.ExitOK || !strings.Contains(out, want) {
					t.Errorf("ibft %s: exit %d, %s%s; want %q", line, code, out, errout, want)
				}
			}
		}
	}
}

// Of two tables in a memory image show takes the good one, and check the first.
func TestMemoryImageSource(t *testing.T) {
	raw, err := os.ReadFile(goldenDir + "ipxe-plain.bin")
	if err != nil {
		t.Fatal(err)
	}
	mem := make([]byte, 1<<20)
	copy(mem[0x98000:], raw)
	mem[0x98009]++
	copy(mem[0x9c000:], raw)
	image := write(t, "memory", string(mem))
	if _, out, errout := runIn(t, "", "show "+image); !strings.HasPrefix(out, "Table "+image+" (memory image, memory at 0x9c000)\n") {
		t.Errorf("shown: %s%s", out, errout)
	}
	if code, out, _ := runIn(t, "", "check "+image); code != cli.ExitFailed || !strings.Contains(out, "(memory image, memory at 0x98000): 1 error") {
		t.Errorf("exit %d: %s", code, out)
	}
	if code, _, errout := runIn(t, "", "check "+write(t, "empty", string(make([]byte, 1<<20)))); code != exitUnreadable || !strings.Contains(errout, "no table") {
		t.Errorf("exit %d: %s", code, errout)
	}
	if code, _, errout := runIn(t, "iBFT", "show -"); code != cli.ExitFailed || !strings.Contains(errout, "neither hexadecimal") {
		t.Errorf("exit %d: %s", code, errout)
	}
}
