package qemu

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// testConsole is a console with the machine's end of its line.
func testConsole(t *testing.T) (*Console, net.Conn) {
	t.Helper()
	ours, machine := net.Pipe()
	c := newConsole(ours)
	t.Cleanup(func() { machine.Close(); c.close() })
	return c, machine
}

func say(t *testing.T, machine net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(machine, text); err != nil {
		t.Fatal(err)
	}
}

func texts(lines []Line) []string {
	var s []string
	for _, l := range lines {
		s = append(s, l.Text)
	}
	return s
}

func TestAssembler(t *testing.T) {
	for _, tt := range []struct {
		name, in   string
		want       []string
		unfinished string
	}{
		{"lines", "one\r\ntwo\n\nthree", []string{"one", "two", ""}, "three"},
		{"prompt keeps its blank", "login: ", nil, "login: "},
		{"blanks at the end", "x  \t\r\n", []string{"x  \t"}, ""},
		{"colours", "\x1b[0;1miPXE\x1b[0m 1.0\n", []string{"iPXE 1.0"}, ""},
		{"SeaBIOS begins", "\x1bc\x1b[?7l\x1b[2J\x1b[0mSeaBIOS\r\n", []string{"SeaBIOS"}, ""},
		{"several returns", "a\r\r\nb\n", []string{"a", "b"}, ""},
		{"overwritten", "Press Ctrl-B...\r      \rnext\n", []string{"Press Ctrl-B...", "      ", "next"}, ""},
		{"erased", "abc\b \b\b \bX", nil, "aX"},
		{"erased too often", "a\b\b\bX", nil, "X"},
		{"jump", "one\x1b[5;1Htwo\x1b[Hthree", []string{"one", "two"}, "three"},
		{"title", "\x1b]0;a title\x07text", nil, "text"},
		{"title, other end", "\x1b]0;a title\x1b\\text", nil, "text"},
		{"title without end", "\x1b]0;a title\ntext", []string{""}, "text"},
		{"character set", "\x1b(Btext", nil, "text"},
		{"sequence cut off", "\x1b[12\ntext", []string{""}, "text"},
		{"controls", "a\x00b\x07c\x7fd\te", nil, "abcd\te"},
		{"UTF-8", "grün\n", []string{"grün"}, ""},
		{"long", strings.Repeat("x", maxLineLength+1), []string{strings.Repeat("x", maxLineLength)}, "x"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var a assembler
			got := texts(a.take([]byte(tt.in), time.Now()))
			if !slices.Equal(got, tt.want) || a.unfinished().Text != tt.unfinished {
				t.Errorf("lines %q and %q, want %q and %q", got, a.unfinished().Text, tt.want, tt.unfinished)
			}
			var b assembler
			got = nil
			for i := range len(tt.in) {
				got = append(got, texts(b.take([]byte{tt.in[i]}, time.Now()))...)
			}
			if !slices.Equal(got, tt.want) || b.unfinished().Text != tt.unfinished {
				t.Errorf("byte by byte: lines %q and %q", got, b.unfinished().Text)
			}
		})
	}
}

func TestLinesHaveTheTimeOfTheirBeginning(t *testing.T) {
	var a assembler
	at := func(s int64) time.Time { return time.Unix(s, 0) }
	a.take([]byte("a"), at(1))
	lines := a.take([]byte("b\n\nc"), at(2))
	lines = append(lines, a.take([]byte("\n"), at(3))...)
	want := []Line{{at(1), "ab"}, {at(2), ""}, {at(2), "c"}}
	if !slices.Equal(lines, want) {
		t.Errorf("lines %v, want %v", lines, want)
	}
}

func FuzzAssembler(f *testing.F) {
	f.Add([]byte("\x1bc\x1b[?7l\x1b[2J\x1b[0mSeaBIOS\r\n\b\b\x1b]0;x\x1b\\"))
	f.Fuzz(func(t *testing.T, in []byte) {
		var whole, parts assembler
		want := whole.take(in, time.Time{})
		var got []Line
		for i := range in {
			got = append(got, parts.take(in[i:i+1], time.Time{})...)
		}
		if !slices.Equal(got, want) || whole.unfinished() != parts.unfinished() {
			t.Errorf("in one piece %q, byte by byte %q", want, got)
		}
		for _, l := range want {
			if strings.ContainsAny(l.Text, "\x1b\r\n\b") || len(l.Text) > maxLineLength {
				t.Errorf("a line is %q", l.Text)
			}
		}
	})
}

