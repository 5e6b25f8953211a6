package menu

import (
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// terminal sends its keys one after the other, and then none.
type terminal struct {
	keys     []string
	shown    strings.Builder
	deadline time.Time
	err      error
}

func (t *terminal) Write(b []byte) (int, error) { return t.shown.Write(b) }

func (t *terminal) SetReadDeadline(at time.Time) error { t.deadline = at; return nil }

func (t *terminal) Read(b []byte) (int, error) {
	if t.err != nil {
		return 0, t.err
	}
	if len(t.keys) == 0 || t.keys[0] == "" {
		if len(t.keys) > 0 {
			t.keys = t.keys[1:]
		}
		time.Sleep(time.Until(t.deadline))
		return 0, os.ErrDeadlineExceeded
	}
	n := copy(b, t.keys[0])
	t.keys = t.keys[1:]
	return n, nil
}

func TestChoose(t *testing.T) {
	items := []Item{{Title: "zero", Cmdline: "ro"}, {Title: "one", Cmdline: "rw\x1b[2J"}, {Title: "bad", Problem: "it is Windows"}, {Title: "three"}}
	tests := []struct {
		name string
		keys []string
		want Choice
	}{
		{"nobody", nil, Choice{1, "rw\x1b[2J", false}},
		{"enter", []string{"\r"}, Choice{1, "rw\x1b[2J", true}},
		{"up", []string{"\x1b[A", "\r"}, Choice{0, "ro", true}},
		{"up in pieces", []string{"\x1b", "[", "A\r"}, Choice{0, "ro", true}},
		{"past what cannot be started", []string{"\x1bOB\r", "\x1b[B", "\r"}, Choice{3, "", true}},
		{"home and end", []string{"\x1b[F\x1b[H\n"}, Choice{0, "ro", true}},
		{"edit", []string{"\x1b[Ae single", "\x7f\x7f", "\r"}, Choice{0, "ro sing", true}},
		{"edit inside", []string{"\x1b[Ae\x1b[D", "x\x1b[3~y\x01=\r"}, Choice{0, "=rxy", true}},
		{"edit given up", []string{"\x1b[Aejunk", "\x1b", "", "\r"}, Choice{0, "ro", true}},
		{"umlaut in pieces", []string{"\x1b[Ae\x15\xc3", "\xa4\r"}, Choice{0, "ä", true}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tty, other := &terminal{keys: tt.keys}, &terminal{}
				got, err := Menu{Items: items, Default: 1, Timeout: 3 * time.Second}.Choose(t.Context(), tty, other)
				if err != nil || got != tt.want {
					t.Errorf("%+v, %v; want %+v", got, err, tt.want)
				}
				if !strings.Contains(other.shown.String(), "starts in 3 s") && tt.keys == nil {
					t.Errorf("shown: %q", other.shown.String())
				}
				if strings.Contains(tty.shown.String(), "[2J") {
					t.Error("an entry's text reached the terminal as an escape sequence")
				}
			})
		})
	}
}

func TestChooseEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := Menu{Items: []Item{{Title: "x"}}, Timeout: -1}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err := m.Choose(ctx, &terminal{}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("with a terminal and no timeout: %v", err)
		}
		if c, err := m.Choose(t.Context(), &terminal{err: io.EOF}); err != nil || c.Manual {
			t.Errorf("with a dead terminal: %+v, %v", c, err)
		}
		if _, err := (Menu{}).Choose(t.Context()); !errors.Is(err, ErrNothing) {
			t.Errorf("empty: %v", err)
		}
	})
}

func FuzzKeys(f *testing.F) {
	f.Add([]byte("\x1b[1;5A\x1bO"), 3)
	f.Fuzz(func(t *testing.T, b []byte, cut int) {
		var d decoder
		e := editor{}
		cut = max(0, min(cut, len(b)))
		for _, k := range append(append(d.decode(b[:cut]), d.decode(b[cut:])...), d.flush()...) {
			e.press(k)
			if e.at < 0 || e.at > len(e.line) {
				t.Fatalf("cursor %d of %d", e.at, len(e.line))
			}
			e.picture()
		}
	})
}
