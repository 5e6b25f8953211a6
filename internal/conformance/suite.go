// Package conformance runs libiscsi's conformance suite, iscsi-test-cu, against
// targets and tells what became of each test. It is internal because only the
// project's own tests and its docs/conformance.md need it.
package conformance

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"slices"
	"strings"
)

// ErrNoSuite says that iscsi-test-cu is not installed.
var ErrNoSuite = errors.New("conformance: needs iscsi-test-cu (apt install libiscsi-bin)")

// Outcome is what became of a test.
type Outcome int

// Outcomes. A test that says that it skips something and goes on has passed as
// far as CUnit knows; here it is Skipped.
const (
	Passed Outcome = iota
	Failed
	Skipped
)

// Test is one test of the suite.
type Test struct {
	Name    string // Suite.Test
	Outcome Outcome
	Reason  string // what a skipped test says first, or a failed one
}

// Result is a run of the suite.
type Result []Test

// Run runs the suite, or those of its tests that pattern names, with a LUN's
// URLs; with two of them the suite's multipath tests are run too. What is on the
// LUN is lost. Output is all that the suite said, also where err is not nil: a
// failed test is no error.
func Run(ctx context.Context, pattern string, urls ...string) (r Result, output string, err error) {
	path, err := exec.LookPath("iscsi-test-cu")
	if err != nil {
		return nil, "", ErrNoSuite
	}
	args := append([]string{"--dataloss", "--allow-sanitize", "-f", "-v", "-t", pattern}, urls...)
	out, err := exec.CommandContext(ctx, path, args...).CombinedOutput()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == 1 { // of a run with failed tests
		err = nil
	}
	r = Parse(string(out))
	if err == nil && len(r) == 0 {
		err = errors.New("no test was run")
	}
	if err != nil {
		err = fmt.Errorf("conformance: iscsi-test-cu %s: %w", strings.Join(args, " "), err)
	}
	return r, string(out), err
}

var (
	suiteLine = regexp.MustCompile(`^Suite: (\S+)`)
	testLine  = regexp.MustCompile(`^\s+Test: (\S+) \.\.\.(.*)`)
	saysWhy   = regexp.MustCompile(`^(?:passed\s*)?\[(SKIPPED|FAILED)\] (.*)`)
)

// Parse reads the suite's output. Only the word at a test's end tells whether it
// failed, as tests say [FAILED] also of what they try again; lines between tests
// are of none.
func Parse(output string) Result {
	var r Result
	var suite string
	var now *Test
	for line := range strings.Lines(output) {
		line = strings.TrimRight(line, "\n")
		if m := suiteLine.FindStringSubmatch(line); m != nil {
			suite = m[1]
			continue
		}
		if m := testLine.FindStringSubmatch(line); m != nil {
			now, line = &Test{Name: suite + "." + m[1]}, m[2]
		}
		if now != nil && now.read(strings.TrimSpace(line)) {
			r = append(r, *now)
			now = nil
		}
	}
	return r
}

// read takes a line of the test's, and reports whether it is the last.
func (t *Test) read(line string) (last bool) {
	passed, failed := strings.HasPrefix(line, "passed"), strings.HasSuffix(line, "FAILED")
	if m := saysWhy.FindStringSubmatch(line); m != nil && !passed {
		if m[1] == "SKIPPED" {
			t.Outcome = Skipped
		}
		if t.Reason == "" {
			t.Reason = m[2]
		}
	}
	if failed {
		t.Outcome = Failed
	}
	if passed && t.Outcome == Passed {
		t.Reason = ""
	}
	return passed || failed
}

// With returns r with the outcomes of another run in the place of its own.
func (r Result) With(other Result) Result {
	r = slices.Clone(r)
	for i := range r {
		if t, ok := other.Find(r[i].Name); ok {
			r[i] = t
		}
	}
	return r
}

// Count returns how many tests had an outcome.
func (r Result) Count(o Outcome) int { return len(r.Names(o)) }

// Names returns the tests that had an outcome.
func (r Result) Names(o Outcome) []string {
	var names []string
	for _, t := range r {
		if t.Outcome == o {
			names = append(names, t.Name)
		}
	}
	return names
}

// Find returns a test by name.
func (r Result) Find(name string) (Test, bool) {
	i := slices.IndexFunc(r, func(t Test) bool { return t.Name == name })
	if i < 0 {
		return Test{}, false
	}
	return r[i], true
}