func TestExpect(t *testing.T) {
	c, machine := testConsole(t)
	say(t, machine, "net0: 10.0.0.9/24 gw 10.0.0.1\r\nnet0: second\r\nlogin: ")
	expect := func(pattern string, want ...string) {
		t.Helper()
		m, err := c.Expect(t.Context(), regexp.MustCompile(pattern))
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(m.Groups, want) {
			t.Errorf("%q found %q, want %q", pattern, m.Groups, want)
		}
	}
	expect(`net0: ([\d.]+)/(\d+)( x)?`, "net0: 10.0.0.9/24", "10.0.0.9", "24", "")
	expect(`net0: (\w+)`, "net0: second", "second")
	expect(`login: $`, "login: ")

	// What is still to come: in pieces, and again what was already found once.
	go func() {
		for _, s := range []string{"root\r\nPass", "word: ", "\r\nlogin: "} {
			io.WriteString(machine, s)
		}
	}()
	expect(`Password: $`, "Password: ")
	expect(`login: $`, "login: ")
}

func TestExpectFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, machine := testConsole(t)
		for range shownLines {
			say(t, machine, "old\n")
		}
		say(t, machine, "\x1b[31mpanic\x1b[0m: no root\nand then")
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_, err := c.Expect(ctx, regexp.MustCompile("login:"))
		var failed *ExpectError
		if !errors.As(err, &failed) || !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("error %v", err)
		}
		if len(failed.Last) != shownLines || !strings.HasSuffix(err.Error(), "\n\told\n\tpanic: no root\n\tand then") {
			t.Errorf("the error is %v", err)
		}
		// Nothing was consumed.
		if _, err := c.Expect(t.Context(), regexp.MustCompile("panic")); err != nil {
			t.Error(err)
		}
		machine.Close()
		if _, err := c.Expect(t.Context(), regexp.MustCompile("panic")); !errors.Is(err, ErrConsoleClosed) {
			t.Errorf("after the end: %v, want ErrConsoleClosed", err)
		}
		if _, err := c.Expect(t.Context(), regexp.MustCompile("and then")); err != nil {
			t.Errorf("what came before the end: %v", err)
		}
		if err := c.Send("x"); !errors.Is(err, ErrConsoleClosed) {
			t.Errorf("typing after the end: %v, want ErrConsoleClosed", err)
		}
	})
}

func TestTranscriptIsBounded(t *testing.T) {
	c, _ := testConsole(t)
	c.take([]byte("first\n"), time.Now())
	c.take(bytes.Repeat([]byte("x\n"), maxLines), time.Now())
	c.take([]byte("last\n"), time.Now())
	lines := c.Lines()
	if len(lines) > maxLines || lines[0].Text != "x" || lines[len(lines)-1].Text != "last" {
		t.Errorf("%d lines, from %q to %q", len(lines), lines[0].Text, lines[len(lines)-1].Text)
	}
	if _, err := c.Expect(t.Context(), regexp.MustCompile("last")); err != nil {
		t.Error(err)
	}
}

func TestHooksSeeEverythingOnce(t *testing.T) {
	c, machine := testConsole(t)
	say(t, machine, "one\r\ntwo\r\nthr")
	if _, err := c.Expect(t.Context(), regexp.MustCompile("thr")); err != nil {
		t.Fatal(err)
	}
	var raw bytes.Buffer
	var lines []string
	c.Tee(&raw)
	var stop func()
	stop = c.OnLine(func(l Line) {
		if lines = append(lines, l.Text); l.Text == "four" {
			stop()
		}
	})
	say(t, machine, "ee\r\nfour\r\nfive\r\n\x1b[0m")
	machine.Close()
	<-c.done
	if want := "one\r\ntwo\r\nthree\r\nfour\r\nfive\r\n\x1b[0m"; raw.String() != want {
		t.Errorf("Tee wrote %q, want %q", raw.String(), want)
	}
	if want := []string{"one", "two", "three", "four"}; !slices.Equal(lines, want) {
		t.Errorf("OnLine saw %q, want %q", lines, want)
	}
}

