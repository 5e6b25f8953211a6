package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestMain lets the test's own program stand in for ibft where a shell or a terminal needs a program to run.
func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == "ibft" {
		main()
	}
	os.Exit(m.Run())
}

// programDir returns a folder that holds ibft, and nothing else.
func programDir(t *testing.T) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.Symlink(self, filepath.Join(dir, "ibft")); err != nil {
		t.Fatal(err)
	}
	return dir
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
	work := t.TempDir()
	if err := os.WriteFile(filepath.Join(work, "table file.bin"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	const bash = `set -e; source <(ibft completion bash)
try() { COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _ibft; printf '<%s>' "${COMPREPLY[@]}"; echo; }
compopt() { :; } # which works during completion only
try ibft sh; try ibft convert --to js; try ibft convert --to = js; try ibft check --for linux,dr
try ibft set target0.po; try ibft show tab; complete -p ibft`
	const fish = `ibft completion fish | source
for line in 'ibft sh' 'ibft convert --to js' 'ibft check --for linux,dr' 'ibft set target0.po' 'ibft show tab'
  echo "<"(complete -C "$line" | string split -f 1 \t)">"
end`
	const zsh = `autoload -Uz compinit; compinit -u -D; source <(ibft completion zsh)
_describe() { local -a all; all=(${(P)2}); print -rl -- "<${^all%%:*}>" }; compadd() { print -r -- "<${@[-1]}>" }; _files() { print "<files>" }
try() { words=("$@"); CURRENT=$#; _ibft; }
try ibft sh; try ibft convert --to js; try ibft check --for linux,dr; try ibft set target0.po; try ibft show tab; print $_comps[ibft]`
	common := []string{"<show>", "<json>", "<linux,dracut>", "<target0.port=>"}
	for _, shell := range []struct {
		name, script string
		want         []string
	}{
		{"bash", bash, append(common, "<table file.bin>", "complete -F _ibft ibft", "<json>\n<json>")},
		{"fish", fish, append(common, "table file.bin>")},
		{"zsh", zsh, append(common, "<files>", "\n_ibft\n")},
	} {
		t.Run(shell.name, func(t *testing.T) {
			if _, err := exec.LookPath(shell.name); err != nil {
				t.Skipf("SKIP: needs %s (apt install %[1]s)", shell.name)
			}
			args := map[string][]string{"bash": {"--norc", "-c"}, "fish": {"--no-config", "-c"}, "zsh": {"-f", "-c"}}[shell.name]
			cmd := exec.CommandContext(t.Context(), shell.name, append(args, shell.script)...)
			cmd.Dir = work
			cmd.Env = append(os.Environ(), "PATH="+programDir(t)+":"+os.Getenv("PATH"), "HOME="+work)
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			for _, want := range shell.want {
				if !strings.Contains(string(out), want) {
					t.Errorf("no %q in\n%s", want, out)
				}
			}
		})
	}
}
