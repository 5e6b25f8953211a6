package cli

import (
	"io"
	"os"

	"golang.org/x/term"
)

// The colours, as the parameters of ECMA-48's SGR.
const (
	Bold   = "1"
	Red    = "31"
	Green  = "32"
	Yellow = "33"
	Cyan   = "36"
)

// takesColour says whether w is a terminal that shows colours and whose user has not asked for none (no-color.org).
func takesColour(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok || os.Getenv("NO_COLOR") != "" {
		return false
	}
	kind := os.Getenv("TERM")
	return kind != "" && kind != "dumb" && IsTerminal(f)
}

// Paint returns text in a colour where the output takes colours.
func (s IO) Paint(colour, text string) string {
	if !s.Colour || text == "" {
		return text
	}
	return "\x1b[" + colour + "m" + text + "\x1b[m"
}

// IsTerminal says whether f is a terminal.
func IsTerminal(f any) bool {
	file, ok := f.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}
