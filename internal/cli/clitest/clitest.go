// Package clitest holds what the tests of all programs made with package cli have in common.
package clitest

import (
	"bytes"
	"flag"
	"strings"
	"testing"

	"github.com/bootlun/bootlun/internal/cli"
)

// Described checks that help, manual page and completion say everything about every command and flag.
func Described(t *testing.T, program func() *cli.Program) {
	t.Helper()
	run := func(words ...string) string {
		t.Helper()
		var out, errout bytes.Buffer
		if code := program().Run(t.Context(), words, nil, &out, &errout); code != cli.ExitOK || errout.Len() > 0 {
			t.Errorf("%s: exit %d: %s", words, code, &errout)
		}
		return out.String()
	}
	overview, page := run("--help"), run("man")
	for _, c := range program().Commands {
		text := run(c.Name(), "--help")
		if c.About == "" || len(c.Examples) == 0 || c.Run == nil {
			t.Errorf("%s lacks a description, an example or all effect", c.Name())
		}
		if !strings.Contains(overview, "\n  "+c.Name()+" ") || !strings.Contains(page, "\n.SS "+c.Name()+"\n") {
			t.Errorf("%s is not among the commands", c.Name())
		}
		c.VisitAll(func(f *flag.Flag) {
			name := "--" + f.Name
			if len(f.Name) == 1 {
				name = "-" + f.Name
			}
			if f.Usage == "" || !strings.Contains(text, "\n  "+name+" ") || !strings.Contains(page, `\fB`+strings.ReplaceAll(name, "-", `\-`)+`\fR`) {
				t.Errorf("no word about %s of %s", name, c.Name())
			}
			if out := run("complete", c.Name(), name); !strings.HasPrefix(out, name) {
				t.Errorf("%s of %s is not completed: %q", name, c.Name(), out)
			}
		})
	}
}