func TestPromptAnswer(t *testing.T) {
	for _, tt := range []struct {
		in   []string
		want int
	}{
		{[]string{"x" + ipxePrompt}, 1},
		{[]string{ipxePrompt[:10], ipxePrompt[10:]}, 1},
		{[]string{"PPress" + ipxePrompt + ipxePrompt}, 2},
		{[]string{"Press Ctrl-B to configure iPXE (PCI 00:02.0)..."}, 0},
	} {
		n := 0
		p := promptAnswer{send: func(string) error { n++; return nil }}
		for _, s := range tt.in {
			if _, err := p.Write([]byte(s)); err != nil {
				t.Error(err)
			}
		}
		if n != tt.want {
			t.Errorf("%q was answered %d times, want %d", tt.in, n, tt.want)
		}
	}
}

func TestEscaper(t *testing.T) {
	for _, tt := range []struct {
		in       []string
		want     string
		detached bool
	}{
		{[]string{"ls\r"}, "ls\r", false},
		{[]string{"a\x01xb"}, "a", true},
		{[]string{"a\x01", "x"}, "a", true},
		{[]string{"\x01\x01b"}, "\x01b", false},
		{[]string{"\x01cb"}, "b", false},
	} {
		e := escaper{escape: DefaultEscape}
		var got string
		var detached bool
		for _, s := range tt.in {
			var text []byte
			text, detached = e.take([]byte(s))
			got += string(text)
		}
		if got != tt.want || detached != tt.detached {
			t.Errorf("%q: typed %q, detached %t; want %q, %t", tt.in, got, detached, tt.want, tt.detached)
		}
	}
}

func TestAttach(t *testing.T) {
	attach := func(t *testing.T, ctx context.Context) (machine, user net.Conn, result <-chan error) {
		c, machine := testConsole(t)
		user, in := net.Pipe()
		t.Cleanup(func() { user.Close() })
		ended := make(chan error, 1)
		go func() { ended <- c.Attach(ctx, in, in, 0) }()
		return machine, user, ended
	}
	read := func(t *testing.T, r io.Reader, want string) {
		t.Helper()
		b := make([]byte, len(want))
		if _, err := io.ReadFull(r, b); err != nil || string(b) != want {
			t.Fatalf("read %q, %v; want %q", b, err, want)
		}
	}
	t.Run("detach", func(t *testing.T) {
		machine, user, result := attach(t, t.Context())
		say(t, machine, "login: ")
		read(t, user, "login: ")
		say(t, user, "root\r\x01x")
		read(t, machine, "root\r")
		if err := <-result; err != nil {
			t.Error(err)
		}
	})
	t.Run("the machine ends", func(t *testing.T) {
		machine, _, result := attach(t, t.Context())
		machine.Close()
		if err := <-result; !errors.Is(err, ErrConsoleClosed) {
			t.Errorf("error %v, want ErrConsoleClosed", err)
		}
	})
	t.Run("the context ends", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		_, _, result := attach(t, ctx)
		cancel()
		if err := <-result; !errors.Is(err, context.Canceled) {
			t.Errorf("error %v, want the context's", err)
		}
	})
	t.Run("nothing to type", func(t *testing.T) {
		c, machine := testConsole(t)
		var out bytes.Buffer
		result := make(chan error, 1)
		go func() { result <- c.Attach(t.Context(), strings.NewReader("hi"), &out, 0) }()
		read(t, machine, "hi")
		say(t, machine, "goodbye")
		machine.Close()
		if err := <-result; !errors.Is(err, ErrConsoleClosed) {
			t.Errorf("error %v, want ErrConsoleClosed", err)
		}
		if !strings.HasSuffix(out.String(), "goodbye") {
			t.Errorf("the user saw %q", out.String())
		}
	})
}
