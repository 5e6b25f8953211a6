package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/bootlun/bootlun/internal/cli"
)

// terminal returns a new terminal, and what a person at it sees once it has been closed.
func terminal(t *testing.T) (*os.File, func() string) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skipf("SKIP: needs a terminal: %v", err)
	}
	t.Cleanup(func() { master.Close() })
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	tty, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	seen := make(chan string)
	go func() {
		b, _ := io.ReadAll(master) // ends with EIO once nobody has the terminal open
		seen <- string(b)
	}()
	return tty, func() string {
		tty.Close()
		return strings.ReplaceAll(<-seen, "\r\n", "\n")
	}
}

func TestColours(t *testing.T) {
	file := tableFile(t, "ipxe-nics")
	for line, want := range map[string]string{
		"check --for all " + file:              "\x1b[31merror\x1b[m for early-cpio: header: ",
		"check --rules":                        "\x1b[1mtable-short\x1b[m (\x1b[31merror\x1b[m; ",
		"diff " + file + " " + edited(t, file): "nic0.vlan                    \x1b[31m0\x1b[m > \x1b[32m42\x1b[m\n",
		"show " + file:                         "\n\x1b[1mTarget 0\x1b[m valid,",
		"show --hex " + file:                   "\n\x1b[1mcontrol\x1b[m\n",
	} {
		for _, env := range []struct {
			term, noColour string
			coloured       bool
		}{{"xterm", "", true}, {"xterm", "1", false}, {"dumb", "", false}, {"", "", false}} {
			t.Setenv("TERM", env.term)
			t.Setenv("NO_COLOR", env.noColour)
			tty, seen := terminal(t)
			run(t.Context(), strings.Fields(line), nil, tty, io.Discard)
			if got := seen(); strings.Contains(got, want) != env.coloured || strings.Contains(got, "\x1b") != env.coloured {
				t.Errorf("ibft %s with %+v: %q, want %q in it: %v", line, env, got, want, env.coloured)
			}
		}
		if _, out, _ := runIn(t, "", line); strings.Contains(out, "\x1b") {
			t.Errorf("ibft %s: colours, and no terminal", line)
		}
	}
}

// edited returns a copy of a table with another VLAN.
func edited(t *testing.T, file string) string {
	t.Helper()
	out := write(t, "edited", "")
	if code, _, errout := runIn(t, "", "set nic0.vlan=42 "+file+" --out "+out); code != cli.ExitOK {
		t.Fatal(errout)
	}
	return out
}

// Bytes do not go to a terminal.
func TestNoBytesForTerminal(t *testing.T) {
	tty, seen := terminal(t)
	var complaint strings.Builder
	code := run(t.Context(), []string{"convert", "--to", "raw", tableFile(t, "ipxe-plain")}, nil, tty, &complaint)
	if got := seen(); code != cli.ExitFailed || got != "" || !strings.Contains(complaint.String(), "--out FILE") {
		t.Errorf("exit %d, %q, %s", code, got, &complaint)
	}
}
