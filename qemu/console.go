package qemu

import (
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"time"
)

// maxLines bounds the transcript: where a machine has written more, the oldest lines are forgotten.
const maxLines = 100_000

// ErrConsoleClosed is why a console gives or takes nothing more: its machine has ended.
var ErrConsoleClosed = errors.New("the machine's console has ended")

// Line is a line of the console's transcript.
type Line struct {
	Time time.Time // When its first character came.
	Text string    // Without its end, escape sequences and other control characters.
}

// Console is a machine's serial line. A goroutine of its own reads it from the machine's start to its end and keeps the
// transcript, so that nothing is lost while nobody looks. Its methods may be called from several goroutines.
type Console struct {
	conn net.Conn
	done chan struct{} // Closed when the reader has ended.

	// hookMu is held while hooks run, and while one is added and told the past: so each sees everything once, in order.
	hookMu sync.Mutex
	hooks  []*hook

	mu      sync.Mutex
	text    assembler
	lines   []Line // The complete ones.
	first   int    // How many were forgotten before lines[0].
	cursor  position
	changed chan struct{} // Closed when there is more to read; then replaced.
}

func newConsole(conn net.Conn) *Console {
	c := &Console{conn: conn, done: make(chan struct{}), changed: make(chan struct{})}
	go c.read()
	return c
}

// close ends the console and waits for its reader. What the machine wrote before its end is read first: the stream ends
// by itself when the process has ended.
func (c *Console) close() {
	c.conn.SetWriteDeadline(time.Now())
	<-c.done
	c.conn.Close()
}

// read is the console's goroutine.
func (c *Console) read() {
	defer close(c.done)
	buf := make([]byte, 32<<10)
	for {
		n, err := c.conn.Read(buf)
		if n > 0 {
			c.take(buf[:n], time.Now())
		}
		if err != nil {
			return
		}
	}
}

// take puts what came into the transcript and hands it to the hooks.
func (c *Console) take(b []byte, now time.Time) {
	c.hookMu.Lock()
	defer c.hookMu.Unlock()
	c.mu.Lock()
	complete := c.text.take(b, now)
	c.lines = append(c.lines, complete...)
	if over := len(c.lines) - maxLines; over > 0 {
		over += maxLines / 10 // Many at a time: it copies the rest.
		c.lines = slices.Delete(c.lines, 0, over)
		c.first += over
	}
	close(c.changed)
	c.changed = make(chan struct{})
	c.mu.Unlock()

	c.hooks = slices.DeleteFunc(c.hooks, func(h *hook) bool { return h.stopped.Load() })
	for _, h := range c.hooks {
		h.feed(b, complete)
	}
}

// Send types text into the console. A serial line's enter key is "\r"; Linux takes "\n" for it too.
func (c *Console) Send(text string) error {
	if _, err := io.WriteString(c.conn, text); err != nil {
		return fmt.Errorf("qemu: typing into the console: %w: %w", ErrConsoleClosed, err)
	}
	return nil
}

// Lines is the transcript so far, with an unfinished last line if there is one.
func (c *Console) Lines() []Line {
	c.mu.Lock()
	defer c.mu.Unlock()
	lines := slices.Clone(c.lines)
	if l := c.text.unfinished(); l.Text != "" {
		lines = append(lines, l)
	}
	return lines
}
