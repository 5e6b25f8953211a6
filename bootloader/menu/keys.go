package menu

import "unicode/utf8"

// key is a character, or one of the keys below zero.
type key rune

const (
	keyNone key = -iota
	keyUp
	keyDown
	keyLeft
	keyRight
	keyHome
	keyEnd
	keyEnter
	keyEscape
	keyBackspace
	keyDelete
	keyKill // to the start of the line
)

// decoder makes keys of what a terminal sends, which may come in pieces.
type decoder struct {
	pending []byte
	dead    bool // the terminal has failed
}

// decode takes bytes and returns the keys that are complete.
func (d *decoder) decode(b []byte) (keys []key) {
	d.pending = append(d.pending, b...)
	for len(d.pending) > 0 {
		k, n := d.next()
		if n == 0 {
			break
		}
		d.pending = d.pending[n:]
		if k != keyNone {
			keys = append(keys, k)
		}
	}
	return keys
}

// flush is for when nothing has come for a while: an escape alone was the key.
func (d *decoder) flush() []key {
	if len(d.pending) == 0 {
		return nil
	}
	escape := d.pending[0] == 0x1B
	d.pending = nil
	if escape {
		return []key{keyEscape}
	}
	return nil
}

// next is the first key and how many bytes it has; 0 if it is not complete.
func (d *decoder) next() (key, int) {
	b := d.pending
	switch b[0] {
	case '\r', '\n':
		return keyEnter, 1
	case 0x7F, 0x08:
		return keyBackspace, 1
	case 0x01:
		return keyHome, 1
	case 0x05:
		return keyEnd, 1
	case 0x15:
		return keyKill, 1
	case 0x1B:
		return sequence(b)
	}
	if b[0] < ' ' {
		return keyNone, 1
	}
	if !utf8.FullRune(b) {
		return keyNone, 0
	}
	r, n := utf8.DecodeRune(b)
	if r == utf8.RuneError {
		return keyNone, n
	}
	return key(r), n
}

// sequence reads "ESC [ parameters letter" and "ESC O letter".
func sequence(b []byte) (key, int) {
	if len(b) == 1 {
		return keyNone, 0
	}
	if b[1] != '[' && b[1] != 'O' {
		return keyEscape, 1
	}
	end := 2
	for end < len(b) && (b[end] >= '0' && b[end] <= '9' || b[end] == ';') {
		end++
	}
	if end == len(b) {
		if end > 16 {
			return keyNone, end
		}
		return keyNone, 0
	}
	parameter := string(b[2:end])
	switch b[end] {
	case 'A':
		return keyUp, end + 1
	case 'B':
		return keyDown, end + 1
	case 'C':
		return keyRight, end + 1
	case 'D':
		return keyLeft, end + 1
	case 'H':
		return keyHome, end + 1
	case 'F':
		return keyEnd, end + 1
	case '~':
		switch parameter {
		case "1", "7":
			return keyHome, end + 1
		case "4", "8":
			return keyEnd, end + 1
		case "3":
			return keyDelete, end + 1
		}
	}
	return keyNone, end + 1
}

// maxLine is what a kernel's command line may have (x86: COMMAND_LINE_SIZE).
const maxLine = 2048

// editor is a line that is being edited.
type editor struct {
	line []rune
	at   int
}

func (e *editor) press(k key) {
	switch k {
	case keyLeft:
		e.at = max(0, e.at-1)
	case keyRight:
		e.at = min(len(e.line), e.at+1)
	case keyHome:
		e.at = 0
	case keyEnd:
		e.at = len(e.line)
	case keyKill:
		e.line, e.at = e.line[e.at:], 0
	case keyDelete:
		if e.at < len(e.line) {
			e.line = append(e.line[:e.at:e.at], e.line[e.at+1:]...)
		}
	case keyBackspace:
		if e.at > 0 {
			e.line = append(e.line[:e.at-1:e.at-1], e.line[e.at:]...)
			e.at--
		}
	default:
		if k > 0 && len(e.line) < maxLine {
			e.line = append(e.line[:e.at:e.at], append([]rune{rune(k)}, e.line[e.at:]...)...)
			e.at++
		}
	}
}

// picture shows the cursor by reversing what it is on.
func (e *editor) picture() string {
	under, after := " ", ""
	if e.at < len(e.line) {
		under, after = string(e.line[e.at]), string(e.line[e.at+1:])
	}
	return printable(string(e.line[:e.at])) + "\x1b[7m" + printable(under) + "\x1b[0m" + printable(after)
}
