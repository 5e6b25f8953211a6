package boot

import (
	"bytes"
	"io"
	"os"
	"strings"
	"testing"
)

// fakeTerminal is typed at by a pipe, and keeps what it shows.
type fakeTerminal struct {
	*os.File // to read from
	shown    bytes.Buffer
	typing   *os.File
}

func (f *fakeTerminal) Write(p []byte) (int, error) { return f.shown.Write(p) }

func newFakeTerminal(t *testing.T) *fakeTerminal {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close(); w.Close() })
	return &fakeTerminal{File: r, typing: w}
}

// A serial console is a screen until the loader uses its serial port, and then
// that port alone; what is typed there goes along.
func TestLoaderConsoles(t *testing.T) {
	screen, line := newFakeTerminal(t), newFakeTerminal(t)
	l := shareConsoles([]terminal{{screen, false}, {line, true}})
	typed := func(f *fakeTerminal, from <-chan byte, want byte) {
		t.Helper()
		if _, err := f.typing.Write([]byte{want}); err != nil {
			t.Fatal(err)
		}
		select {
		case got := <-from:
			if got != want {
				t.Errorf("typed %q, %q has come", want, got)
			}
		case <-t.Context().Done():
			t.Fatal("what was typed has not come")
		}
	}
	io.WriteString(l.screen(), "menu")
	typed(screen, l.keys, 'a')
	typed(line, l.keys, 'b')
	io.WriteString(l.line(), "serial menu")
	io.WriteString(l.screen(), "later")
	typed(screen, l.keys, 'c')
	typed(line, l.received, 'd')
	l.close()
	if got := screen.shown.String(); !strings.Contains(got, "menulater") || strings.Contains(got, "serial") {
		t.Errorf("the screen shows %q", got)
	}
	if got := line.shown.String(); !strings.Contains(got, "menuserial menu\x1b[0m") {
		t.Errorf("the serial line shows %q", got)
	}
}
