package boot

import (
	"log/slog"
	"os"
	"strings"

	"github.com/bootlun/bootlun/bootloader/menu"
	"golang.org/x/term"
)

// terminal is a console in raw mode.
type terminal struct {
	menu.Terminal
	serial bool // a serial line, no screen
}

// openConsoles opens every console that the kernel writes to, the serial line
// and the screen, in raw mode. restore closes them and sets them back.
func openConsoles(log *slog.Logger) (terminals []terminal, restore func()) {
	var undo []func()
	active, err := os.ReadFile("/sys/class/tty/console/active")
	if err != nil {
		log.Warn("which consoles there are is not known", "error", err)
	}
	for _, name := range strings.Fields(string(active)) {
		tty, err := os.OpenFile("/dev/"+name, os.O_RDWR, 0)
		if err != nil {
			log.Warn("open a console", "error", err)
			continue
		}
		back, err := makeRaw(tty)
		if err != nil {
			log.Warn("a console cannot be used for the menu", "console", name, "error", err)
			tty.Close()
			continue
		}
		terminals = append(terminals, terminal{tty, strings.HasPrefix(name, "ttyS")})
		undo = append(undo, func() { back(); tty.Close() })
	}
	return terminals, func() {
		for _, u := range undo {
			u()
		}
	}
}

// makeRaw leaves the file able to have deadlines, which File.Fd would end.
func makeRaw(tty *os.File) (back func(), err error) {
	conn, err := tty.SyscallConn()
	if err != nil {
		return nil, err
	}
	var state *term.State
	var termErr error
	if err := conn.Control(func(fd uintptr) { state, termErr = term.MakeRaw(int(fd)) }); err != nil {
		return nil, err
	}
	return func() { conn.Control(func(fd uintptr) { term.Restore(int(fd), state) }) }, termErr
}
