package main

import (
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

// Programs that read manual pages have nothing to say against ours, and print what we wrote.
func TestManPage(t *testing.T) {
	_, page, errout := runIn(t, "", "man")
	page = strings.Replace(page, `.TH IBFT 1 ""`, `.TH IBFT 1 "2026-01-01"`, 1) // a test's program does not know its commit
	if errout != "" {
		t.Fatal(errout)
	}
	for _, formatter := range [][]string{
		{"groff", "-man", "-ww", "-Tascii", "-P-cbou", "-rLL=100n"},
		{"mandoc", "-Tascii", "-W", "warning"},
	} {
		t.Run(formatter[0], func(t *testing.T) {
			if _, err := exec.LookPath(formatter[0]); err != nil {
				t.Skipf("SKIP: needs %s (apt install %[1]s)", formatter[0])
			}
			cmd := exec.CommandContext(t.Context(), formatter[0], formatter[1:]...)
			cmd.Stdin = strings.NewReader(page)
			var complaints strings.Builder
			cmd.Stderr = &complaints
			out, err := cmd.Output()
			if err != nil || complaints.Len() > 0 {
				t.Fatalf("%v\n%s", err, &complaints)
			}
			text := regexp.MustCompile(".\x08").ReplaceAllString(string(out), "") // bold as typewriters do it
			for _, want := range []string{"ibft show [SOURCE] [flags]", "--reveal-secrets", `target0.chap=chap target0.chap_name=machine \`, ". <(ibft completion bash)"} {
				if !strings.Contains(text, want) {
					t.Errorf("no %q in\n%s", want, text)
				}
			}
		})
	}
}
