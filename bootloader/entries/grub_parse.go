package entries

import (
	"fmt"
)

type stmtKind int

const (
	stmtCommand stmtKind = iota
	stmtIf
	stmtFor
	stmtWhile // until has negate
	stmtFunction
)

// stmt is one statement. What its fields mean depends on its kind.
type stmt struct {
	kind   stmtKind
	line   int
	words  []word // command; list of a for
	name   string // variable of a for, name of a function
	negate bool
	cond   []stmt
	body   []stmt // block of a command; then, do
	block  bool   // a command has a block, maybe an empty one
	orElse []stmt
}

// grubParser makes statements of tokens.
type grubParser struct {
	lex   grubLexer
	tok   grubToken
	depth int
}

const maxNesting = 50

// parseGRUB parses a script.
func parseGRUB(src string) ([]stmt, error) {
	p := &grubParser{lex: grubLexer{src: src, line: 1}}
	if err := p.advance(); err != nil {
		return nil, err
	}
	list, err := p.list()
	if err == nil && p.tok.char != 'E' {
		err = p.unexpected("")
	}
	return list, err
}

func (p *grubParser) advance() (err error) {
	p.tok, err = p.lex.next()
	return err
}

func (p *grubParser) unexpected(want string) error {
	got := p.tok.word.literal()
	switch {
	case p.tok.char == 'E':
		got = "the end of the file"
	case p.tok.char == '\n':
		got = "the end of the command"
	case p.tok.char != 0:
		got = string(p.tok.char)
	}
	if want != "" {
		return fmt.Errorf("line %d: %q where %q is missing", p.tok.line, got, want)
	}
	return fmt.Errorf("line %d: unexpected %q", p.tok.line, got)
}

// list reads statements up to a word of ends, a closing brace or the end, and leaves that.
func (p *grubParser) list(ends ...string) ([]stmt, error) {
	if p.depth++; p.depth > maxNesting {
		return nil, fmt.Errorf("line %d: more than %d blocks in one another", p.tok.line, maxNesting)
	}
	defer func() { p.depth-- }()
	var list []stmt
	for {
		switch p.tok.char {
		case '\n':
			if err := p.advance(); err != nil {
				return nil, err
			}
			continue
		case 'E', '}':
			return list, nil
		case '{':
			return nil, p.unexpected("")
		}
		for _, end := range ends {
			if p.tok.word.literal() == end {
				return list, nil
			}
		}
		s, err := p.statement()
		if err != nil {
			return nil, err
		}
		list = append(list, s)
	}
}

func (p *grubParser) statement() (stmt, error) {
	s := stmt{line: p.tok.line}
	switch p.tok.word.literal() {
	case "if":
		s.kind = stmtIf
		return s, p.ifTail(&s)
	case "for":
		s.kind = stmtFor
		return s, p.forTail(&s)
	case "while", "until":
		s.kind, s.negate = stmtWhile, p.tok.word.literal() == "until"
		return s, p.whileTail(&s)
	case "function":
		s.kind = stmtFunction
		return s, p.functionTail(&s)
	case "then", "elif", "else", "fi", "do", "done":
		return s, p.unexpected("")
	}
	return s, p.command(&s)
}

// command reads words, and a block.
func (p *grubParser) command(s *stmt) error {
	for p.tok.char == 0 {
		s.words = append(s.words, p.tok.word)
		if err := p.advance(); err != nil {
			return err
		}
	}
	if p.tok.char != '{' {
		return nil
	}
	s.block = true
	return p.braces(&s.body)
}

func (p *grubParser) braces(body *[]stmt) (err error) {
	if p.tok.char != '{' {
		return p.unexpected("{")
	}
	if err = p.advance(); err != nil {
		return err
	}
	if *body, err = p.list(); err != nil {
		return err
	}
	if p.tok.char != '}' {
		return p.unexpected("}")
	}
	return p.advance()
}

// keyword expects a word and goes past it.
func (p *grubParser) keyword(want string) error {
	if p.tok.word.literal() != want {
		return p.unexpected(want)
	}
	return p.advance()
}

// ifTail reads from "if" or "elif" to "fi".
func (p *grubParser) ifTail(s *stmt) (err error) {
	if p.depth++; p.depth > maxNesting { // a chain of elif
		return fmt.Errorf("line %d: more than %d blocks in one another", p.tok.line, maxNesting)
	}
	defer func() { p.depth-- }()
	if err = p.advance(); err != nil {
		return err
	}
	if s.cond, err = p.list("then"); err != nil {
		return err
	}
	if err = p.keyword("then"); err != nil {
		return err
	}
	if s.body, err = p.list("elif", "else", "fi"); err != nil {
		return err
	}
	switch p.tok.word.literal() {
	case "elif":
		chained := stmt{kind: stmtIf, line: p.tok.line}
		err = p.ifTail(&chained)
		s.orElse = []stmt{chained}
		return err
	case "else":
		if err = p.advance(); err != nil {
			return err
		}
		if s.orElse, err = p.list("fi"); err != nil {
			return err
		}
	}
	return p.keyword("fi")
}

func (p *grubParser) forTail(s *stmt) (err error) {
	if err = p.advance(); err != nil {
		return err
	}
	if s.name = p.tok.word.literal(); s.name == "" {
		return p.unexpected("a variable's name")
	}
	if err = p.advance(); err != nil {
		return err
	}
	if err = p.keyword("in"); err != nil {
		return err
	}
	for p.tok.char == 0 {
		s.words = append(s.words, p.tok.word)
		if err = p.advance(); err != nil {
			return err
		}
	}
	return p.doTail(s)
}

func (p *grubParser) whileTail(s *stmt) (err error) {
	if err = p.advance(); err != nil {
		return err
	}
	if s.cond, err = p.list("do"); err != nil {
		return err
	}
	return p.doTail(s)
}

func (p *grubParser) doTail(s *stmt) (err error) {
	for p.tok.char == '\n' {
		if err = p.advance(); err != nil {
			return err
		}
	}
	if err = p.keyword("do"); err != nil {
		return err
	}
	if s.body, err = p.list("done"); err != nil {
		return err
	}
	return p.keyword("done")
}

func (p *grubParser) functionTail(s *stmt) (err error) {
	if err = p.advance(); err != nil {
		return err
	}
	if s.name = p.tok.word.literal(); s.name == "" {
		return p.unexpected("a function's name")
	}
	if err = p.advance(); err != nil {
		return err
	}
	for p.tok.char == '\n' {
		if err = p.advance(); err != nil {
			return err
		}
	}
	return p.braces(&s.body)
}
