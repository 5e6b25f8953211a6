package modules

import (
	"slices"
	"strings"
)

// canonical turns dashes into underscores, as modprobe does before it compares
// names and aliases. Dashes inside [...] are ranges and stay.
func canonical(s string) string {
	if !strings.Contains(s, "-") {
		return s
	}
	b := []byte(s)
	inSet := false
	for i, c := range b {
		switch {
		case c == '[':
			inSet = true
		case c == ']':
			inSet = false
		case c == '-' && !inSet:
			b[i] = '_'
		}
	}
	return string(b)
}

// aliasTable finds the patterns that match a text without trying all of them:
// a kernel has tens of thousands. Patterns are filed under the literal text
// before their first wildcard; a text is looked up under each of its own
// beginnings that has one of the lengths in use.
type aliasTable struct {
	byPrefix map[string][]aliasEntry
	lengths  []int // of the prefixes, ascending
}

type aliasEntry struct {
	pattern string
	module  int // position in Index.modules
}

func (t *aliasTable) add(pattern string, module int) {
	prefix := pattern
	if i := strings.IndexAny(pattern, "*?[\\"); i >= 0 {
		prefix = pattern[:i]
	}
	if t.byPrefix == nil {
		t.byPrefix = make(map[string][]aliasEntry)
	}
	t.byPrefix[prefix] = append(t.byPrefix[prefix], aliasEntry{pattern, module})
	if i, found := slices.BinarySearch(t.lengths, len(prefix)); !found {
		t.lengths = slices.Insert(t.lengths, i, len(prefix))
	}
}

// match returns the modules whose patterns match the text, ascending, each once.
func (t *aliasTable) match(text string) []int {
	var found []int
	for _, n := range t.lengths {
		if n > len(text) {
			break
		}
		for _, e := range t.byPrefix[text[:n]] {
			if glob(e.pattern[n:], text[n:]) {
				found = append(found, e.module)
			}
		}
	}
	slices.Sort(found)
	return slices.Compact(found)
}

// glob reports whether text matches a shell pattern with *, ?, [set] and
// backslash, where * also matches a slash, as fnmatch(3) without flags.
// A set that is not closed stands for itself.
func glob(pattern, text string) bool {
	star, resume := -1, 0 // where to go back to when the rest does not match
	p, t := 0, 0
	for t < len(text) {
		if p < len(pattern) && pattern[p] == '*' {
			star, resume = p, t
			p++
			continue
		}
		if n, ok := matchOne(pattern[p:], text[t]); ok {
			p += n
			t++
			continue
		}
		if star < 0 {
			return false
		}
		resume++
		p, t = star+1, resume
	}
	return strings.Trim(pattern[p:], "*") == ""
}

// matchOne compares one byte of text with the first element of pattern, which
// is not a star, and returns that element's length.
func matchOne(pattern string, c byte) (int, bool) {
	if pattern == "" {
		return 0, false
	}
	switch pattern[0] {
	case '?':
		return 1, true
	case '[':
		if n, in := matchSet(pattern, c); n > 0 {
			return n, in
		}
	case '\\':
		if len(pattern) > 1 {
			return 2, pattern[1] == c
		}
	}
	return 1, pattern[0] == c
}

// matchSet compares a byte with the set that pattern begins with. Its length
// is 0 when the set is not closed.
func matchSet(pattern string, c byte) (n int, in bool) {
	i, negate := 1, false
	if i < len(pattern) && (pattern[i] == '!' || pattern[i] == '^') {
		negate = true
		i++
	}
	for first := i; i < len(pattern); {
		if pattern[i] == ']' && i > first {
			return i + 1, in != negate
		}
		low, high := pattern[i], pattern[i]
		i++
		if i+1 < len(pattern) && pattern[i] == '-' && pattern[i+1] != ']' {
			high = pattern[i+1]
			i += 2
		}
		in = in || low <= c && c <= high
	}
	return 0, false
}
