package qemu

import (
	"context"
	"fmt"
	"regexp"
	"strings"
)

// shownLines is how much of the transcript an ExpectError shows.
const shownLines = 30

// position is a place in the transcript.
type position struct {
	line   int // Counted from the console's first.
	offset int // In bytes.
}

// Match is what Expect found.
type Match struct {
	Line   Line     // The line as it was then.
	Groups []string // The whole match, then the expression's groups.
}

// ExpectError is why Expect did not find what it looked for.
type ExpectError struct {
	Pattern string
	Last    []Line // The end of the transcript.
	Err     error  // The context's, or ErrConsoleClosed.
}

// Error shows the end of the transcript.
func (e *ExpectError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "qemu: waiting for %q on the console: %v; its last %d lines:", e.Pattern, e.Err, len(e.Last))
	for _, l := range e.Last {
		b.WriteString("\n\t" + strings.TrimRight(l.Text, " "))
	}
	return b.String()
}

// Unwrap gives the reason.
func (e *ExpectError) Unwrap() error { return e.Err }

// Expect waits until a line of the console matches, and moves on behind the match: the next Expect looks from there.
// The first looks from the console's beginning. A line is looked at as it grows, so a prompt needs no end of line, and an
// expression that should see a whole line or number has to say what follows it. Where it fails, with an [*ExpectError],
// nothing is moved.
func (c *Console) Expect(ctx context.Context, re *regexp.Regexp) (Match, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	from := c.cursor
	for {
		changed := c.changed
		m, next, ok := c.find(re, from)
		if ok {
			c.cursor = next
			return m, nil
		}
		from = next
		if err := c.wait(ctx, changed); err != nil {
			return Match{}, &ExpectError{Pattern: re.String(), Last: c.last(shownLines), Err: err}
		}
	}
}

// wait waits for more to look at. The caller holds mu, which is free meanwhile.
func (c *Console) wait(ctx context.Context, changed <-chan struct{}) error {
	c.mu.Unlock()
	defer c.mu.Lock()
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case <-changed:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-c.done:
	}
	select {
	case <-changed: // It came just before the end.
		return nil
	default:
		return ErrConsoleClosed
	}
}

// find looks for a match from a position on. Without one it returns where to go on when there is more: lines that are
// complete are not looked at twice. The caller holds mu.
func (c *Console) find(re *regexp.Regexp, from position) (Match, position, bool) {
	if from.line < c.first {
		from = position{line: c.first}
	}
	for ; from.line <= c.first+len(c.lines); from = (position{line: from.line + 1}) {
		line := c.text.unfinished()
		complete := from.line < c.first+len(c.lines)
		if complete {
			line = c.lines[from.line-c.first]
		}
		start := min(from.offset, len(line.Text))
		if loc := re.FindStringSubmatchIndex(line.Text[start:]); loc != nil {
			m := Match{Line: line, Groups: groups(line.Text[start:], loc)}
			return m, position{from.line, start + loc[1]}, true
		}
		if !complete {
			return Match{}, from, false
		}
	}
	return Match{}, from, false
}

func groups(s string, loc []int) []string {
	g := make([]string, len(loc)/2)
	for i := range g {
		if loc[2*i] >= 0 {
			g[i] = s[loc[2*i]:loc[2*i+1]]
		}
	}
	return g
}

// last is the end of the transcript. The caller holds mu.
func (c *Console) last(n int) []Line {
	lines := c.lines[max(0, len(c.lines)-n):]
	if l := c.text.unfinished(); l.Text != "" {
		lines = append(lines[:len(lines):len(lines)], l)
	}
	return lines[max(0, len(lines)-n):]
}
