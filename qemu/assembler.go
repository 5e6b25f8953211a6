package qemu

import "time"

// maxLineLength is where a line without an end is cut.
const maxLineLength = 8 << 10

// assembler makes lines of a terminal's byte stream. It keeps what a terminal would overwrite: a return to the line's
// beginning, or a jump elsewhere, ends a line as well, so that no text is lost. Escape sequences (ECMA-48, 5.3 to 5.6) are
// left out. Blanks at a line's end stay: a prompt reads the same before and after what follows it. The zero value is ready.
type assembler struct {
	state    func(*assembler, byte)
	now      time.Time
	complete []Line

	line     []byte
	began    time.Time
	returned bool // A carriage return came last: what follows it says whether the line ended.
}

// take reads a piece of the stream that came now, and returns the lines that it completed.
func (a *assembler) take(b []byte, now time.Time) []Line {
	a.now, a.complete = now, nil
	for _, c := range b {
		if a.state == nil {
			a.state = (*assembler).text
		}
		a.state(a, c)
	}
	return a.complete
}

// unfinished is the line under way; its text is empty where there is none.
func (a *assembler) unfinished() Line { return Line{Time: a.began, Text: string(a.line)} }

func (a *assembler) text(c byte) {
	switch {
	case c == 0x1b:
		a.state = (*assembler).escape
	case c == '\n':
		a.end()
	case c == '\r':
		a.returned = true
	case c == '\b':
		a.line = a.line[:max(0, len(a.line)-1)]
	case c >= ' ' && c != 0x7f || c == '\t':
		a.put(c)
	}
}

func (a *assembler) put(c byte) {
	if a.returned && len(a.line) > 0 || len(a.line) == maxLineLength {
		a.end()
	}
	a.returned = false
	if len(a.line) == 0 {
		a.began = a.now
	}
	a.line = append(a.line, c)
}

func (a *assembler) end() {
	if len(a.line) == 0 {
		a.began = a.now
	}
	a.complete = append(a.complete, Line{Time: a.began, Text: string(a.line)})
	a.line = a.line[:0]
	a.returned = false
}

// escape reads what follows ESC.
func (a *assembler) escape(c byte) {
	switch {
	case c == '[':
		a.state = (*assembler).control
	case c == ']' || c == 'P' || c == 'X' || c == '^' || c == '_':
		a.state = (*assembler).controlString
	case c >= 0x20 && c <= 0x2f: // More of them follow, then a final byte.
	default:
		a.state = (*assembler).text
	}
}

// control reads a control sequence to its final byte.
func (a *assembler) control(c byte) {
	switch {
	case c == 'H' || c == 'f': // A jump to another place of the screen.
		if len(a.line) > 0 {
			a.end()
		}
		a.state = (*assembler).text
	case c >= 0x40 && c <= 0x7e || c < 0x20:
		a.state = (*assembler).text
		if c < 0x20 { // Not part of any sequence: it was cut off.
			a.text(c)
		}
	}
}

// controlString reads a string such as a window's title to its end, which is BEL or ESC \; a line's end does it too, so
// that garbage does not swallow the transcript.
func (a *assembler) controlString(c byte) {
	switch c {
	case 0x1b:
		a.state = (*assembler).escape
	case 0x07:
		a.state = (*assembler).text
	case '\n':
		a.state = (*assembler).text
		a.text(c)
	}
}
