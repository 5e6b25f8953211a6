// Package menu lets a person choose what to start, on any number of terminals at once: a serial line and a screen, say.
//
// [Menu.Choose] shows the entries and counts down; the first key stops that. Arrow keys move, Enter starts, "e" edits the command
// line. It needs of a terminal only the escape sequences that all have (cursor home, clear, reverse), and no goroutine: it asks the
// terminals for keys in turn.
package menu

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

// Terminal is a tty in raw mode, or anything that behaves like one.
type Terminal interface {
	io.ReadWriter
	SetReadDeadline(time.Time) error
}

// Item is one line of the menu.
type Item struct {
	Title   string
	Cmdline string
	// Problem says why it cannot be started; empty if it can.
	Problem string
}

// Menu is what to show.
type Menu struct {
	Title string
	Items []Item
	// Default is the index to start with.
	Default int
	// Timeout is how long to wait for the first key; negative is for ever.
	Timeout time.Duration
}

// Choice is what was chosen.
type Choice struct {
	Index int
	// Cmdline is the item's, or what it was edited to.
	Cmdline string
	// Manual says that a key was pressed, so that a person is there.
	Manual bool
}

// ErrNothing means that there is no item.
var ErrNothing = errors.New("the menu is empty")

// poll is how long to wait for a key of one terminal before the next is asked.
const poll = 40 * time.Millisecond

// Choose shows the menu and returns what was chosen, the default when the time is over or no terminal can be read. The error is
// ctx's, or ErrNothing.
func (m Menu) Choose(ctx context.Context, terminals ...Terminal) (Choice, error) {
	if len(m.Items) == 0 {
		return Choice{}, ErrNothing
	}
	c := chooser{Menu: m, at: max(0, min(m.Default, len(m.Items)-1)), keys: make([]decoder, len(terminals)), terminals: terminals}
	start := time.Now()
	for ctx.Err() == nil {
		left := m.Timeout - time.Since(start)
		if !c.manual && m.Timeout >= 0 && (left <= 0 || len(terminals) == 0) {
			c.write("\x1b[0m\r\n")
			return Choice{Index: c.at, Cmdline: m.Items[c.at].Cmdline}, nil
		}
		c.countDown(left)
		alive := false
		for i, t := range terminals {
			if c.dead(i) {
				continue
			}
			alive = true
			if c.ask(i, t) {
				c.write("\x1b[0m\x1b[H\x1b[J")
				return Choice{Index: c.at, Cmdline: c.cmdline(), Manual: true}, nil
			}
		}
		if !alive {
			return Choice{Index: c.at, Cmdline: m.Items[c.at].Cmdline}, nil
		}
	}
	return Choice{}, ctx.Err()
}

// chooser is a menu while it is shown.
type chooser struct {
	Menu
	terminals []Terminal
	keys      []decoder
	at        int
	manual    bool
	shown     string // what the terminals show
	seconds   int
	edit      *editor
	edited    *string
}

func (c *chooser) dead(i int) bool { return c.keys[i].dead }

func (c *chooser) write(s string) {
	for _, t := range c.terminals {
		io.WriteString(t, s)
	}
}

// countDown draws what has changed.
func (c *chooser) countDown(left time.Duration) {
	c.seconds = -1
	if !c.manual && c.Timeout >= 0 {
		c.seconds = int((left + time.Second - 1) / time.Second)
	}
	if s := c.picture(); s != c.shown {
		c.shown = s
		c.write("\x1b[0m\x1b[H\x1b[J" + s)
	}
}

// height is how many entries are shown at once: a terminal has 24 lines at least.
const height = 16

func (c *chooser) picture() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\r\n\r\n", c.Title)
	if c.edit != nil {
		fmt.Fprintf(&b, "Command line of %q (Enter starts, Escape goes back):\r\n\r\n%s", printable(c.Items[c.at].Title), c.edit.picture())
		return b.String()
	}
	first := max(0, min(c.at-height/2, len(c.Items)-height))
	for i := first; i < min(first+height, len(c.Items)); i++ {
		line := printable(c.Items[i].Title)
		if c.Items[i].Problem != "" {
			line += " (cannot be started)"
		}
		if runes := []rune(line); len(runes) > 74 {
			line = string(runes[:73]) + "…"
		}
		if i == c.at {
			line = "\x1b[7m> " + line + "\x1b[0m"
		} else {
			line = "  " + line
		}
		b.WriteString(line + "\r\n")
	}
	b.WriteString("\r\n")
	switch p := c.Items[c.at].Problem; {
	case p != "":
		b.WriteString(printable(p) + "\r\n")
	case c.seconds >= 0:
		fmt.Fprintf(&b, "starts in %d s; any key stops the clock\r\n", c.seconds)
	default:
		b.WriteString("Enter starts, e edits the command line\r\n")
	}
	return b.String()
}

// printable keeps a disk's texts from sending escape sequences.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7F && r < 0xA0 {
			return '.'
		}
		return r
	}, s)
}

func (c *chooser) cmdline() string {
	if c.edited != nil {
		return *c.edited
	}
	return c.Items[c.at].Cmdline
}

// ask reads what keys a terminal has and reports whether the choice is made.
func (c *chooser) ask(i int, t Terminal) bool {
	d := &c.keys[i]
	if err := t.SetReadDeadline(time.Now().Add(poll)); err != nil {
		d.dead = true
		return false
	}
	var buf [64]byte
	n, err := t.Read(buf[:])
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		d.dead = true
	}
	keys := d.decode(buf[:n])
	if n == 0 {
		keys = d.flush()
	}
	for _, k := range keys {
		c.manual = true
		if c.press(k) {
			return true
		}
	}
	return false
}

// press handles one key.
func (c *chooser) press(k key) bool {
	if c.edit != nil {
		switch k {
		case keyEscape:
			c.edit = nil
		case keyEnter:
			line := string(c.edit.line)
			c.edited, c.edit = &line, nil
			return true
		default:
			c.edit.press(k)
		}
		return false
	}
	switch k {
	case keyUp, 'k':
		c.at = max(0, c.at-1)
	case keyDown, 'j':
		c.at = min(len(c.Items)-1, c.at+1)
	case keyHome:
		c.at = 0
	case keyEnd:
		c.at = len(c.Items) - 1
	case 'e':
		if c.Items[c.at].Problem == "" {
			line := []rune(c.Items[c.at].Cmdline)
			c.edit = &editor{line: line, at: len(line)}
		}
	case keyEnter:
		return c.Items[c.at].Problem == ""
	}
	return false
}
