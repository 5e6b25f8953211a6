package int13h

import "github.com/bootlun/bootlun/bootloader/int13h/x86"

// Text mode 3: 80 by 25 cells of a character and its attribute at B800:0000.
const (
	columns    = 80
	rows       = 25
	textMemory = 0xB8000
	pageBytes  = 0x1000
	plain      = 0x07 // light grey on black
)

// video is int 10h. What it does not know, VESA (AH = 4Fh) among it, leaves the
// registers as they are, which is how a caller learns that it is not there.
func (m *machine) video(r regs) {
	switch r.ah() {
	case 0x00:
		m.setMode(r)
	case 0x01:
		m.setWord(bdaShape, r.low(x86.ECX))
	case 0x02:
		m.setWord(bdaCursor, r.low(x86.EDX))
	case 0x03:
		r.set(x86.ECX, m.word(bdaShape))
		r.set(x86.EDX, m.word(bdaCursor))
	case 0x06, 0x07:
		m.scroll(r)
	case 0x08:
		r.setAX(m.word(m.cursorCell()))
	case 0x09, 0x0A:
		m.repeatCharacter(r)
	case 0x0E:
		m.teletype(r.al(), -1)
	case 0x0F:
		r.setAX(columns<<8 | uint16(m.byteAt(bdaVideoMode)))
		r.setHigh(x86.EBX, 0)
	case 0x11:
		if r.al() == 0x30 { // the font's height, and the last row; no font
			r.set(x86.ECX, 16)
			r.setLow(x86.EDX, rows-1)
		}
	case 0x12:
		if r.low8(x86.EBX) == 0x10 { // EGA information: colour, 256 KiB
			r.set(x86.EBX, 0x0003)
			r.set(x86.ECX, 0x0009)
		}
	case 0x13:
		m.writeString(r)
	case 0x1A:
		if r.al() == 0 { // VGA with a colour display
			r.setAL(0x1A)
			r.set(x86.EBX, 0x0008)
		}
	}
}

// noGraphics is shown where a program draws; Debian's GRUB does by default, and takes VGA's mode 12h for granted.
const noGraphics = "The boot loader draws graphics, which cannot be shown. Its keys work.\r\n" +
	"With GRUB_TERMINAL=console in /etc/default/grub, GRUB shows text."

// setMode knows the colour text mode alone: whatever is asked for, it is that.
func (m *machine) setMode(r regs) {
	m.screen.reset(m)
	if r.al()&0x80 == 0 {
		m.clearRows(0, 0, rows-1, columns-1, plain)
	}
	if mode := r.al() & 0x7F; mode > 3 && mode != 7 {
		for _, ch := range []byte(noGraphics) {
			m.teletype(ch, -1)
		}
	}
	r.setAL(0x30)
}

func cell(row, column int) uint32 { return textMemory + uint32(row*columns+column)*2 }

func (m *machine) cursor() (row, column int) {
	p := m.word(bdaCursor)
	return min(int(p>>8), rows-1), min(int(p&0xFF), columns-1)
}

func (m *machine) setCursor(row, column int) { m.setWord(bdaCursor, uint16(row<<8|column)) }

func (m *machine) cursorCell() uint32 { return cell(m.cursor()) }

func (m *machine) clearRows(top, left, bottom, right int, attribute uint8) {
	for row := top; row <= bottom; row++ {
		for column := left; column <= right; column++ {
			m.setWord(cell(row, column), uint16(attribute)<<8|' ')
		}
	}
}

// scroll is functions 06h (up) and 07h (down): AL lines of a window, or all.
func (m *machine) scroll(r regs) {
	top, left := int(r.high8(x86.ECX)), int(r.low8(x86.ECX))
	bottom, right := min(int(r.high8(x86.EDX)), rows-1), min(int(r.low8(x86.EDX)), columns-1)
	lines, attribute := int(r.al()), r.high8(x86.EBX)
	if top > bottom || left > right {
		return
	}
	if lines == 0 || lines > bottom-top {
		m.clearRows(top, left, bottom, right, attribute)
		return
	}
	width := (right - left + 1) * 2
	if r.ah() == 0x06 {
		for row := top; row <= bottom-lines; row++ {
			m.cpu.Write(cell(row, left), m.bytes(cell(row+lines, left), width))
		}
		m.clearRows(bottom-lines+1, left, bottom, right, attribute)
		return
	}
	for row := bottom; row >= top+lines; row-- {
		m.cpu.Write(cell(row, left), m.bytes(cell(row-lines, left), width))
	}
	m.clearRows(top, left, top+lines-1, right, attribute)
}

// repeatCharacter is functions 09h and 0Ah, which do not move the cursor.
func (m *machine) repeatCharacter(r regs) {
	at := m.cursorCell()
	end := cell(rows-1, columns-1)
	for range r.low(x86.ECX) {
		if at > end {
			return
		}
		m.setByte(at, r.al())
		if r.ah() == 0x09 {
			m.setByte(at+1, r.low8(x86.EBX))
		}
		at += 2
	}
}

// teletype writes a character at the cursor and moves on; an attribute below zero
// leaves the cell's.
func (m *machine) teletype(ch uint8, attribute int) {
	row, column := m.cursor()
	switch ch {
	case '\a':
	case '\b':
		column = max(column-1, 0)
	case '\n':
		row++
	case '\r':
		column = 0
	default:
		m.setByte(cell(row, column), ch)
		if attribute >= 0 {
			m.setByte(cell(row, column)+1, uint8(attribute))
		}
		column++
	}
	if column == columns {
		row, column = row+1, 0
	}
	if row == rows {
		row--
		m.screen.flush(m) // what scrolls away has been seen
		m.cpu.Write(cell(0, 0), m.bytes(cell(1, 0), (rows-1)*columns*2))
		m.clearRows(rows-1, 0, rows-1, columns-1, plain)
	}
	m.setCursor(row, column)
}

// writeString is function 13h: CX characters at ES:BP from the position DX; AL
// bit 0 moves the cursor, bit 1 says that attributes stand between.
func (m *machine) writeString(r regs) {
	old := m.word(bdaCursor)
	m.setWord(bdaCursor, r.low(x86.EDX))
	at, mode := r.at(x86.ES, r.low(x86.EBP)), r.al()
	for range min(r.low(x86.ECX), columns*rows) {
		attribute := int(r.low8(x86.EBX))
		ch := m.byteAt(at)
		at++
		if mode&2 != 0 {
			attribute = int(m.byteAt(at))
			at++
		}
		m.teletype(ch, attribute)
	}
	if mode&1 == 0 {
		m.setWord(bdaCursor, old)
	}
}
