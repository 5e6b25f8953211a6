package foreign

import (
	"fmt"
	"strings"
)

// statement is a line of words, and what stands in the block that it opens.
type statement struct {
	file  string
	line  int
	words []string
	body  []*statement
}

// arg returns the n-th argument, empty if there is none.
func (s *statement) arg(n int) string {
	if n+1 < len(s.words) {
		return s.words[n+1]
	}
	return ""
}

// syntax says how blocks are written: "name { … }", or "<name> … </name>".
type syntax bool

const (
	angles syntax = false
	braces syntax = true
)

// parse splits a configuration into statements: a line each, of words that may be in
// quotes, up to a # outside of them.
func parse(file string, text []byte, blocks syntax) ([]*statement, error) {
	top := &statement{}
	open := []*statement{top}
	number := 0
	for line := range strings.Lines(string(text)) {
		number++
		words, err := split(line, blocks)
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", file, number, err)
		}
		for len(words) > 0 {
			var s *statement
			s, words = take(words, blocks)
			s.file, s.line = file, number
			opens, closes := s.shape(blocks)
			if closes {
				if len(open) == 1 {
					return nil, fmt.Errorf("%s:%d: the end of a block that has not begun", file, number)
				}
				open = open[:len(open)-1]
				continue
			}
			in := open[len(open)-1]
			in.body = append(in.body, s)
			if opens {
				open = append(open, s)
			}
		}
	}
	if len(open) > 1 {
		s := open[len(open)-1]
		return nil, fmt.Errorf("%s:%d: the block of %q has no end", file, s.line, s.words[0])
	}
	return top.body, nil
}

// take takes the first statement from a line's words.
func take(words []string, blocks syntax) (*statement, []string) {
	if blocks == angles {
		return &statement{words: words}, nil
	}
	for i, w := range words {
		switch w {
		case "{":
			return &statement{words: words[:i+1]}, words[i+1:]
		case "}":
			if i == 0 {
				return &statement{words: words[:1]}, words[1:]
			}
			return &statement{words: words[:i]}, words[i:]
		case ";":
			if i == 0 {
				return take(words[1:], blocks)
			}
			return &statement{words: words[:i]}, words[i+1:]
		}
	}
	return &statement{words: words}, nil
}

// shape tells whether a statement opens or closes a block, and leaves its words
// without the signs of that.
func (s *statement) shape(blocks syntax) (opens, closes bool) {
	last := len(s.words) - 1
	switch {
	case last < 0:
		s.words = []string{""}
	case blocks == braces && s.words[0] == "}":
		return false, true
	case blocks == braces && s.words[last] == "{" && last > 0:
		s.words = s.words[:last]
		return true, false
	case blocks == angles && strings.HasPrefix(s.words[0], "</"):
		return false, true
	case blocks == angles && strings.HasPrefix(s.words[0], "<"):
		s.words[0] = s.words[0][1:]
		s.words[last] = strings.TrimSuffix(s.words[last], ">")
		return true, false
	}
	return false, false
}

// split splits a line into words.
func split(line string, blocks syntax) (words []string, err error) {
	var word strings.Builder
	started, quote := false, rune(0)
	end := func() {
		if started {
			words = append(words, word.String())
		}
		word.Reset()
		started = false
	}
	for _, c := range line {
		switch {
		case quote != 0 && c == quote:
			quote = 0
		case quote != 0:
			word.WriteRune(c)
		case c == '"' || c == '\'':
			quote, started = c, true
		case c == '#':
			end()
			return words, nil
		case c == ' ' || c == '\t' || c == '\r' || c == '\n':
			end()
		case blocks == braces && (c == '{' || c == '}' || c == ';'):
			end()
			words = append(words, string(c))
		default:
			word.WriteRune(c)
			started = true
		}
	}
	if quote != 0 {
		return nil, fmt.Errorf("a quote %c has no end", quote)
	}
	end()
	return words, nil
}
