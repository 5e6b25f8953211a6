package main

import (
	"io"
	"os"

	"github.com/bootlun/bootlun/ibft"
	"golang.org/x/term"
)

// The colours, as the parameters of ECMA-48's SGR.
const (
	bold   = "1"
	red    = "31"
	green  = "32"
	yellow = "33"
	cyan   = "36"
)

// takesColour says whether w is a terminal that shows colours and whose user has not asked for none (no-color.org).
func takesColour(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok || os.Getenv("NO_COLOR") != "" {
		return false
	}
	kind := os.Getenv("TERM")
	return kind != "" && kind != "dumb" && term.IsTerminal(int(f.Fd()))
}

// paint returns text in a colour where the output takes colours.
func (s stdio) paint(colour, text string) string {
	if !s.colour || text == "" {
		return text
	}
	return "\x1b[" + colour + "m" + text + "\x1b[m"
}

func severityColour(s ibft.Severity) string {
	switch s {
	case ibft.Error:
		return red
	case ibft.Warning:
		return yellow
	}
	return cyan
}
