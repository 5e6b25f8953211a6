package conformance

import (
	"bytes"
	"fmt"
	"slices"
)

// Report is what docs/conformance.md is made of.
type Report struct {
	Runs []NamedRun
	// Physical are the tests that passed on a LUN of their own, with large
	// physical blocks.
	Physical []string
}

// NamedRun is a run on one kind of LUN.
type NamedRun struct {
	Title  string
	Result Result
	Skips  map[string]string // why tests are skipped; nil: as the suite says
	Fails  map[string]string // why tests fail for which the target is not to blame
	Peer   bool              // another target: only the names of tests that fail are told
}

const intro = `# Conformance

What libiscsi's suite, ` + "`iscsi-test-cu`" + ` of Debian's libiscsi-bin 1.19 with ` + "`--dataloss --allow-sanitize`" + ` and two URLs, says of the target and, on the same machine, of tgt.
This page is written by ` + "`make conformance`" + `; ` + "`make test`" + ` runs the same and fails if a test does, or is skipped without being named here.

CUnit counts a skipped test as passed. Here it is not: a test that says [SKIPPED] about anything counts as skipped.
The LUNs are in memory, slowed down to 8 seconds for overwriting all of one, because Sanitize.Reset expects a SANITIZE to last.
That test runs in a process of its own: with two URLs the one before it, Sanitize.Reservations, ends without releasing the second initiator's RESERVE(6), so that in one process every target with both commands fails one of the two.

`

// Markdown returns the page.
func (r *Report) Markdown() []byte {
	var b bytes.Buffer
	b.WriteString(intro)
	b.WriteString("| target, LUN | passed | failed | skipped |\n|---|---|---|---|\n")
	for _, run := range r.Runs {
		fmt.Fprintf(&b, "| %s | %d | %d | %d |\n", run.Title,
			run.Result.Count(Passed), run.Result.Count(Failed), run.Result.Count(Skipped))
	}
	fmt.Fprintf(&b, "\nOn a disk with 512-byte logical and 4096-byte physical blocks these pass, which the first disk's blocks leave out: %s.\n", list(r.Physical))
	for _, run := range r.Runs {
		fmt.Fprintf(&b, "\n## %s\n\n", run.Title)
		if run.Peer {
			failed := run.Result.Names(Failed)
			slices.Sort(failed)
			fmt.Fprintf(&b, "- Failed: %s.\n", list(failed))
			continue
		}
		for _, group := range run.reasons(Failed, run.Fails) {
			fmt.Fprintf(&b, "- Failed: %s. %s\n", list(group.tests), group.reason)
		}
		for _, group := range run.reasons(Skipped, run.Skips) {
			fmt.Fprintf(&b, "- Skipped: %s. %s\n", list(group.tests), group.reason)
		}
	}
	return b.Bytes()
}

// group is tests with one reason.
type group struct {
	reason string
	tests  []string
}

// reasons groups the tests with an outcome by why, in the suite's order.
func (run *NamedRun) reasons(o Outcome, why map[string]string) []group {
	var groups []group
	for _, t := range run.Result {
		if t.Outcome != o {
			continue
		}
		reason := why[t.Name]
		if reason == "" {
			reason = "The suite says: " + t.Reason
		}
		i := slices.IndexFunc(groups, func(g group) bool { return g.reason == reason })
		if i < 0 {
			i = len(groups)
			groups = append(groups, group{reason: reason})
		}
		groups[i].tests = append(groups[i].tests, t.Name)
	}
	return groups
}

func list(names []string) string {
	var b bytes.Buffer
	for i, n := range names {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(n)
	}
	return b.String()
}
