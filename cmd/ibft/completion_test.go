package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/bootlun/bootlun/internal/cli/clitest"
)

// TestMain lets the test's own program stand in for ibft where a shell or a terminal needs a program to run.
func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == "ibft" {
		main()
	}
	os.Exit(m.Run())
}

func TestComplete(t *testing.T) {
	for line, want := range map[string]struct {
		has, lacks []string
	}{
		"":                               {[]string{"show", "convert", "help"}, []string{"@files", "complete"}},
		"sh":                             {[]string{"show"}, []string{"check"}},
		"help c":                         {[]string{"check", "convert"}, []string{"show"}},
		"frobnicate ":                    {nil, []string{"@files"}},
		"show ":                          {[]string{"@files"}, nil},
		"show --":                        {[]string{"--yaml", "--help"}, []string{"@files"}},
		"show x --root ":                 {[]string{"@files"}, nil},
		"convert --to ":                  {[]string{"yaml", "dracut"}, []string{"dhcp", "@files"}},
		"convert --from=d":               {[]string{"--from=dhcp", "--from=dracut"}, []string{"--from=json"}},
		"convert --from = d":             {[]string{"dhcp", "dracut"}, nil},
		"convert --to = json --reveal-s": {[]string{"--reveal-secrets"}, nil},
		"check --for linux,dr":           {[]string{"linux,dracut"}, []string{"xen"}},
		"build --layout ":                {[]string{"edk2"}, []string{"@files"}},
		"build --initiator ":             {nil, []string{"@files"}},
		"set target1.chap_s":             {[]string{"target1.chap_secret@="}, []string{"@files"}},
		"set nic0.vlan=1 ta":             {[]string{"target0.ip="}, nil},
		"set nic0.vlan=1 /t":             {[]string{"@files"}, nil},
		"set target1.chap_secret@ =":     {[]string{"@files"}, []string{"target0.ip="}},
		"set target1.chap =":             {nil, []string{"@files", "target0.ip="}},
		"=":                              {nil, []string{"show"}},
		"completion ":                    {[]string{"bash", "zsh", "fish"}, []string{"@files"}},
		"man ":                           {nil, []string{"@files"}},
	} {
		_, out, errout := runWords(t, "", append([]string{"complete"}, strings.Split(line, " ")...)...)
		var words []string
		for l := range strings.Lines(out) {
			word, _, _ := strings.Cut(strings.TrimSuffix(l, "\n"), "\t")
			words = append(words, word)
		}
		for _, w := range want.has {
			if !slices.Contains(words, w) {
				t.Errorf("%q: no %q in %q%s", line, w, words, errout)
			}
		}
		for _, w := range want.lacks {
			if slices.Contains(words, w) {
				t.Errorf("%q: %q in %q", line, w, words)
			}
		}
	}
}

// What the shells themselves make of the scripts.
func TestCompletionInShells(t *testing.T) {
	clitest.CompletedInShells(t, "ibft", map[string]string{
		"ibft sh": "<show>", "ibft convert --to js": "<json>", "ibft check --for linux,dr": "<linux,dracut>", "ibft set target0.po": "<target0.port=>",
		"ibft show tab": clitest.AFile,
	})
}
