package clitest

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/bootlun/bootlun/internal/cli"
)

// ManPage checks that programs that read manual pages have nothing to say against a program's, and print what is wanted of it.
func ManPage(t *testing.T, program func() *cli.Program, wants ...string) {
	var out, errout bytes.Buffer
	if code := program().Run(t.Context(), []string{"man"}, nil, &out, &errout); code != cli.ExitOK || errout.Len() > 0 {
		t.Fatalf("man: exit %d: %s", code, &errout)
	}
	// A test's program does not know its commit, whose date the page has.
	page := regexp.MustCompile(`(?m)^(\.TH \S+ 1) ""`).ReplaceAllString(out.String(), `$1 "2026-01-01"`)
	for _, formatter := range [][]string{
		{"groff", "-man", "-ww", "-Tascii", "-P-cbou", "-rLL=100n"},
		{"mandoc", "-Tascii", "-W", "warning"},
	} {
		t.Run(formatter[0], func(t *testing.T) {
			need(t, formatter[0])
			cmd := exec.CommandContext(t.Context(), formatter[0], formatter[1:]...)
			cmd.Stdin = strings.NewReader(page)
			var complaints strings.Builder
			cmd.Stderr = &complaints
			out, err := cmd.Output()
			if err != nil || complaints.Len() > 0 {
				t.Fatalf("%v\n%s", err, &complaints)
			}
			text := regexp.MustCompile(".\x08").ReplaceAllString(string(out), "") // bold as typewriters do it
			for _, want := range wants {
				if !strings.Contains(text, want) {
					t.Errorf("no %q in\n%s", want, text)
				}
			}
		})
	}
}

// AFile is wanted where files are to be completed; "tab" is the beginning of one.
const AFile = "a file"

// What the shells are told: they run the function "try" for each line.
const (
	bashScript = `set -e; source <(PROGRAM completion bash)
try() { COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _PROGRAM; printf '<%s>' "${COMPREPLY[@]}"; echo; }
compopt() { :; } # which works during completion only
TRIES
complete -p PROGRAM`
	fishScript = `PROGRAM completion fish | source
function try; echo "<"(complete -C "$argv" | string split -f 1 \t)">"; end
TRIES`
	zshScript = `autoload -Uz compinit; compinit -u -D; source <(PROGRAM completion zsh)
_describe() { local -a all; all=(${(P)2}); print -rl -- "<${^all%%:*}>" }; compadd() { print -r -- "<${@[-1]}>" }; _files() { print "<files>" }
try() { words=("$@"); CURRENT=$#; _PROGRAM; }
TRIES
print $_comps[PROGRAM]`
)

// CompletedInShells checks what the shells themselves complete with the scripts of a program: for each
// line what is wanted among the words in angle brackets, or AFile.
func CompletedInShells(t *testing.T, name string, wants map[string]string) {
	bin, work := ProgramDir(t, name), t.TempDir()
	if err := os.WriteFile(filepath.Join(work, "table file.bin"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, shell := range []struct {
		name, script, file, installed string
		args                          []string
	}{
		{"bash", bashScript, "<table file.bin>", "complete -F _" + name + " " + name, []string{"--norc", "-c"}},
		{"fish", fishScript, "table file.bin>", "", []string{"--no-config", "-c"}},
		{"zsh", zshScript, "<files>", "\n_" + name + "\n", []string{"-f", "-c"}},
	} {
		t.Run(shell.name, func(t *testing.T) {
			need(t, shell.name)
			var tries strings.Builder
			for line := range wants {
				tries.WriteString("try " + line + "\n")
			}
			script := strings.NewReplacer("PROGRAM", name, "TRIES", tries.String()).Replace(shell.script)
			cmd := exec.CommandContext(t.Context(), shell.name, append(shell.args, script)...)
			cmd.Dir = work
			cmd.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"), "HOME="+work)
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			for line, want := range wants {
				if want == AFile {
					want = shell.file
				}
				if !strings.Contains(string(out), want) {
					t.Errorf("%s: no %q in\n%s", line, want, out)
				}
			}
			if !strings.Contains(string(out), shell.installed) {
				t.Errorf("no %q in\n%s", shell.installed, out)
			}
		})
	}
}

func need(t *testing.T, program string) {
	t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		t.Skipf("SKIP: needs %s (apt install %[1]s)", program)
	}
}

// ProgramDir returns a folder that holds the test's own program under a name, and nothing else. The package's TestMain
// calls main where it runs under that name.
func ProgramDir(t *testing.T, name string) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.Symlink(self, filepath.Join(dir, name)); err != nil {
		t.Fatal(err)
	}
	return dir
}
