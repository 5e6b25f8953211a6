package int13h

import (
	"bytes"
	"fmt"
	"time"
)

// screen shows text memory on a terminal: what has changed since it was last
// looked at, whoever wrote it, the BIOS or the program.
type screen struct {
	shown  [rows * columns * 2]byte
	cursor uint16
	last   time.Duration
	drawn  bool
}

const refreshTime = 20 * time.Millisecond

// reset is the state after a mode has been set.
func (s *screen) reset(m *machine) {
	m.setByte(bdaVideoMode, 3)
	m.setWord(bdaColumns, columns)
	m.setWord(bdaPageSize, pageBytes)
	m.setWord(bdaShape, 0x0607)
	m.setWord(bdaCRTC, 0x3D4)
	m.setByte(bdaRows, rows-1)
	m.setWord(bdaCursor, 0)
	if !s.drawn {
		m.clearRows(0, 0, rows-1, columns-1, plain)
		for i := range s.shown {
			s.shown[i] = [2]byte{' ', plain}[i&1]
		}
		s.drawn = true
	}
}

func (s *screen) maybeFlush(m *machine) {
	if now := m.clock.now(m); now-s.last >= refreshTime {
		s.last = now
		s.flush(m)
	}
}

// flush writes the changes since the last one to the terminal.
func (s *screen) flush(m *machine) {
	if m.Screen == nil {
		return
	}
	text := m.bytes(textMemory, len(s.shown))
	var out bytes.Buffer
	for row := range rows {
		s.changes(&out, row, text[row*columns*2:][:columns*2])
	}
	if p := m.word(bdaCursor); out.Len() > 0 || p != s.cursor {
		s.cursor = p
		fmt.Fprintf(&out, "\x1b[%d;%dH", p>>8+1, p&0xFF+1)
	}
	if out.Len() > 0 {
		if _, err := m.Screen.Write(out.Bytes()); err != nil {
			m.Log.Warn("screen lost", "error", err)
			m.Screen = nil
		}
	}
}

// changes writes what of a row is not shown yet.
func (s *screen) changes(out *bytes.Buffer, row int, text []byte) {
	shown := s.shown[row*columns*2:][:columns*2]
	at, inverse := -1, false
	for column := range columns {
		c := text[column*2:][:2]
		if bytes.Equal(c, shown[column*2:][:2]) {
			continue
		}
		if at != column {
			fmt.Fprintf(out, "\x1b[%d;%dH", row+1, column+1)
		}
		if dark := c[1]&0x70 != 0; dark != inverse {
			inverse = dark
			out.WriteString(map[bool]string{true: "\x1b[7m", false: "\x1b[0m"}[inverse])
		}
		out.WriteRune(printable(c[0]))
		at = column + 1
	}
	if inverse {
		out.WriteString("\x1b[0m")
	}
	copy(shown, text)
}

// frames are code page 437's lines, from B3h on.
const frames = "│┤╡╢╖╕╣║╗╝╜╛┐└┴┬├─┼╞╟╚╔╩╦╠═╬╧╨╤╥╙╘╒╓╫╪┘┌█▄▌▐▀"

func printable(ch byte) rune {
	switch {
	case ch >= ' ' && ch < 0x7F:
		return rune(ch)
	case ch >= 0xB3 && ch <= 0xDF:
		return []rune(frames)[ch-0xB3]
	case ch == 0x18:
		return '↑'
	case ch == 0x19:
		return '↓'
	case ch == 0 || ch == 0xFF:
		return ' '
	}
	return '·'
}
