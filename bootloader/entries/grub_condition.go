package entries

import (
	"strconv"
	"strings"
)

// test is GRUB's test command ("GNU GRUB Manual", "test"): -a binds stronger than -o, "!" strongest. What it does not understand
// is false.
func (g *grub) test(args []string) (bool, error) {
	t := condition{g: g, args: args}
	ok := t.or()
	return ok && len(t.args) == 0, nil
}

// condition reads an expression from the front of args.
type condition struct {
	g    *grub
	args []string
	deep int
}

func (t *condition) or() bool {
	ok := t.and()
	for len(t.args) > 0 && t.args[0] == "-o" {
		t.args = t.args[1:]
		ok = t.and() || ok
	}
	return ok
}

func (t *condition) and() bool {
	ok := t.primary()
	for len(t.args) > 0 && t.args[0] == "-a" {
		t.args = t.args[1:]
		ok = t.primary() && ok
	}
	return ok
}

func (t *condition) primary() bool {
	if len(t.args) == 0 {
		return false
	}
	if t.deep++; t.deep > maxNesting {
		t.args = nil
		return false
	}
	defer func() { t.deep-- }()
	first := t.args[0]
	if len(t.args) >= 3 {
		if ok, known := t.g.compare(first, t.args[1], t.args[2]); known {
			t.args = t.args[3:]
			return ok
		}
	}
	switch {
	case first == "!":
		t.args = t.args[1:]
		return !t.primary()
	case first == "(":
		t.args = t.args[1:]
		ok := t.or()
		if len(t.args) > 0 && t.args[0] == ")" {
			t.args = t.args[1:]
		}
		return ok
	case len(t.args) >= 2 && len(first) == 2 && strings.Contains("-n -z -d -e -f -s", first):
		value := t.args[1]
		t.args = t.args[2:]
		return t.g.unary(first, value)
	}
	t.args = t.args[1:]
	return first != ""
}

// compare is false, false for what is no operator.
func (g *grub) compare(a, op, b string) (result, known bool) {
	switch op {
	case "=", "==":
		return a == b, true
	case "!=":
		return a != b, true
	case "<":
		return a < b, true
	case ">":
		return a > b, true
	case "<=":
		return a <= b, true
	case ">=":
		return a >= b, true
	}
	x, y := leadingInt(a), leadingInt(b)
	switch op {
	case "-eq":
		return x == y, true
	case "-ne":
		return x != y, true
	case "-lt":
		return x < y, true
	case "-le":
		return x <= y, true
	case "-gt":
		return x > y, true
	case "-ge":
		return x >= y, true
	}
	return false, false
}

// leadingInt is the number at the start of s, or 0, as strtol gives it.
func leadingInt(s string) int {
	end := 0
	for end < len(s) && (s[end] >= '0' && s[end] <= '9' || end == 0 && s[end] == '-') {
		end++
	}
	n, err := strconv.Atoi(s[:end])
	if err != nil {
		return 0
	}
	return n
}

func (g *grub) unary(op, value string) bool {
	switch op {
	case "-n":
		return value != ""
	case "-z":
		return value == ""
	}
	f, err := g.locate(value)
	if err != nil {
		return false
	}
	info, err := statFile(f)
	switch {
	case err != nil:
		return false
	case op == "-d":
		return info.IsDir()
	case op == "-f":
		return !info.IsDir()
	case op == "-s":
		return info.Size() > 0
	}
	return true
}
