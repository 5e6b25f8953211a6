package int13h

import "time"

// keyboard holds keystrokes as int 16h gives them: the scan code in the high
// byte, the character in the low one.
type keyboard struct {
	queue  []uint16
	escape []byte // the beginning of a terminal's sequence for a key
}

// escapes are the sequences that terminals send for keys, behind ESC.
var escapes = map[string]uint16{
	"[A": 0x4800, "[B": 0x5000, "[C": 0x4D00, "[D": 0x4B00, "[H": 0x4700, "[F": 0x4F00, "[1~": 0x4700, "[4~": 0x4F00,
	"[2~": 0x5200, "[3~": 0x5300, "[5~": 0x4900, "[6~": 0x5100, "OP": 0x3B00, "OQ": 0x3C00, "OR": 0x3D00, "OS": 0x3E00,
	"OA": 0x4800, "OB": 0x5000, "OC": 0x4D00, "OD": 0x4B00, "[21~": 0x4400,
}

// scanCodes are the keys of a US keyboard, row by row; shifted ones share them.
var scanCodes = [...]struct {
	first uint16
	keys  string
}{
	{0x02, "1234567890-="},
	{0x02, "!@#$%^&*()_+"},
	{0x10, "qwertyuiop[]"},
	{0x10, "QWERTYUIOP{}"},
	{0x1E, "asdfghjkl;'`"},
	{0x1E, "ASDFGHJKL:\"~"},
	{0x2B, "\\zxcvbnm,./"},
	{0x2B, "|ZXCVBNM<>?"},
}

func keyOf(b byte) uint16 {
	switch b {
	case '\r', '\n':
		return 0x1C0D
	case 0x1B:
		return 0x011B
	case '\t':
		return 0x0F09
	case 0x7F, '\b':
		return 0x0E08
	case ' ':
		return 0x3920
	}
	letter := b
	if b >= 1 && b <= 26 { // with Ctrl
		letter = b + 'a' - 1
	}
	for _, row := range scanCodes {
		for i := range len(row.keys) {
			if row.keys[i] == letter {
				return (row.first+uint16(i))<<8 | uint16(b)
			}
		}
	}
	return uint16(b)
}

// take gives a byte of the terminal to the keyboard.
func (k *keyboard) take(b byte) {
	switch {
	case b == 0x1B && len(k.escape) == 0:
		k.escape = []byte{b}
	case len(k.escape) > 0:
		k.escape = append(k.escape, b)
		if key, ok := escapes[string(k.escape[1:])]; ok {
			k.queue = append(k.queue, key)
			k.escape = nil
		} else if len(k.escape) > 4 || b != '[' && b != 'O' && (b < '0' || b > '9') {
			k.giveUp()
		}
	default:
		k.queue = append(k.queue, keyOf(b))
	}
}

// giveUp takes the beginning of a sequence for single keys after all.
func (k *keyboard) giveUp() {
	for _, b := range k.escape {
		k.queue = append(k.queue, keyOf(b))
	}
	k.escape = nil
}

// poll takes what has been typed; false if nothing will be any more.
func (m *machine) poll() bool {
	for {
		select {
		case b, ok := <-m.Keys:
			if !ok {
				m.Keys = nil
				m.keys.giveUp()
				return len(m.keys.queue) > 0
			}
			m.keys.take(b)
			continue
		default:
		}
		if len(m.keys.queue) == 0 {
			m.keys.giveUp() // ESC alone
		}
		return m.Keys != nil || len(m.keys.queue) > 0
	}
}

// keyboard is int 16h.
func (m *machine) keyboard(r regs) error {
	switch r.ah() {
	case 0x00, 0x10, 0x20:
		return m.awaitKey(r)
	case 0x01, 0x11, 0x21:
		m.poll()
		if len(m.keys.queue) > 0 {
			r.setAX(r.key(m.keys.queue[0]))
			r.setFlag(flagZF, false)
			return nil
		}
		r.setFlag(flagZF, true)
		return m.clock.pass(m, pollTime)
	case 0x02:
		r.setAL(m.byteAt(bdaShift))
	case 0x12, 0x22: // and the keys of an extended keyboard, which are not here
		r.setAX(uint16(m.byteAt(bdaShift)))
	case 0x05:
		m.keys.queue = append(m.keys.queue, r.low(1))
		r.setAL(0)
	case 0x09:
		r.setAL(0x30)
	}
	return nil
}

// key is a keystroke as the function called gives it: those for old keyboards
// (below 10h) do not tell the grey keys from the others.
func (r regs) key(k uint16) uint16 {
	if r.ah() < 0x10 && k&0xFF == 0xE0 {
		return k &^ 0xFF
	}
	return k
}

// awaitKey waits for a keystroke.
func (m *machine) awaitKey(r regs) error {
	m.screen.flush(m)
	for len(m.keys.queue) == 0 {
		if !m.poll() {
			return ErrNoKey
		}
		if len(m.keys.queue) > 0 {
			break
		}
		if err := m.waitKey(); err != nil {
			return err
		}
	}
	r.setAX(r.key(m.keys.queue[0]))
	m.keys.queue = m.keys.queue[1:]
	return nil
}

// waitKey blocks until the terminal says something, or an ESC stays alone.
func (m *machine) waitKey() error {
	timer := time.NewTimer(50 * time.Millisecond)
	defer timer.Stop()
	select {
	case b, ok := <-m.Keys:
		if ok {
			m.keys.take(b)
		} else {
			m.Keys = nil
		}
	case <-timer.C:
	case <-m.ctx.Done():
		return m.ctx.Err()
	}
	return nil
}
