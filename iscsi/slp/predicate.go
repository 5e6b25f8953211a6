package slp

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
)

// Predicate is a question's condition: an LDAP filter (RFC 2254) such as
// (&(auth-name=any)(portal-group>=1)). The zero value matches everything.
type Predicate struct{ root *filter }

// filter is a node of a predicate.
type filter struct {
	op         string // & | ! or = >= <= ~=
	parts      []*filter
	tag, value string // value is escaped, as * in it has a meaning
}

// maxDepth bounds how deep parentheses go.
const maxDepth = 32

// ParsePredicate reads a predicate; an empty one matches everything.
func ParsePredicate(s string) (Predicate, error) {
	if strings.TrimSpace(s) == "" {
		return Predicate{}, nil
	}
	p := &filterParser{rest: s}
	f, err := p.filter(0)
	if err == nil && strings.TrimSpace(p.rest) != "" {
		err = fmt.Errorf("%w: predicate: %.40q is left over", ErrBadMessage, p.rest)
	}
	return Predicate{f}, err
}

type filterParser struct{ rest string }

// next takes a character, after blanks.
func (p *filterParser) next(c string) bool {
	p.rest = strings.TrimLeft(p.rest, " ")
	var found bool
	p.rest, found = strings.CutPrefix(p.rest, c)
	return found
}

func (p *filterParser) filter(depth int) (*filter, error) {
	if depth > maxDepth || !p.next("(") {
		return nil, fmt.Errorf("%w: predicate at %.40q: a parenthesis is missing, or there are more than %d in each other", ErrBadMessage, p.rest, maxDepth)
	}
	for _, op := range []string{"&", "|", "!"} {
		if p.next(op) {
			return p.parts(&filter{op: op}, depth)
		}
	}
	inside, rest, closed := strings.Cut(p.rest, ")")
	i := strings.IndexByte(inside, '=')
	if !closed || i < 1 {
		return nil, fmt.Errorf("%w: predicate at %.40q is no (tag=value)", ErrBadMessage, p.rest)
	}
	p.rest = rest
	f := &filter{op: "=", tag: inside[:i], value: strings.TrimSpace(inside[i+1:])}
	if strings.IndexByte("<>~", inside[i-1]) >= 0 {
		f.op, f.tag = inside[i-1:i+1], inside[:i-1]
	}
	f.tag = unescape(strings.TrimSpace(f.tag))
	return f, nil
}

// parts reads the filters that an operator joins.
func (p *filterParser) parts(f *filter, depth int) (*filter, error) {
	for !p.next(")") {
		part, err := p.filter(depth + 1)
		if err != nil {
			return nil, err
		}
		f.parts = append(f.parts, part)
	}
	if len(f.parts) == 0 || f.op == "!" && len(f.parts) > 1 {
		return nil, fmt.Errorf("%w: predicate: %q of %d filters", ErrBadMessage, f.op, len(f.parts))
	}
	return f, nil
}

// Match reports whether a service's attributes meet the predicate.
func (p Predicate) Match(list Attributes) bool { return p.root == nil || p.root.match(list) }

func (f *filter) match(list Attributes) bool {
	switch f.op {
	case "&":
		for _, part := range f.parts {
			if !part.match(list) {
				return false
			}
		}
		return true
	case "|":
		for _, part := range f.parts {
			if part.match(list) {
				return true
			}
		}
		return false
	case "!":
		return !f.parts[0].match(list)
	}
	values, found := list.values(f.tag)
	if !found || f.value == "*" {
		return found
	}
	for _, v := range values {
		if f.compare(v) {
			return true
		}
	}
	return false
}

// compare compares a value: numbers as numbers, texts without regard to case and
// to how many blanks there are (RFC 2608, 6.4).
func (f *filter) compare(value string) bool {
	want := unescape(f.value)
	order := cmp.Compare(fold(value), fold(want))
	a, errA := strconv.ParseInt(value, 10, 32)
	b, errB := strconv.ParseInt(want, 10, 32)
	if errA == nil && errB == nil {
		order = cmp.Compare(a, b)
	}
	switch f.op {
	case ">=":
		return order >= 0
	case "<=":
		return order <= 0
	}
	if strings.Contains(f.value, "*") {
		return like(fold(value), strings.Split(f.value, "*"))
	}
	return order == 0
}

// like reports whether a text is the pieces with anything between them.
func like(s string, pieces []string) bool {
	for i, piece := range pieces {
		piece = fold(unescape(piece))
		at := strings.Index(s, piece)
		switch {
		case i == len(pieces)-1:
			return strings.HasSuffix(s, piece)
		case at < 0, i == 0 && at > 0:
			return false
		}
		s = s[at+len(piece):]
	}
	return true
}

func fold(s string) string { return strings.ToLower(strings.Join(strings.Fields(s), " ")) }
