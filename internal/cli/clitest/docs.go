package clitest

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// Rerun runs the commands that a page of documentation shows.
type Rerun struct {
	// Dir is the folder that they run in, which the page calls Shown.
	Dir, Shown string
	// Path is a folder with programs, searched first.
	Path string
	// Replace are pairs of what the page says and what stands for it in commands; in what they print it is turned back.
	Replace []string
}

// Text returns a page with what the commands in its console blocks print now.
func (r Rerun) Text(t *testing.T, page string) string {
	t.Helper()
	var out strings.Builder
	inside, command := false, ""
	for line := range strings.Lines(page) {
		switch {
		case strings.HasSuffix(command, "\\\n"): // which goes on
			command += line
			out.WriteString(line)
		case strings.HasPrefix(line, "```"):
			inside = line == "```console\n"
			out.WriteString(line)
		case !inside:
			out.WriteString(line)
		case strings.HasPrefix(line, "$ "):
			command = line[2:]
			out.WriteString(line)
		}
		if command != "" && !strings.HasSuffix(command, "\\\n") {
			out.WriteString(r.run(t, command))
			command = ""
		}
	}
	return out.String()
}

func (r Rerun) run(t *testing.T, command string) string {
	t.Helper()
	back := []string{r.Dir, r.Shown}
	for i := 0; i < len(r.Replace); i += 2 {
		back = append(back, r.Replace[i+1], r.Replace[i])
	}
	cmd := exec.CommandContext(t.Context(), "bash", "-c", strings.NewReplacer(r.Replace...).Replace(command))
	cmd.Dir, cmd.Env = r.Dir, append(os.Environ(), "PATH="+r.Path+":"+os.Getenv("PATH"), "LC_ALL=C")
	printed, err := cmd.CombinedOutput()
	if _, failed := err.(*exec.ExitError); err != nil && !failed {
		t.Fatal(err)
	}
	return strings.NewReplacer(back...).Replace(string(printed))
}

// SameText fails a test that has got another text than a file has, and says where they differ first.
func SameText(t *testing.T, file, got, want string) {
	t.Helper()
	if got == want {
		return
	}
	gotLines, wantLines := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range min(len(gotLines), len(wantLines)) {
		if gotLines[i] != wantLines[i] {
			t.Fatalf("%s:%d says\n%s\nand it is\n%s\n(go test -run Docs -update writes it anew)", file, i+1, wantLines[i], gotLines[i])
		}
	}
	t.Fatalf("%s has %d lines, and should have %d", file, len(wantLines), len(gotLines))
}
