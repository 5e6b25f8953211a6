package entries

import (
	"fmt"
	"strings"
)

// The syntax of GRUB's scripts ("GNU GRUB Manual", "Writing full configuration files directly"): like a shell's, without pipes and
// redirection, and with blocks in braces as the last argument of a command.

// word is one argument: pieces that are expanded and joined.
type word []wordPart

type wordPart struct {
	text     string
	variable bool // text is the name of a variable
	quoted   bool
}

// literal is the word's text if nothing in it is quoted or a variable.
func (w word) literal() string {
	if len(w) == 1 && !w[0].variable && !w[0].quoted {
		return w[0].text
	}
	return ""
}

// grubToken is a word, or one of the characters that end or group commands.
type grubToken struct {
	char byte // '\n' (also for ";"), '{', '}', 0 for a word, 'E' at the end
	word word
	line int
}

// grubLexer yields tokens.
type grubLexer struct {
	src  string
	at   int
	line int
}

func (l *grubLexer) next() (grubToken, error) {
	l.skipBlanks()
	t := grubToken{line: l.line}
	if l.at >= len(l.src) {
		t.char = 'E'
		return t, nil
	}
	switch c := l.src[l.at]; c {
	case '\n', ';':
		l.at++
		if c == '\n' {
			l.line++
		}
		t.char = '\n'
		return t, nil
	case '{', '}':
		l.at++
		t.char = c
		return t, nil
	}
	var err error
	t.word, err = l.readWord()
	return t, err
}

// skipBlanks also skips comments and lines that go on.
func (l *grubLexer) skipBlanks() {
	for l.at < len(l.src) {
		rest := l.src[l.at:]
		switch {
		case rest[0] == ' ' || rest[0] == '\t' || rest[0] == '\r':
			l.at++
		case strings.HasPrefix(rest, "\\\n"):
			l.at += 2
			l.line++
		case rest[0] == '#':
			end := strings.IndexByte(rest, '\n')
			if end < 0 {
				end = len(rest)
			}
			l.at += end
		default:
			return
		}
	}
}

func (l *grubLexer) readWord() (word, error) {
	var w word
	var plain strings.Builder
	flush := func() {
		if plain.Len() > 0 {
			w = append(w, wordPart{text: plain.String()})
			plain.Reset()
		}
	}
	for l.at < len(l.src) {
		c := l.src[l.at]
		switch {
		case strings.IndexByte(" \t\r\n;{}", c) >= 0:
			flush()
			return w, nil
		case c == '\\' && l.at+1 < len(l.src):
			if l.src[l.at+1] != '\n' {
				plain.WriteByte(l.src[l.at+1])
			} else {
				l.line++
			}
			l.at += 2
		case c == '\'' || c == '"' || c == '$':
			flush()
			parts, err := l.special(c)
			if err != nil {
				return nil, err
			}
			w = append(w, parts...)
		default:
			plain.WriteByte(c)
			l.at++
		}
	}
	flush()
	return w, nil
}

// special reads a quoted string or a variable.
func (l *grubLexer) special(c byte) ([]wordPart, error) {
	switch {
	case c == '\'':
		text, ok := l.until('\'')
		if !ok {
			return nil, fmt.Errorf("line %d: a quote has no end", l.line)
		}
		return []wordPart{{text: text, quoted: true}}, nil
	case c == '"':
		l.at++
		return l.doubleQuoted()
	case strings.HasPrefix(l.src[l.at:], `$"`): // a text to be translated
		l.at += 2
		return l.doubleQuoted()
	}
	return []wordPart{l.variable(false)}, nil
}

// until reads from the character after the current one to end.
func (l *grubLexer) until(end byte) (string, bool) {
	rest := l.src[l.at+1:]
	n := strings.IndexByte(rest, end)
	if n < 0 {
		return "", false
	}
	l.line += strings.Count(rest[:n], "\n")
	l.at += n + 2
	return rest[:n], true
}

func (l *grubLexer) doubleQuoted() ([]wordPart, error) {
	start := l.line
	parts := []wordPart{{quoted: true}} // so that an empty string is an argument
	var text strings.Builder
	flush := func() {
		parts = append(parts, wordPart{text: text.String(), quoted: true})
		text.Reset()
	}
	for l.at < len(l.src) {
		c := l.src[l.at]
		switch {
		case c == '"':
			l.at++
			flush()
			return parts, nil
		case c == '\\' && l.at+1 < len(l.src) && strings.IndexByte("$\"\\\n", l.src[l.at+1]) >= 0:
			if l.src[l.at+1] == '\n' {
				l.line++
			} else {
				text.WriteByte(l.src[l.at+1])
			}
			l.at += 2
		case c == '$':
			flush()
			parts = append(parts, l.variable(true))
		default:
			if c == '\n' {
				l.line++
			}
			text.WriteByte(c)
			l.at++
		}
	}
	return nil, fmt.Errorf("line %d: a double quote has no end", start)
}

// variable reads $name, ${name}, $1, $?, $@, $#, $*. A lone dollar is itself.
func (l *grubLexer) variable(quoted bool) wordPart {
	if l.at+1 < len(l.src) && l.src[l.at+1] == '{' {
		l.at++
		if name, ok := l.until('}'); ok {
			return wordPart{text: name, variable: true, quoted: quoted}
		}
		return wordPart{text: "$", quoted: quoted}
	}
	l.at++
	end := l.at
	for end < len(l.src) && (isNameByte(l.src[end]) || end == l.at && strings.IndexByte("?@#*", l.src[end]) >= 0) {
		end++
		if !isNameByte(l.src[end-1]) {
			break
		}
	}
	if end == l.at {
		return wordPart{text: "$", quoted: quoted}
	}
	name := l.src[l.at:end]
	l.at = end
	return wordPart{text: name, variable: true, quoted: quoted}
}

func isNameByte(c byte) bool {
	return c == '_' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

// isName reports whether s can be a variable's name.
func isName(s string) bool {
	for i := range len(s) {
		if !isNameByte(s[i]) {
			return false
		}
	}
	return s != ""
}
